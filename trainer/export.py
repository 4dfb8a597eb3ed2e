"""Writing a SavedModel with two signatures and warm-up records, and loading one into a session, as TensorFlow Serving does.

The weights are constants: no variables need be restored, and small models run faster.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pynumdraw import ink, wire
from pynumdraw.wire import serving_pb2
from trainer.calibrate import Calibration
from trainer.errors import TrainingError
from trainer.metrics import Outputs
from trainer.model import Weights

WARMUP_BATCHES = (1, 2, 4, 8, 16, 32, 64)  # arbitrary
_WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_TOLERANCE = 1e-4  # between the probabilities of two ways to compute the same; float32 is good for about 1e-6

v1 = tf.compat.v1
tf.get_logger().setLevel("ERROR")  # it warns of v1's builder and session loader, which are used on purpose
Session = Callable[[np.ndarray], Outputs]


def _serve(weights: Weights, calibration: Calibration, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Frames uint8[N, 28, 28] → the outputs of the signature `serving_default` by name."""
    weights = Weights([weights.kernels[0] / np.float32(255), *weights.kernels[1:]], *_rest(weights))
    images = tf.ensure_shape(images, (None, 28, 28))  # TensorFlow Serving checks no shape, and an image of another rank would end it
    logits, score = weights(tf.cast(images, tf.float32)[..., None])
    energy = tf.reduce_logsumexp(logits, axis=1)
    is_digit = tf.sigmoid(calibration.digit_scale * score + calibration.energy_scale * energy + calibration.digit_shift)
    probabilities = tf.nn.softmax(logits / calibration.temperature)
    (likeliest, second), (digit, runner_up) = (tf.unstack(pair, axis=1) for pair in tf.math.top_k(probabilities, 2))
    accepted = is_digit >= calibration.threshold
    return {
        "probabilities": probabilities,
        "is_digit_probability": is_digit,
        "confidence": is_digit * likeliest,
        "digit": tf.cast(digit, tf.int64),
        "runner_up": tf.cast(runner_up, tf.int64),
        "accepted": accepted,
        "ambiguous": accepted & (likeliest <= calibration.max_probability) & (likeliest + second >= calibration.min_pair),
        "ink_version": tf.fill(tf.shape(digit), tf.constant(ink.INK_VERSION, tf.int64)),
    }


def _write_graph(weights: Weights, calibration: Calibration, card: dict[str, Any], folder: Path) -> None:
    """Write saved_model.pb: one plain graph without functions, variables or a saver, whose operations on files the store would refuse.

    The folder must be empty.
    """
    describe = v1.saved_model.build_tensor_info

    def signature(inputs: dict[str, tf.Tensor], outputs: dict[str, tf.Tensor]) -> Any:
        described = ({name: describe(tensor) for name, tensor in tensors.items()} for tensors in (inputs, outputs))
        return v1.saved_model.build_signature_def(*described, v1.saved_model.signature_constants.PREDICT_METHOD_NAME)

    with v1.Session(graph=tf.Graph()) as session:
        images = v1.placeholder(tf.uint8, (None, 28, 28), "images")
        signatures = {
            "serving_default": signature({"images": images}, _serve(weights, calibration, images)),
            "card": signature({}, {"card": tf.constant(json.dumps(card, allow_nan=False))}),
        }
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [v1.saved_model.tag_constants.SERVING], signatures, strip_default_attrs=True)
        builder.save()
    (folder / "variables").rmdir()  # there are none


def export(weights: Weights, calibration: Calibration, card: dict[str, Any], folder: Path, frames: np.ndarray) -> None:
    """Write the SavedModel and its warm-up records into the folder, load it into a session, and compare.

    frames: uint8[N, 28, 28] of digits, for the warm-up records and the comparison.
    Raises TrainingError where it cannot be written, or the session's outputs are not the model's.
    """
    try:
        _write_graph(weights, calibration, card, folder)
        _write_warmup(folder / _WARMUP_FILE, card["model"], frames)
    except tf.errors.OpError as exc:  # a full disk, mostly
        raise TrainingError(f"cannot write the model into {folder}: {str(exc.message).splitlines()[0]}; nothing was published") from exc
    session, card_back = open_session(folder)
    if card_back != card:
        raise TrainingError("the exported model's card is not the one that it was given; nothing was published")
    logits, scores = weights.score(frames)
    for batch in (1, len(frames)):
        outputs, wanted = session(frames[:batch]), calibration.outputs(logits[:batch], scores[:batch])
        for name in ("probabilities", "is_digit_probability", "confidence"):
            difference = float(np.abs(outputs[name] - wanted[name]).max())
            if not difference <= _TOLERANCE:
                raise TrainingError(f"the exported model's {name} are {difference:.2g} from the trained model's; nothing was published")


def open_session(folder: Path, threads: int = 0) -> tuple[Session, dict[str, Any]]:
    """A SavedModel as TensorFlow Serving runs it: a function from uint8[N, 28, 28] to the outputs by name, and its card.

    threads: within an operation and between operations; 0: TensorFlow chooses; 1: the caller's own thread alone.
    """
    inter_op = -1 if threads == 1 else threads
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=inter_op)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], str(folder)).signature_def
    serving = signatures["serving_default"]
    run = session.make_callable({name: info.name for name, info in serving.outputs.items()}, [serving.inputs["images"].name])
    card = json.loads(session.run(signatures["card"].outputs["card"].name))
    return run, card


def _rest(weights: Weights) -> tuple:
    return weights.biases, weights.strides, weights.head, weights.head_bias


def _write_warmup(path: Path, model: str, frames: np.ndarray) -> None:
    """One request for each batch size, and one for the card, so that no user's request is the first of its kind."""
    requests = []
    for size in WARMUP_BATCHES:
        request = serving_pb2.PredictRequest(model_spec=wire.model_spec(model, signature_name="serving_default"))
        request.inputs["images"].CopyFrom(wire.to_tensor(np.resize(frames, (size, 28, 28))))
        requests.append(request)
    requests.append(serving_pb2.PredictRequest(model_spec=wire.model_spec(model, signature_name="card")))
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            writer.write(serving_pb2.PredictionLog(predict_log=serving_pb2.PredictLog(request=request)).SerializeToString())
