"""What the model server says and writes: statuses, the metrics page, REST's paths and JSON, TFRecord files. No TensorFlow here."""

import json
import struct
import textwrap
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from modelserver import predict, rest
from modelserver.errors import StatusError, invalid
from modelserver.metrics import Counter, Histogram, Metrics
from modelserver.service import Service
from modelserver.versions import LoadPolicy, Versions
from pynumdraw.wire import model_spec, serving_pb2, tensor_pb2


class NoSession:
    """A loaded model of which only the signatures are asked for."""

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

    def load(version: int, folder: str) -> Any:
        if version == 4:
            raise StatusError(serving_pb2.NOT_FOUND, "torn")
        return NoSession()

    versions: Versions[Any] = Versions("m", str(tmp_path), load, LoadPolicy(max_retries=0))
    versions._loader = None
    for name in ("3", "4"):
        (tmp_path / name).mkdir()
        versions.poll()
        while versions.step():
            pass
    return Service(versions, Metrics())


def spec(**fields: Any) -> serving_pb2.ModelSpec:
    return serving_pb2.ModelSpec(**fields)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (None, "INVALID_ARGUMENT: Missing ModelSpec"),
        (spec(), "INVALID_ARGUMENT: ModelSpec has no name specified."),
        (spec(name="n"), "NOT_FOUND: Servable not found for request: Latest(n)"),
        (model_spec("n", 3), "NOT_FOUND: Servable not found for request: Specific(n, 3)"),
        (model_spec("m", 4), "NOT_FOUND: Servable not found for request: Specific(m, 4)"),
        (spec(name="m", version_label="stable"), "INVALID_ARGUMENT: Unrecognized servable version label: stable"),
        (spec(name="n", version_label="stable"), "INVALID_ARGUMENT: Unrecognized servable version label: stable"),
        (model_spec("m", signature_name="s"), 'FAILED_PRECONDITION: Serving signature key "s" not found.'),
    ],
    ids=["no spec", "no name", "unknown model", "unknown model's version", "failed version", "label", "unknown model's label", "signature"],
)
def test_predict_says_what_is_wrong_with_the_model_spec(service: Service, asked: serving_pb2.ModelSpec | None, error: str) -> None:
    with pytest.raises(StatusError) as raised:
        service.predict(serving_pb2.PredictRequest(model_spec=asked))
    assert str(raised.value) == error


@pytest.mark.parametrize(
    ("asked", "fields", "error"),
    [
        (None, [], "Missing ModelSpec"),
        (spec(name="m"), [], "GetModelMetadataRequest must specify at least one metadata_field"),
        (spec(name="m"), ["signature_def", "size"], "Metadata field size is not supported"),
        (spec(name="n"), ["signature_def"], "Servable not found for request: Latest(n)"),
    ],
    ids=["no spec", "no field", "unknown field", "unknown model"],
)
def test_metadata_says_what_is_wrong(service: Service, asked: serving_pb2.ModelSpec | None, fields: list[str], error: str) -> None:
    with pytest.raises(StatusError) as raised:
        service.metadata(serving_pb2.GetModelMetadataRequest(model_spec=asked, metadata_field=fields))
    assert raised.value.message == error


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (None, "Missing ModelSpec"),
        (spec(), "Could not find any versions of model "),
        (spec(name="n"), "Could not find any versions of model n"),
        (model_spec("m", 9), "Could not find version 9 of model m"),
    ],
    ids=["no spec", "no name", "unknown model", "unknown version"],
)
def test_status_says_what_is_wrong(service: Service, asked: serving_pb2.ModelSpec | None, error: str) -> None:
    with pytest.raises(StatusError) as raised:
        service.status(serving_pb2.GetModelStatusRequest(model_spec=asked))
    assert raised.value.message == error


@pytest.mark.parametrize(
    ("asked", "versions"),
    [(spec(name="m"), [4, 3]), (model_spec("m", 3), [3]), (spec(name="m", version_label="any"), [4, 3])],
    ids=["all, the highest first", "one", "a label counts for nothing"],
)
def test_status_tells_the_versions(service: Service, asked: serving_pb2.ModelSpec, versions: list[int]) -> None:
    reply = service.status(serving_pb2.GetModelStatusRequest(model_spec=asked))
    assert [entry.version for entry in reply.model_version_status] == versions
    assert all(entry.HasField("status") for entry in reply.model_version_status)


