"""A stand-in for tensorflow_model_server: its flags, its gRPC and REST answers, its way with versions, on TensorFlow's C library.

For a laptop, the tests, and where no official image runs. What it does not do is refused with a sentence, never half there.

    __main__ → flags;  rpc, rest → service → versions, predict → runtime
    errors, integers and metrics are what all of these may use
"""
