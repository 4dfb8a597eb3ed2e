"""Small SavedModels for the model server's tests, written by TensorFlow itself."""

from pathlib import Path
from typing import Any

import tensorflow as tf

FED_DTYPES = ("float32", "float16", "int32", "int64", "uint8", "bool", "string")


def half_plus(folder: Path, plus: float = 2.0, size: int = 1) -> Path:
    """y = x / 2 + `plus` as TensorFlow 1 wrote models: variables of `size` floats, x float[N, 1], a regress signature beside it."""
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
                "regress_x_to_y": v1.saved_model.build_signature_def(
                    {"inputs": describe(x)}, {"outputs": describe(y)}, "tensorflow/serving/regress"
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
        for dtype in FED_DTYPES:
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
