"""One Predict request against one loaded version, and the warm-up that replays such requests before a version serves.

The order of the checks and their words are those of tensorflow_serving/servables/tensorflow/{predict_util,saved_model_warmup_util}.cc and
tensorflow/cc/saved_model/util.cc.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import google_crc32c
from google.protobuf.message import DecodeError

from modelserver.errors import StatusError, invalid, unimplemented
from modelserver.runtime import SavedModel
from pynumdraw.wire import serving_pb2, tensor_pb2

DEFAULT_SIGNATURE = "serving_default"
WARMUP_FILE = Path("assets.extra/tf_serving_warmup_requests")
MAX_WARMUP_RECORDS = 1000


def predict(
    model: SavedModel, version: int, request: serving_pb2.PredictRequest, timeout_ms: int = 0, as_content: bool = False
) -> serving_pb2.PredictResponse:
    """Run the request; StatusError where it does not fit the signature or the graph refuses it. Shapes are the graph's affair alone."""
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        raise StatusError(serving_pb2.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    signature = model.signatures[name]
    inputs = _inputs(signature, request)
    outputs = _outputs(signature, request)
    tensors = model.run(signature, inputs, outputs, timeout_ms, as_content)
    response = serving_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.signature_name = name
    response.model_spec.version.value = version
    for alias, tensor in zip(outputs, tensors, strict=True):
        response.outputs[alias].CopyFrom(tensor)
    return response


def _names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _inputs(signature: serving_pb2.SignatureDef, request: serving_pb2.PredictRequest) -> dict[str, tensor_pb2.TensorProto]:
    """One value for each input of the signature, from the request or from the signature's defaults."""
    sent, wanted, defaults = request.inputs, signature.inputs, signature.defaults
    if len(sent) > len(wanted) or (len(sent) < len(wanted) and not defaults):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{_names(sent)}}}) != len({{{_names(wanted)}}}). "
            f"Sent extra: {{{_names(set(sent) - set(wanted))}}}. Missing but required: {{{_names(set(wanted) - set(sent))}}}."
        )
    values = {}
    for alias in sorted(wanted):
        if alias in sent:
            values[alias] = sent[alias]
        elif alias in defaults:
            values[alias] = defaults[alias]
        else:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {wanted[alias].name}) not found in request and no default value provided. "
                f"Inputs expected to be in the request {{{_names(sent)}}}, or default input alias set: {_names(defaults)}"
            )
    used = set(sent) & set(wanted)
    if len(used) != len(sent):
        raise invalid(f"Inputs contains invalid name. Used request inputs: {_names(used)}, request input: {_names(sent)}")
    return values


def _outputs(signature: serving_pb2.SignatureDef, request: serving_pb2.PredictRequest) -> list[str]:
    """The names to compute: the filter's, or all."""
    seen: list[str] = []
    for alias in request.output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {{{_names(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return seen or sorted(signature.outputs)


def warm_up(model: SavedModel, version: int, folder: Path, iterations: int = 1) -> int:
    """Replay the recorded requests of a version, each `iterations` times. Returns how many there were; any failure is a StatusError."""
    path = folder / WARMUP_FILE
    if not path.is_file():
        return 0
    count = 0
    for record in records(path):
        try:
            log = serving_pb2.PredictionLog.FromString(record)
        except DecodeError:
            raise invalid(f"Failed to parse warmup record: {record.decode(errors='replace')} from {path}") from None
        kind = log.WhichOneof("log_type")
        if kind not in (None, "predict_log"):
            raise unimplemented(f"a warm-up record of kind {kind} cannot be replayed by the stand-in; wanted predict_log")
        for _ in range(iterations if kind else 0):
            predict(model, version, log.predict_log.request)
        count += 1
        if count > MAX_WARMUP_RECORDS:
            raise invalid(f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS}) at {path}")
    return count


def records(path: Path) -> Iterator[bytes]:
    """The records of an uncompressed TFRecord file; StatusError DATA_LOSS, as TensorFlow words it, where a checksum or the length is wrong.

    A record is its length (uint64), the masked CRC-32C of that, the data and the masked CRC-32C of the data, little-endian; a rest shorter
    than such a head is the end. tensorflow/core/lib/io/record_reader.cc
    """
    data = path.read_bytes()
    offset = 0
    while offset + 12 <= len(data):
        length, check = struct.unpack_from("<QI", data, offset)
        if check != _masked_crc(data[offset : offset + 8]):
            raise _data_loss(f"corrupted record at {offset}" + ("" if offset else " (Is this even a TFRecord file?)"))
        start, end = offset + 12, offset + 12 + length
        if end + 4 > len(data):
            raise _data_loss(f"truncated record at {offset}' failed with Read less bytes than requested")
        if struct.unpack_from("<I", data, end)[0] != _masked_crc(data[start:end]):
            raise _data_loss(f"corrupted record at {start}")
        yield data[start:end]
        offset = end + 4


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _data_loss(message: str) -> StatusError:
    return StatusError(serving_pb2.DATA_LOSS, f"{message}. Please verify your warmup data is in TFRecord format.")
