"""What the model server answers and writes: statuses, the metrics page, REST's paths, TFRecord files. No TensorFlow here."""

import struct
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from modelserver import predict, rest
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


def spec(**fields: Any) -> serving_pb2.ModelSpec:
    return serving_pb2.ModelSpec(**fields)


@pytest.mark.parametrize(
    ("requested", "error"),
    [
        (spec(), "INVALID_ARGUMENT: ModelSpec has no name specified."),
        (spec(name="n"), "NOT_FOUND: Servable not found for request: Latest(n)"),
        (model_spec("n", 3), "NOT_FOUND: Servable not found for request: Specific(n, 3)"),
        (model_spec("m", 4), "NOT_FOUND: Servable not found for request: Specific(m, 4)"),
        (spec(name="m", version_label="stable"), "INVALID_ARGUMENT: Unrecognized servable version label: stable"),
        (model_spec("m", signature_name="s"), 'FAILED_PRECONDITION: Serving signature key "s" not found.'),
    ],
    ids=["no name", "unknown model", "unknown model's version", "failed version", "label", "signature"],
)
def test_predict_names_what_is_wrong_with_the_model_spec(service: Service, requested: serving_pb2.ModelSpec, error: str) -> None:
    with pytest.raises(StatusError) as raised:
        service.predict(serving_pb2.PredictRequest(model_spec=requested))
    assert str(raised.value) == error


@pytest.mark.parametrize(
    ("requested", "error"),
    [
        (spec(), "Could not find any versions of model "),
        (spec(name="n"), "Could not find any versions of model n"),
        (model_spec("m", 9), "Could not find version 9 of model m"),
    ],
    ids=["no name", "unknown model", "unknown version"],
)
def test_status_names_what_is_wrong(service: Service, requested: serving_pb2.ModelSpec, error: str) -> None:
    with pytest.raises(StatusError) as raised:
        service.status(requested)
    assert str(raised.value) == f"NOT_FOUND: {error}"


@pytest.mark.parametrize(
    ("requested", "versions"),
    [(spec(name="m"), [4, 3]), (model_spec("m", 3), [3]), (spec(name="m", version_label="any"), [4, 3])],
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
METADATA = {
    "model_spec": {"name": "m", "version": "3", "signature_name": ""},
    "metadata": {
        "signature_def": {
            "signature_def": {
                "serving_default": {
                    "inputs": {
                        "x": {
                            "name": "x:0",
                            "dtype": "DT_FLOAT",
                            "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                        }
                    },
                    "outputs": {"y": {"name": "y<0>:0", "dtype": "DT_STRING", "tensor_shape": {"dim": [], "unknown_rank": True}}},
                    "method_name": "tensorflow/serving/predict",
                    "defaults": {},
                }
            }
        }
    },
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


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/v1/models/m?x=1", "INVALID_ARGUMENT: Malformed request: GET /v1/models/m?x=1"),
        ("HEAD", "/v1/models/m", "INVALID_ARGUMENT: Malformed request: HEAD /v1/models/m"),
        ("GET", "/v1/models/m:predict", "INVALID_ARGUMENT: Malformed request: GET /v1/models/m:predict"),
        ("GET", "/v1/models/m/versions/x", "INVALID_ARGUMENT: Malformed request: GET /v1/models/m/versions/x"),
        ("GET", f"/v1/models/m/versions/{2**63}", f"INVALID_ARGUMENT: Malformed request: GET /v1/models/m/versions/{2**63}"),
        ("GET", "/v1/models/n", "NOT_FOUND: Could not find any versions of model n"),
        ("GET", "/v1/models/n/metadata", "NOT_FOUND: Servable not found for request: Latest(n)"),
        ("GET", "/v1/models/m/versions/4/metadata", "NOT_FOUND: Servable not found for request: Specific(m, 4)"),
        (
            "POST",
            "/v1/models/m:predict",
            "UNIMPLEMENTED: /v1/models/m:predict is not done by the stand-in for tensorflow_model_server; wanted Predict over gRPC",
        ),
    ],
)
def test_rest_names_what_is_wrong(service: Service, method: str, path: str, error: str) -> None:
    with pytest.raises(StatusError) as raised:
        rest.answer(service, method, path)
    assert str(raised.value) == error
    assert raised.value.code in rest._HTTP_STATUS


def test_the_metrics_page_has_its_type_line_before_any_request() -> None:
    assert Metrics().page() == "# TYPE :tensorflow:serving:request_count counter\n"


def test_a_label_escapes_what_a_client_may_put_into_it() -> None:
    metrics = Metrics()
    for _ in range(2):
        with metrics.call('a"\\\n'):
            pass
    assert metrics.page().splitlines()[1:] == [r':tensorflow:serving:request_count{model_name="a\"\\\n",status="OK"} 2']


def test_calls_are_counted_by_model_and_status(service: Service) -> None:
    with pytest.raises(StatusError):
        rest.answer(service, "GET", "/v1/models/n")
    rest.answer(service, "GET", "/v1/models/m")
    page = service.metrics.page()
    assert ':tensorflow:serving:request_count{model_name="n",status="NOT_FOUND"} 1\n' in page
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 1\n' in page


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
    config.write_text(text)
    assert rest.prometheus_path(str(config)) == path


def test_a_bad_monitoring_config_is_named(tmp_path: Path) -> None:
    config = tmp_path / "monitoring.config"
    with pytest.raises(StatusError, match=r"^NOT_FOUND: .*monitoring\.config; No such file"):
        rest.prometheus_path(str(config))
    config.write_text("prometheus { }")
    with pytest.raises(StatusError, match=rf"^INVALID_ARGUMENT: Invalid protobuf file: '{config}': 1:1"):
        rest.prometheus_path(str(config))


def record(data: bytes) -> bytes:
    def masked(part: bytes) -> bytes:
        crc = google_crc32c.value(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


TWO = record(b"abc") + record(b"defg")  # 19 and 20 bytes


@pytest.mark.parametrize(
    ("content", "read"),
    [(TWO, [b"abc", b"defg"]), (b"", []), (record(b""), [b""]), (TWO[:25], [b"abc"])],
    ids=["two", "none", "an empty one", "a rest shorter than a head"],
)
def test_records_are_read_from_a_tfrecord_file(tmp_path: Path, content: bytes, read: list[bytes]) -> None:
    (tmp_path / "r").write_bytes(content)
    assert list(predict.records(tmp_path / "r")) == read


@pytest.mark.parametrize(
    ("content", "offset"),
    [(b"x" * 100, 0), (TWO[:17], 0), (TWO[:-1], 19), (TWO[:14] + b"!" + TWO[15:], 0), (TWO[:19] + b"!" + TWO[20:], 19)],
    ids=["no TFRecord", "cut in the first", "cut in the second", "data changed", "length changed"],
)
def test_a_broken_tfrecord_file_is_data_loss(tmp_path: Path, content: bytes, offset: int) -> None:
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(StatusError) as lost:
        list(predict.records(tmp_path / "r"))
    message = f"corrupted record at {offset} of {tmp_path}/r. Please verify your warmup data is in TFRecord format."
    assert str(lost.value) == f"DATA_LOSS: {message}"
