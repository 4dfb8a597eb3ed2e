"""From the four MNIST files to a versioned SavedModel with calibrated probabilities of which digit, and of whether it is one."""
