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

SIGNATURE_VERSION = 2  # of the inputs and outputs; a gateway reads one version, and refuses a model of another
WARMUP_BATCHES = (1, 2, 4, 8, 16, 32, 64)  # arbitrary
_WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_TOLERANCE = 1e-4  # between the probabilities of two ways to compute the same; float32 is good for about 1e-6

Session = Callable[[np.ndarray], Outputs]


class _Served(tf.Module):
    """The two signatures over constants."""

    def __init__(self, weights: Weights, calibration: Calibration, card: dict[str, Any]) -> None:
        super().__init__()
        self._weights = Weights([weights.kernels[0] / np.float32(255), *weights.kernels[1:]], *_rest(weights))
        self._calibration = calibration
        self._card = json.dumps(card, allow_nan=False)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, 28, 28), tf.uint8, "images")])
    def serving_default(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        c = self._calibration
        images = tf.ensure_shape(images, (None, 28, 28))  # TensorFlow Serving checks no shape, and an image of another rank would end it
        logits, score = self._weights(tf.cast(images, tf.float32)[..., None])
        energy = tf.reduce_logsumexp(logits, axis=1)
        is_digit = tf.sigmoid(c.digit_scale * score + c.energy_scale * energy + c.digit_shift)
        probabilities = tf.nn.softmax(logits / c.temperature)
        (likeliest, second), (digit, runner_up) = (tf.unstack(pair, axis=1) for pair in tf.math.top_k(probabilities, 2))
        accepted = is_digit >= c.threshold
        return {
            "probabilities": probabilities,
            "is_digit_probability": is_digit,
            "confidence": is_digit * likeliest,
            "digit": tf.cast(digit, tf.int64),
            "runner_up": tf.cast(runner_up, tf.int64),
            "accepted": accepted,
            "ambiguous": accepted & (likeliest <= c.max_probability) & (likeliest + second >= c.min_pair),
            "ink_version": tf.fill(tf.shape(digit), tf.constant(ink.INK_VERSION, tf.int64)),
        }

    @tf.function(autograph=False, input_signature=[])
    def card(self) -> dict[str, tf.Tensor]:
        return {"card": tf.constant(self._card)}


def export(weights: Weights, calibration: Calibration, card: dict[str, Any], folder: Path, frames: np.ndarray) -> None:
    """Write the SavedModel and its warm-up records into the folder, load it into a session, and compare.

    frames: uint8[N, 28, 28] of digits, for the warm-up records and the comparison.
    Raises TrainingError where it cannot be written, or the session's outputs are not the model's.
    """
    served = _Served(weights, calibration, card)
    signatures = {"serving_default": served.serving_default, "card": served.card}
    try:
        tf.saved_model.save(served, str(folder), signatures=signatures)
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
