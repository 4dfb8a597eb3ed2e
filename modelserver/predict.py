"""One Predict request against one loaded version, and the warm-up that replays such requests before a version serves.

The order of the checks and their words are those of tensorflow_serving/servables/tensorflow/{predict_util,saved_model_warmup_util}.cc; a
signature's default values for inputs, which it has besides, are not used.
"""

import logging
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import google_crc32c
from google.protobuf.message import DecodeError

from modelserver.errors import StatusError, invalid, unimplemented
from modelserver.runtime import SavedModel
from pynumdraw.wire import serving_pb2, tensor_pb2

log = logging.getLogger(__name__)

DEFAULT_SIGNATURE = "serving_default"
WARMUP_FILE = Path("assets.extra/tf_serving_warmup_requests")
MAX_WARMUP_RECORDS = 1000


def predict(model: SavedModel, version: int, request: serving_pb2.PredictRequest, timeout_ms: int = 0) -> serving_pb2.PredictResponse:
    """Run the request; StatusError where it does not fit the signature or the graph refuses it. Only the graph checks shapes."""
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        raise StatusError(serving_pb2.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    signature = model.signatures[name]
    inputs = _inputs(signature, request.inputs)
    outputs = _outputs(signature, request.output_filter)
    response = serving_pb2.PredictResponse()
    for alias, tensor in zip(outputs, model.run(signature, inputs, outputs, timeout_ms), strict=True):
        response.outputs[alias].CopyFrom(tensor)
    response.model_spec.name = request.model_spec.name
    response.model_spec.signature_name = name
    response.model_spec.version.value = version
    return response


def _names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _inputs(signature: serving_pb2.SignatureDef, sent: Mapping[str, tensor_pb2.TensorProto]) -> dict[str, tensor_pb2.TensorProto]:
    """The request's value for each input of the signature."""
    wanted = signature.inputs
    if set(sent) != set(wanted):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{_names(sent)}}}) != len({{{_names(wanted)}}}). "
            f"Sent extra: {{{_names(set(sent) - set(wanted))}}}. Missing but required: {{{_names(set(wanted) - set(sent))}}}."
        )
    return {alias: sent[alias] for alias in sorted(wanted)}


def _outputs(signature: serving_pb2.SignatureDef, output_filter: Iterable[str]) -> list[str]:
    """The names to compute: the filter's, or all."""
    seen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {{{_names(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return seen or sorted(signature.outputs)


def load(folder: str, threads: tuple[int, int] = (0, 0), with_warm_up: bool = True) -> SavedModel:
    """The model of a version's folder. StatusError where it cannot be loaded, or a warm-up request fails.

    threads: intra_op and inter_op of `SavedModel`.
    """
    model = SavedModel(folder, *threads)
    path = Path(folder) / WARMUP_FILE
    try:
        if with_warm_up and path.is_file():
            log.info("warmed up with %d records of %s", warm_up(model, path), path)
    except BaseException:
        model.close()
        raise
    return model


def warm_up(model: SavedModel, path: Path) -> int:
    """Replay the requests in this file. Returns how many records there were; any failure is a StatusError."""
    count = 0
    for count, record in enumerate(records(path), 1):
        if count > MAX_WARMUP_RECORDS:
            raise invalid(f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS}) at {path}")
        try:
            entry = serving_pb2.PredictionLog.FromString(record)
        except DecodeError:
            raise invalid(f"Failed to parse warmup record: {record.decode(errors='replace')} from {path}") from None
        kind = entry.WhichOneof("log_type")
        if kind == "predict_log":
            predict(model, 0, entry.predict_log.request)
        elif kind:
            raise unimplemented(f"a warm-up record of kind {kind} cannot be replayed by the stand-in; wanted predict_log")
    return count


def records(path: Path) -> Iterator[bytes]:
    """The records of an uncompressed TFRecord file; StatusError DATA_LOSS where a checksum or the length is wrong.

    A record is its length (uint64), the masked CRC-32C of that, the data and the masked CRC-32C of the data, little-endian; a rest shorter
    than such a head is the end. tensorflow/core/lib/io/record_reader.cc
    """
    data = path.read_bytes()
    offset = 0
    while offset + 12 <= len(data):
        length, length_crc = struct.unpack_from("<QI", data, offset)
        start, end = offset + 12, offset + 12 + length
        content = data[start:end]
        if length_crc != _masked_crc(data[offset : offset + 8]) or data[end : end + 4] != struct.pack("<I", _masked_crc(content)):
            message = f"corrupted record at {offset} of {path}. Please verify your warmup data is in TFRecord format."
            raise StatusError(serving_pb2.DATA_LOSS, message)
        yield content
        offset = end + 4


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
