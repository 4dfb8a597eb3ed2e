"""From the four MNIST files to a versioned SavedModel that knows how sure it is and what is no digit.

__main__ → fit, evaluate, gate → train, calibrate, export, report → model, dataset, augment, strokes, non_digits → idx, config, errors
"""
