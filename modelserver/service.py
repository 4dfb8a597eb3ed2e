"""The calls that gRPC and REST share, on messages: Predict, GetModelMetadata, GetModelStatus. What goes wrong is a StatusError.

tensorflow_serving/model_servers/{server_core,get_model_status_impl}.cc, tensorflow_serving/servables/tensorflow/get_model_metadata_impl.cc
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.protobuf.any_pb2 import Any

from modelserver.errors import StatusError, invalid, not_found
from modelserver.metrics import Metrics
from modelserver.predict import predict, warm_up
from modelserver.runtime import SavedModel
from modelserver.versions import Versions
from pynumdraw.wire import serving_pb2

log = logging.getLogger(__name__)


class Loader:
    """Makes a version ready to serve: its session, then its warm-up."""

    def __init__(self, metrics: Metrics, tags: list[str], intra_op: int, inter_op: int, warmup_iterations: int) -> None:
        """warmup_iterations: how often each warm-up record is replayed; 0 = no warm-up."""
        self._metrics, self._tags, self._threads, self._iterations = metrics, tags, (intra_op, inter_op), warmup_iterations

    def __call__(self, version: int, folder: str) -> SavedModel:
        begun = time.monotonic()
        try:
            model = SavedModel(folder, self._tags, *self._threads)
        except StatusError:
            self._metrics.load_attempts.add(folder, "fail")
            raise
        self._metrics.load_attempts.add(folder, "success")
        self._metrics.load_latency.add(folder, amount=_us_since(begun))
        if self._iterations:
            begun = time.monotonic()
            try:
                count = warm_up(model, version, Path(folder), self._iterations)
            except BaseException:
                model.close()
                raise
            if count:
                self._metrics.warmup_latency.observe(_us_since(begun), folder, "OK")
                log.info("warmed up version %d with %d records in %d ms", version, count, _us_since(begun) // 1000)
        return model


class Service:
    """Answers for the one model of this server."""

    def __init__(self, versions: Versions[SavedModel], metrics: Metrics, as_content: bool = False) -> None:
        """as_content: replies carry tensor_content in place of typed values."""
        self._versions, self.metrics, self._as_content = versions, metrics, as_content

    def predict(self, request: serving_pb2.PredictRequest, timeout_ms: int = 0) -> serving_pb2.PredictResponse:
        begun = time.monotonic()
        with self._use(request) as (version, model):
            response = predict(model, version, request, timeout_ms, self._as_content)
        self.metrics.runtime_latency.observe(_us_since(begun), request.model_spec.name, "Predict", "TF1")
        return response

    def metadata(self, request: serving_pb2.GetModelMetadataRequest) -> serving_pb2.GetModelMetadataResponse:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        response = serving_pb2.GetModelMetadataResponse()
        with self._use(request) as (version, model):
            signatures = serving_pb2.SignatureDefMap()
            for name, signature in model.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
        response.model_spec.name = self._versions.name
        response.model_spec.version.value = version
        response.metadata["signature_def"].CopyFrom(
            Any(type_url="type.googleapis.com/tensorflow.serving.SignatureDefMap", value=signatures.SerializeToString(deterministic=True))
        )
        return response

    def status(self, request: serving_pb2.GetModelStatusRequest) -> serving_pb2.GetModelStatusResponse:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        states = self._versions.states() if spec.name == self._versions.name else []
        if not states:
            raise not_found(f"Could not find any versions of model {spec.name}")
        if spec.HasField("version"):
            states = [state for state in states if state[0] == spec.version.value]
            if not states:
                raise not_found(f"Could not find version {spec.version.value} of model {spec.name}")
        response = serving_pb2.GetModelStatusResponse()
        for number, state, error in states:
            entry = response.model_version_status.add(version=number, state=state)
            entry.status.SetInParent()
            if error:
                entry.status.error_code, entry.status.error_message = error.code, error.message
        return response

    @contextmanager
    def _use(self, request: serving_pb2.PredictRequest | serving_pb2.GetModelMetadataRequest) -> Iterator[tuple[int, SavedModel]]:
        """The version that the request names, kept loaded; the checks in TensorFlow Serving's order."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        if spec.HasField("version_label"):  # labels come from a model_config_file, and the stand-in takes none
            raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        version = spec.version.value if spec.HasField("version") else None
        if spec.name != self._versions.name:
            wanted = f"Latest({spec.name})" if version is None else f"Specific({spec.name}, {version})"
            raise not_found(f"Servable not found for request: {wanted}")
        with self._versions.use(version) as used:
            yield used


def _us_since(begun: float) -> int:
    return int((time.monotonic() - begun) * 1e6)
