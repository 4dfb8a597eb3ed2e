"""The gateway: takes a drawing as JSON, asks TensorFlow Serving over gRPC, and answers with a digit and a calibrated confidence."""
