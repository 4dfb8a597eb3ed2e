"""The calls that gRPC and REST share: Predict, a version's signatures, the versions' states. What goes wrong is a StatusError.

tensorflow_serving/model_servers/{server_core,get_model_status_impl}.cc, tensorflow_serving/util/prometheus_exporter.cc
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from modelserver.errors import StatusError, not_found
from modelserver.predict import predict
from modelserver.versions import Versions
from pynumdraw.wire import serving_pb2

REQUEST_COUNT = ":tensorflow:serving:request_count"


class Metrics:
    """What this server counts: calls by model and status. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def call(self, model: str) -> Iterator[None]:
        """Count the call made within a `with`; `model` is the name that the client sent, known or not."""
        status = "OK"
        try:
            yield
        except StatusError as exc:
            status = serving_pb2.Code.Name(exc.code)
            raise
        finally:
            with self._lock:
                self._calls[model, status] += 1

    def page(self) -> str:
        """The page for Prometheus, text format 0.0.4."""
        with self._lock:
            calls = list(self._calls.items())
        lines = [f'{REQUEST_COUNT}{{model_name="{_escaped(model)}",status="{status}"}} {count}' for (model, status), count in calls]
        return "\n".join([f"# TYPE {REQUEST_COUNT} counter", *lines]) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class Service:
    """Answers for the one model of this server."""

    def __init__(self, versions: Versions) -> None:
        self._versions, self.metrics = versions, Metrics()

    def predict(self, request: serving_pb2.PredictRequest, timeout_ms: int = 0) -> serving_pb2.PredictResponse:
        """timeout_ms: limit of the model's run, 0 or less = none."""
        with self.metrics.call(request.model_spec.name), self._versions.use(request.model_spec) as (version, model):
            return predict(model, version, request, timeout_ms)

    def signatures(self, spec: serving_pb2.ModelSpec) -> tuple[int, serving_pb2.SignatureDefMap]:
        """The version that serves for `spec`, and its signatures."""
        with self._versions.use(spec) as (version, model):
            return version, serving_pb2.SignatureDefMap(signature_def=model.signatures)

    def status(self, spec: serving_pb2.ModelSpec) -> serving_pb2.GetModelStatusResponse:
        """The state of every version ever seen, or of the one that `spec` names; a version label is ignored."""
        states = self._versions.states() if spec.name == self._versions.name else []
        if not states:
            raise not_found(f"Could not find any versions of model {spec.name}")
        if spec.HasField("version"):
            states = [state for state in states if state[0] == spec.version.value]
            if not states:
                raise not_found(f"Could not find version {spec.version.value} of model {spec.name}")
        response = serving_pb2.GetModelStatusResponse()
        for number, state, error in states:
            status = serving_pb2.StatusProto(error_code=error.code, error_message=error.message) if error else serving_pb2.StatusProto()
            response.model_version_status.add(version=number, state=state, status=status)
        return response
