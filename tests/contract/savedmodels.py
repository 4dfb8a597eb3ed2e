"""For the model server's tests: small SavedModels, written by TensorFlow itself, and a client on upstream's own stubs."""

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

FOREVER = np.int64(10**15)  # iterations of `count`; some months


def half_plus(folder: Path, plus: float = 2.0, size: int = 1) -> Path:
    """y = x / 2 + `plus` as TensorFlow 1 wrote models: variables of `size` floats, x float[N, 1]."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        weights = v1.get_variable("a", initializer=tf.fill([size], 0.5), use_resource=True)
        bias = v1.get_variable("b", initializer=tf.constant(float(plus)), use_resource=True)
        x = v1.placeholder(tf.float32, [None, 1], "x")
        y = tf.add(tf.multiply(weights[:1], x), bias, name="y")
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        describe = v1.saved_model.utils.build_tensor_info
        builder.add_meta_graph_and_variables(
            session,
            [v1.saved_model.tag_constants.SERVING],
            {
                "serving_default": v1.saved_model.build_signature_def(
                    {"x": describe(x)}, {"y": describe(y), "x_again": describe(tf.identity(x))}, "tensorflow/serving/predict"
                ),
            },
        )
        builder.save()
    return folder


class _Many(tf.Module):
    """Signatures of every kind that a reply can hold."""

    def __init__(self) -> None:
        self.scale = tf.Variable(2.0)

    def signatures(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for dtype in ("float32", "float16", "int32", "int64", "uint8", "bool", "string"):
            made[f"echo_{dtype}"] = tf.function(
                lambda x: {"y": tf.identity(x)}, input_signature=[tf.TensorSpec(None, dtype=tf.as_dtype(dtype), name="x")]
            )
        made["card"] = tf.function(lambda: {"card": tf.constant('{"version": 1}')}, input_signature=[])
        made["serving_default"] = tf.function(
            lambda a, b: {"product": self.scale * a * b, "sum": a + b},
            input_signature=[tf.TensorSpec([None], tf.float32, name="a"), tf.TensorSpec([None], tf.float32, name="b")],
        )
        made["matmul"] = tf.function(
            lambda x: {"y": tf.linalg.matmul(x, tf.ones([4, 2]))}, input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")]
        )
        made["count"] = tf.function(
            lambda n: {"n": tf.while_loop(lambda i: i < n, lambda i: (i + 1,), (tf.constant(0, tf.int64),))[0]},
            input_signature=[tf.TensorSpec([], tf.int64, name="n")],
        )
        return made


def many_signatures(folder: Path) -> Path:
    """`echo_<dtype>` for each dtype, `card` without an input, two inputs by default, `matmul` that can fail, `count` that can last."""
    module = _Many()
    tf.saved_model.save(module, str(folder), signatures=module.signatures())
    return folder


class Client:
    """Upstream's stubs on one address, for model `digits`. It closes at the end of a `with`."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    @staticmethod
    def request(signature: str = "", outputs: tuple[str, ...] = (), version: int | None = None, **inputs: Any) -> Any:
        """A PredictRequest; inputs are TensorProtos or what `tf.make_tensor_proto` takes."""
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name, request.model_spec.signature_name = "digits", signature
        if version is not None:
            request.model_spec.version.value = version
        for alias, value in inputs.items():
            request.inputs[alias].CopyFrom(value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value))
        return request

    def predict(self, *signature: str, timeout_s: float | None = 20.0, **fields: Any) -> Any:
        """The reply to such a request."""
        return self.predictions.Predict(self.request(*signature, **fields), timeout_s)

    def half_plus(self, version: int | None = None) -> tuple[int, float]:
        """(the version that answered, its y for x = 2)."""
        reply = self.predict(version=version, x=[2.0])
        return reply.model_spec.version.value, float(tf.make_ndarray(reply.outputs["y"])[0])

    def states(self, timeout_s: float | None = 20.0) -> dict[int, str]:
        """The state of every version."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "digits"
        name = get_model_status_pb2.ModelVersionStatus.State.Name
        return {each.version: name(each.state) for each in self.models.GetModelStatus(request, timeout_s).model_version_status}

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.channel.close()


def monitoring_flag(folder: Path, text: str = "prometheus_config { enable: true }") -> str:
    """The flag that names a monitoring config with this text."""
    config = folder / "monitoring.config"
    config.write_text(text)
    return f"--monitoring_config_file={config}"
