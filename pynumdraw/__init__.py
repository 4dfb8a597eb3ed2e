"""The library of pynumdraw's programs, without Flask and without TensorFlow.

ink: strokes to the 28x28 frame.  store: the model store on disk.  wire: the messages of TensorFlow Serving that we use.
"""

__version__ = "0.2.0-dev"
