"""The model's reply to a Predict call, read and checked: a broken reply, or another model's, must never become a digit.

Pure functions over plain numbers: for the few frames of a reply they take less time than arrays would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from gateway.errors import BadModelReply
from pynumdraw.ink import INK_VERSION
from pynumdraw.signature import SIGNATURE_VERSION, SIGNATURES
from pynumdraw.wire import from_tensor, serving_pb2, tensor_pb2

SUM_TOLERANCE = 1e-3  # of the sum of ten float32 probabilities; arbitrary, far above rounding
MAX_PROBABILITY = 1 + 4e-7  # a few units in the last place of a float32 near 1

_FIELDS = {"DT_FLOAT": "float_val", "DT_INT64": "int64_val", "DT_BOOL": "bool_val"}
_OUTPUTS = {
    output: (tensor_pb2.DataType.Value(dtype), _FIELDS[dtype], shape == "?,10]")
    for output, (dtype, _, shape) in ((output, wanted.partition("[")) for output, wanted in SIGNATURES["serving_default"][1].items())
}
"""The outputs of `serving_default`, each with its type, the field that has its values, and whether it is [N, 10] and not [N]."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A version's prediction for one frame."""

    probabilities: list[float]
    """Of the ten digits, given that it is a digit."""
    is_digit_probability: float
    """That it is a digit at all, at the prior that the version's card names."""
    confidence: float
    """That it is a digit and that digit, at the same prior."""
    digit: int
    """The likeliest."""
    runner_up: int
    """The second likeliest."""
    accepted: bool
    """It is taken for a digit."""
    ambiguous: bool
    """It is one digit that reads as either `digit` or `runner_up`."""
    version: int


def parse_predictions(reply: serving_pb2.PredictResponse, name: str, count: int) -> list[Prediction | BadModelReply]:
    """The predictions in a reply of the model `name` to `count` frames.

    What is wrong with one frame stands in its place; raises BadModelReply for what is wrong with all.
    """
    version = reply.model_spec.version.value
    if version < 1:
        raise BadModelReply("the model's reply was refused: it names no version")
    columns = {output: _values(reply, output, name, count) for output in _OUTPUTS}
    ink_versions, rows = columns.pop("ink_version"), columns.pop("probabilities")
    if ink_versions != [INK_VERSION] * count:
        found = next(found for found in ink_versions if found != INK_VERSION)
        raise BadModelReply(f"model {name} version {version} was made for ink version {found}, this gateway draws {INK_VERSION}")
    return [
        _prediction(version, list(rows[10 * k : 10 * k + 10]), **{output: column[k] for output, column in columns.items()})
        for k in range(count)
    ]


def parse_text(reply: serving_pb2.PredictResponse, output: str) -> bytes:
    """The one text of an output. Raises BadModelReply."""
    tensor = reply.outputs[output] if output in reply.outputs else tensor_pb2.TensorProto()
    if tensor.dtype != tensor_pb2.DT_STRING or len(tensor.string_val) != 1 or tensor.tensor_shape.dim:
        found = f"{_type_name(tensor.dtype)}{_sizes(tensor)}" if output in reply.outputs else "missing"
        raise BadModelReply(f"the model's reply was refused: {output} is {found}, wanted one text")
    return tensor.string_val[0]


def _prediction(
    version: int,
    row: list[float],
    is_digit_probability: float,
    confidence: float,
    digit: int,
    runner_up: int,
    accepted: bool,
    ambiguous: bool,
) -> Prediction | BadModelReply:
    likeliest = max(row)
    if not (min(row) >= 0 and abs(sum(row) - 1) <= SUM_TOLERANCE and likeliest <= MAX_PROBABILITY):  # NaN fails each comparison
        return _refused("probabilities are not from 0 to 1 with a sum of 1", row)
    if not 0 <= is_digit_probability <= MAX_PROBABILITY:
        return _refused("is_digit_probability is not from 0 to 1", is_digit_probability)
    if not 0 <= confidence <= MAX_PROBABILITY:
        return _refused("confidence is not from 0 to 1", confidence)
    if not (0 <= digit <= 9 and row[digit] == likeliest):
        return _refused("digit is not the one with the largest probability", (digit, row))
    if not (0 <= runner_up <= 9 and runner_up != digit):
        return _refused("runner_up is not another digit", (digit, runner_up))
    return Prediction(row, is_digit_probability, confidence, digit, runner_up, accepted, ambiguous, version)


def _refused(reason: str, found: object) -> BadModelReply:
    return BadModelReply(f"the model's reply was refused: {reason}", detail=f"{found}")


def _values(reply: serving_pb2.PredictResponse, output: str, name: str, count: int) -> Sequence[Any]:
    """An output's values in one row; type and shape are compared with what is wanted before a value is read. Raises BadModelReply."""
    tensor, (dtype, field, is_row) = reply.outputs[output], _OUTPUTS[output]  # an output that is missing reads as one of no type
    if tensor.dtype != dtype or tensor.tensor_shape != _shape(count, is_row):
        raise _misfit(reply, output, name, f"{_type_name(dtype)}{[count, 10] if is_row else [count]}")
    values: Sequence[Any] = getattr(tensor, field)
    is_complete = len(values) == (10 * count if is_row else count) and not tensor.tensor_content
    if is_complete:  # as TensorFlow Serving replies; faster than by way of an array
        return values
    try:
        return from_tensor(tensor).ravel().tolist()
    except (ValueError, TypeError) as exc:
        raise BadModelReply(f"the model's reply was refused: {output} cannot be read", detail=str(exc)) from exc


@cache
def _shape(count: int, is_row: bool) -> tensor_pb2.TensorShapeProto:
    sizes = (count, 10) if is_row else (count,)
    return tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in sizes])


def _misfit(reply: serving_pb2.PredictResponse, output: str, name: str, wanted: str) -> BadModelReply:
    """The refusal of a reply in which this output is missing, or is of another type or shape."""
    tensor = reply.outputs[output]
    found = f"{output} is {_type_name(tensor.dtype)}{_sizes(tensor)}, wanted {wanted}"
    if missing := [each for each in _OUTPUTS if reply.outputs[each].dtype == tensor_pb2.DT_INVALID]:
        found = f"it answers without {', '.join(missing)}"
    return BadModelReply(
        f"model {name} version {reply.model_spec.version.value} has another signature: {found}; "
        f"this gateway reads models of signature version {SIGNATURE_VERSION}",
        detail=f"outputs {sorted(each for each, tensor in reply.outputs.items() if tensor.dtype)}",
    )


def _sizes(tensor: tensor_pb2.TensorProto) -> str:
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    return "[of unknown rank]" if tensor.tensor_shape.unknown_rank else f"{sizes[:8]}" if len(sizes) <= 8 else f"{[*sizes[:8]]} and more"


def _type_name(number: int) -> str:
    return tensor_pb2.DataType.Name(number) if number in tensor_pb2.DataType.values() else f"type {number}"