STATUS = """\
{
 "model_version_status": [
  {
   "version": "4",
   "state": "END",
   "status": {
    "error_code": "NOT_FOUND",
    "error_message": "torn"
   }
  },
  {
   "version": "3",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
"""
METADATA = """\
{
"model_spec":{
 "name": "m",
 "version": "3",
 "signature_name": ""
}
,
"metadata": {"signature_def": {
 "signature_def": {
  "serving_default": {
   "inputs": {
    "x": {
     "name": "x:0",
     "dtype": "DT_FLOAT",
     "tensor_shape": {
      "dim": [
       {
        "size": "-1",
        "name": ""
       }
      ],
      "unknown_rank": false
     }
    }
   },
   "outputs": {
    "y": {
     "name": "y\\u003c0\\u003e:0",
     "dtype": "DT_STRING",
     "tensor_shape": {
      "dim": [],
      "unknown_rank": true
     }
    }
   },
   "method_name": "tensorflow/serving/predict",
   "defaults": {}
  }
 }
}
}
}
"""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/v1/models/m", STATUS),
        ("/V1/Models/m", STATUS),
        ("/v1/models/%6D", STATUS),
        ("/v1/models/m/labels/anything", STATUS),
        ("/v1/models/m/metadata", METADATA),
        ("/v1/models/m/versions/3/metadata", METADATA),
        ("/v1/models/m/versions/0003/metadata", METADATA),
    ],
)
def test_rest_answers_to_the_letter(service: Service, path: str, text: str) -> None:
    assert rest.answer(service, "GET", path) == text


def test_rest_status_of_one_version_holds_it_alone(service: Service) -> None:
    statuses = json.loads(rest.answer(service, "GET", "/v1/models/m/versions/3"))["model_version_status"]
    assert [status["version"] for status in statuses] == ["3"]


@pytest.mark.parametrize(
    ("method", "path", "code", "message"),
    [
        ("GET", "/v1/models", "INVALID_ARGUMENT", "Missing model name in request."),
        ("GET", "/v1/models/m?x=1", "INVALID_ARGUMENT", "Malformed request: GET /v1/models/m?x=1"),
        ("HEAD", "/v1/models/m", "INVALID_ARGUMENT", "Malformed request: HEAD /v1/models/m"),
        ("POST", "/v1/models/m", "INVALID_ARGUMENT", "Malformed request: POST /v1/models/m"),
        ("GET", "/v1/models/m:predict", "INVALID_ARGUMENT", "Malformed request: GET /v1/models/m:predict"),
        ("GET", "/v1/models/m/versions/x", "INVALID_ARGUMENT", "Malformed request: GET /v1/models/m/versions/x"),
        ("GET", "/v1/models/m/", "INVALID_ARGUMENT", "Malformed request: GET /v1/models/m/"),
        ("GET", f"/v1/models/m/versions/{2**63}", "INVALID_ARGUMENT", ""),
        ("GET", f"/v1/models/m/versions/{'9' * 6000}", "INVALID_ARGUMENT", ""),
        ("GET", "/v1/models/n", "NOT_FOUND", "Could not find any versions of model n"),
        ("GET", "/v1/models/n/metadata", "NOT_FOUND", "Servable not found for request: Latest(n)"),
        ("GET", "/v1/models/m/versions/4/metadata", "NOT_FOUND", "Servable not found for request: Specific(m, 4)"),
        ("GET", "/v1/models/m/labels/s/metadata", "INVALID_ARGUMENT", "Unrecognized servable version label: s"),
    ],
)
def test_rest_says_what_is_wrong(service: Service, method: str, path: str, code: str, message: str) -> None:
    with pytest.raises(StatusError) as raised:
        rest.answer(service, method, path)
    assert (serving_pb2.Code.Name(raised.value.code), raised.value.message) == (code, message)


@pytest.mark.parametrize(
    "path", ["/v1/models/m:predict", "/v1/models/m/versions/3:classify", "/v1/models/m/labels/s:regress", "/V1/Models/m:predict"]
)
def test_rest_predictions_are_refused_with_a_sentence(service: Service, path: str) -> None:
    with pytest.raises(StatusError, match=r"^UNIMPLEMENTED: (predict|classify|regress) over REST is not done") as raised:
        rest.answer(service, "POST", path)
    assert rest._HTTP_STATUS[raised.value.code] == 501


