"""What more than one of pynumdraw's programs needs, without Flask and without TensorFlow.

ink: strokes to the 28x28 image.  store: the model store on disk.  wire: the messages of TensorFlow Serving that we speak.
"""

__version__ = "0.1.0"
