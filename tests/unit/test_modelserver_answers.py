"""What the model server answers and writes: statuses, the metrics page, REST's paths. No TensorFlow here."""

from pathlib import Path
from typing import Any

import pytest

from modelserver import rest
from modelserver.errors import StatusError
from modelserver.service import Metrics, Service
from modelserver.versions import Versions
from pynumdraw.wire import model_spec, serving_pb2, tensor_pb2
from tests.stack import wait_until


class NoSession:
    """A loaded model of which only the signatures are read."""

    def __init__(self) -> None:
        signature = serving_pb2.SignatureDef(method_name="tensorflow/serving/predict")
        signature.inputs["x"].name, signature.inputs["x"].dtype = "x:0", tensor_pb2.DT_FLOAT
        signature.inputs["x"].tensor_shape.dim.add(size=-1)
        signature.outputs["y"].name, signature.outputs["y"].dtype = "y<0>:0", tensor_pb2.DT_STRING
        signature.outputs["y"].tensor_shape.unknown_rank = True
        self.signatures = {"serving_default": signature}

    def close(self) -> None: ...


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """Model `m` with version 3 in service and version 4 failed."""

    def load(folder: str) -> Any:
        if folder.endswith("4"):
            raise StatusError(serving_pb2.NOT_FOUND, "corrupt")
        return NoSession()

    versions = Versions("m", str(tmp_path), load, retries=0)
    for name in ("3", "4"):
        (tmp_path / name).mkdir()
        versions.poll()
        while versions.step():
            wait_until("the load has ended", lambda: versions.states()[0][1] != serving_pb2.ModelVersionStatus.LOADING)
    return Service(versions)


LABEL = serving_pb2.ModelSpec(name="m", version_label="stable")


@pytest.mark.parametrize(
    ("requested", "error"),
    [
        (serving_pb2.ModelSpec(), "INVALID_ARGUMENT: ModelSpec has no name specified."),
        (model_spec("n"), "NOT_FOUND: Servable not found for request: Latest(n)"),
        (model_spec("n", 3), "NOT_FOUND: Servable not found for request: Specific(n, 3)"),
        (model_spec("m", 4), "NOT_FOUND: Servable not found for request: Specific(m, 4)"),
        (LABEL, "INVALID_ARGUMENT: Unrecognized servable version label: stable"),
    ],
    ids=["no name", "unknown model", "unknown model's version", "failed version", "label"],
)
def test_predict_names_what_is_wrong_with_the_model_spec(service: Service, requested: serving_pb2.ModelSpec, error: str) -> None:
    with pytest.raises(StatusError) as raised:
        service.predict(serving_pb2.PredictRequest(model_spec=requested))
    assert str(raised.value) == error


@pytest.mark.parametrize(
    ("requested", "versions"),
    [(model_spec("m"), [4, 3]), (model_spec("m", 3), [3]), (LABEL, [4, 3])],
    ids=["all, the highest first", "one", "a label is ignored"],
)
def test_status_lists_the_versions(service: Service, requested: serving_pb2.ModelSpec, versions: list[int]) -> None:
    reply = service.status(requested)
    assert [entry.version for entry in reply.model_version_status] == versions
    assert all(entry.HasField("status") for entry in reply.model_version_status)


STATUS = {
    "model_version_status": [
        {"version": "4", "state": "END", "status": {"error_code": "NOT_FOUND", "error_message": "corrupt"}},
        {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
    ]
}
X = {"name": "x:0", "dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}}
Y = {"name": "y<0>:0", "dtype": "DT_STRING", "tensor_shape": {"dim": [], "unknown_rank": True}}
SIGNATURE = {"inputs": {"x": X}, "outputs": {"y": Y}, "method_name": "tensorflow/serving/predict", "defaults": {}}
METADATA = {
    "model_spec": {"name": "m", "version": "3", "signature_name": ""},
    "metadata": {"signature_def": {"signature_def": {"serving_default": SIGNATURE}}},
}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/models/m", STATUS),
        ("/v1/models/%6D", STATUS),
        ("/v1/models/m/versions/3", {"model_version_status": STATUS["model_version_status"][1:]}),
        ("/v1/models/m/metadata", METADATA),
        ("/v1/models/m/versions/0003/metadata", METADATA),
    ],
)
def test_rest_has_the_fields_of_tensorflow_serving(service: Service, path: str, fields: dict[str, Any]) -> None:
    assert rest.answer(service, "GET", path) == fields


STAND_IN = "is not done by the stand-in for tensorflow_model_server; wanted Predict over gRPC"


@pytest.mark.parametrize(
    ("request_line", "error"),
    [
        ("GET /v1/models/m?x=1", "INVALID_ARGUMENT: Malformed request: {}"),
        ("GET /v1/models/m:predict", "INVALID_ARGUMENT: Malformed request: {}"),
        ("GET /v1/models/m/versions/x", "INVALID_ARGUMENT: Malformed request: {}"),
        (f"GET /v1/models/m/versions/{2**63}", "INVALID_ARGUMENT: Malformed request: {}"),
        ("GET /v1/models/n", "NOT_FOUND: Could not find any versions of model n"),
        ("GET /v1/models/m/versions/9", "NOT_FOUND: Could not find version 9 of model m"),
        ("GET /v1/models/n/metadata", "NOT_FOUND: Servable not found for request: Latest(n)"),
        ("GET /v1/models/m/versions/4/metadata", "NOT_FOUND: Servable not found for request: Specific(m, 4)"),
        ("POST /v1/models/m:predict", f"UNIMPLEMENTED: /v1/models/m:predict {STAND_IN}"),
    ],
)
def test_rest_names_what_is_wrong(service: Service, request_line: str, error: str) -> None:
    with pytest.raises(StatusError) as raised:
        rest.answer(service, *request_line.split())
    assert str(raised.value) == error.format(request_line)
    assert raised.value.code in rest._HTTP_STATUS


def test_calls_are_counted_by_model_and_status(service: Service) -> None:
    with pytest.raises(StatusError):
        rest.answer(service, "GET", "/v1/models/n")
    rest.answer(service, "GET", "/v1/models/m")
    page = service.metrics.page()
    assert ':tensorflow:serving:request_count{model_name="n",status="NOT_FOUND"} 1\n' in page
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 1\n' in page


def test_the_metrics_page_has_its_type_line_and_escapes_what_a_client_may_put_into_a_label() -> None:
    metrics = Metrics()
    assert metrics.page() == "# TYPE :tensorflow:serving:request_count counter\n"
    with metrics.call('a"\\\n'):
        pass
    assert metrics.page().splitlines()[1:] == [r':tensorflow:serving:request_count{model_name="a\"\\\n",status="OK"} 1']


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", rest.PROMETHEUS_PATH),
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
        ("prometheus_config { enable: false }", None),
        ("", None),
    ],
    ids=["default path", "own path", "off", "empty"],
)
def test_the_monitoring_config_names_the_page(tmp_path: Path, text: str, path: str | None) -> None:
    config = tmp_path / "monitoring.config"
    with pytest.raises(StatusError, match=r"^NOT_FOUND: .*monitoring\.config; No such file"):
        rest.prometheus_path(str(config))
    config.write_text(text)
    assert rest.prometheus_path(str(config)) == path
