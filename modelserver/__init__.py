"""A stand-in for tensorflow_model_server: what this project uses of its flags, its gRPC and REST answers and its way with versions.

For a laptop, the tests, and where no official image runs. Models run in TensorFlow's C library, so loads and runs fail as they do there.

    __main__ → flags;  rpc, rest → service → versions, predict → runtime
    errors and integers are what all of these may use

Not done: Predict over REST, GetModelMetadata over gRPC, Classify, Regress, MultiInference, reloads, version labels, other policies than the
newest version, several models, batching, TLS, default values of inputs, outputs of types that `runtime` does not list.
Different from TensorFlow Serving 2.20.0, which was run beside it:

    a port that is in use           there shared with its user (so_reuseport); here the start fails
    --grpc_max_threads=0            there an abort, here exit 255; a call too many is refused in other words
    --grpc_channel_arguments=foo    there a crash, here exit 255
    a bad --monitoring_config_file  there without a word, here with an error in the log, no REST port opens; gRPC serves
    --num_load_threads=0            there a load that is tried again holds up all other versions, here none does
    Prometheus                      there 149 metrics, here request_count; JSON has the same fields in another layout
"""