def test_every_status_code_has_its_http_status() -> None:
    unlisted = {name for name, code in serving_pb2.Code.items() if code not in rest._HTTP_STATUS}
    assert unlisted == {"UNKNOWN", "INTERNAL", "DATA_LOSS"}


def test_a_long_message_is_cut_for_the_wire() -> None:
    assert invalid("x" * 1024).wire_message() == "x" * 1024
    assert invalid("x" * 1025).wire_message() == "x" * 1024 + "...TRUNCATED"
    assert invalid("x" * 1023 + "é").wire_message() == "x" * 1023 + "...TRUNCATED"


def test_the_metrics_page_has_a_type_line_for_each_metric_before_any_request() -> None:
    page = Metrics().page()
    assert "# TYPE :tensorflow:serving:request_count counter\n" in page
    assert "# TYPE :tensorflow:serving:request_latency histogram\n" in page
    assert all(line.startswith("# TYPE :tensorflow:") for line in page.splitlines())


def test_a_counter_escapes_what_a_client_may_put_into_a_label() -> None:
    counter = Counter(":n", ("model_name", "status"))
    counter.add('a"\\\n', "OK")
    counter.add('a"\\\n', "OK", amount=2)
    assert counter.lines() == [r':n{model_name="a\"\\\n",status="OK"} 3']


def test_a_histogram_counts_up_to_each_limit() -> None:
    histogram = Histogram(":h", ("API",))
    for value_us in (1.0, 10.0, 10.1, 1e12):
        histogram.observe(value_us, "Predict")
    lines = histogram.lines()
    assert lines[:3] == [':h_bucket{API="Predict",le="10"} 2', ':h_bucket{API="Predict",le="18"} 3', ':h_bucket{API="Predict",le="32.4"} 3']
    assert lines[33:] == [':h_bucket{API="Predict",le="+Inf"} 4', ':h_sum{API="Predict"} 1e+12', ':h_count{API="Predict"} 4']


def test_failed_calls_are_counted_by_status_and_have_no_latency(service: Service) -> None:
    with pytest.raises(StatusError):
        rest.answer(service, "GET", "/v1/models/n")
    rest.answer(service, "GET", "/v1/models/m")
    page = service.metrics.page()
    assert ':tensorflow:serving:request_count{model_name="n",status="NOT_FOUND"} 1\n' in page
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 1\n' in page
    assert ':tensorflow:serving:request_latency_count{model_name="m",API="",entrypoint="REST"} 1\n' in page
    assert 'request_latency_count{model_name="n"' not in page


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", rest.PROMETHEUS_PATH),
        ('prometheus_config {\n  enable: true\n  path: "/metrics"\n}', "/metrics"),
        ("prometheus_config { enable: false }", None),
        ("", None),
    ],
    ids=["default path", "own path", "off", "empty"],
)
def test_the_monitoring_config_names_the_page(tmp_path: Path, text: str, path: str | None) -> None:
    config = tmp_path / "monitoring.config"
    config.write_text(textwrap.dedent(text))
    assert rest.prometheus_path(str(config)) == path


def test_a_bad_monitoring_config_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = tmp_path / "monitoring.config"
    with pytest.raises(StatusError, match=r"^NOT_FOUND: .*monitoring\.config; No such file"):
        rest.prometheus_path(str(config))
    config.write_text("prometheus { }")
    with pytest.raises(StatusError, match=rf"^INVALID_ARGUMENT: Invalid protobuf file: '{config}'$"):
        rest.prometheus_path(str(config))
    assert "Error parsing text-format tensorflow.serving.MonitoringConfig: 1:1" in caplog.text


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
    ("content", "message"),
    [
        (b"x" * 100, "corrupted record at 0 (Is this even a TFRecord file?)"),
        (TWO[:17], "truncated record at 0' failed with Read less bytes than requested"),
        (TWO[:-1], "truncated record at 19' failed with Read less bytes than requested"),
        (TWO[:14] + b"!" + TWO[15:], "corrupted record at 12"),
        (TWO[:19] + b"!" + TWO[20:], "corrupted record at 19"),
    ],
    ids=["no TFRecord", "cut in the first", "cut in the second", "data changed", "length changed"],
)
def test_a_broken_tfrecord_file_is_data_loss(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(StatusError) as lost:
        list(predict.records(tmp_path / "r"))
    assert str(lost.value) == f"DATA_LOSS: {message}. Please verify your warmup data is in TFRecord format."
