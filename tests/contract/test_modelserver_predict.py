"""The model server's gRPC answers, asked by upstream's own stubs: dtypes, filters, shapes, messages to the letter, deadlines, limits."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.contract import savedmodels
from tests.stack import Program, get, model_server, wait_until

NO_LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
FOREVER = 10**15  # iterations of `count`; some months


class Client:
    """Upstream's stubs on one address."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, NO_LIMIT)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(self, signature: str = "", outputs: tuple[str, ...] = (), timeout_s: float | None = 20.0, **inputs: Any) -> Any:
        """A Predict of model `digits`; inputs are TensorProtos or what `tf.make_tensor_proto` takes."""
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name, request.model_spec.signature_name = "digits", signature
        for alias, value in inputs.items():
            proto = value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value)
            request.inputs[alias].CopyFrom(proto)
        return self.predictions.Predict(request, timeout_s)

    def close(self) -> None:
        self._channel.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 of `digits` has every signature."""
    store = tmp_path_factory.mktemp("store")
    savedmodels.many_signatures(store / "digits" / "1")
    return store


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[tuple[Program, str, str]]:
    program, address, rest = model_server(store, "--monitoring_config_file=" + str(monitoring(store)), "--grpc_max_threads=4")
    with program:
        yield program, address, rest


@pytest.fixture
def client(server: tuple[Program, str, str]) -> Iterator[Client]:
    client = Client(server[1])
    yield client
    client.close()


def monitoring(folder: Path) -> Path:
    config = folder / "monitoring.config"
    config.write_text("prometheus_config { enable: true }")
    return config


def refused(call: Any, *args: Any, **kwargs: Any) -> tuple[str, str]:
    """Code and message of a call that must fail."""
    with pytest.raises(grpc.RpcError) as error:
        call(*args, **kwargs)
    return error.value.code().name, error.value.details()


def floats(shape: list[int | None], **fields: Any) -> tensor_pb2.TensorProto:
    """A float tensor as a client may write it."""
    return tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum, tensor_shape=tf.TensorShape(shape).as_proto(), **fields)


def sample(dtype: str) -> np.ndarray:
    if dtype == "string":
        return np.array([[b"", b"\x00a\xff", b"x" * 100]], object)
    values = [[0, 1, 0]] if dtype == "bool" else [[0, 1, 100]]
    return np.array(values).astype(tf.as_dtype(dtype).as_numpy_dtype)


def typed(array: np.ndarray) -> tensor_pb2.TensorProto:
    """The array in typed fields, as TensorFlow writes each value of it when it is alone."""
    proto = tensor_pb2.TensorProto()
    for value in array.ravel():
        proto.MergeFrom(tf.make_tensor_proto(value, shape=()))
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    return proto


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "uint8", "bool", "string"])
@pytest.mark.parametrize("write", [tf.make_tensor_proto, typed], ids=["bytes", "typed"])
def test_every_dtype_comes_back_as_it_went_in_typed_fields(client: Client, dtype: str, write: Any) -> None:
    array = sample(dtype)
    echoed = client.predict(f"echo_{dtype}", x=write(array)).outputs["y"]
    assert echoed.dtype == tf.as_dtype(dtype).as_datatype_enum
    assert not echoed.tensor_content
    result = tf.make_ndarray(echoed)
    assert (result.dtype, result.shape, result.tolist()) == (array.dtype, array.shape, array.tolist())


@pytest.mark.parametrize(
    ("array", "shape"),
    [(np.float32(3), ()), (np.zeros((0, 4), np.float32), (0, 4)), (np.ones((2, 1, 3), np.float32), (2, 1, 3))],
    ids=["scalar", "none", "three axes"],
)
def test_the_shape_comes_back_whole(client: Client, array: np.ndarray, shape: tuple[int, ...]) -> None:
    echoed = client.predict("echo_float32", x=array).outputs["y"]
    assert tuple(dim.size for dim in echoed.tensor_shape.dim) == shape
    assert len(echoed.float_val) == array.size


@pytest.mark.parametrize(
    ("proto", "values"),
    [
        (floats([4], float_val=[1, 2]), [1, 2, 2, 2]),
        (floats([2]), [0, 0]),
        (floats([2], float_val=[1, 2, 3]), [1, 2]),
        (floats([2], int_val=[1, 2]), [0, 0]),
    ],
    ids=["the last repeats", "none are zeros", "surplus is ignored", "another field is none"],
)
def test_typed_values_are_read_as_tensorflow_reads_them(client: Client, proto: Any, values: list[float]) -> None:
    assert list(client.predict("echo_float32", x=proto).outputs["y"].float_val) == values


def test_the_reply_says_which_model_signature_and_version_answered(client: Client) -> None:
    reply = client.predict(a=[1.0, 2.0], b=[3.0, 4.0])
    assert (reply.model_spec.name, reply.model_spec.signature_name, reply.model_spec.version.value) == ("digits", "serving_default", 1)
    assert not reply.model_spec.version_label
    assert list(reply.outputs["product"].float_val) == [6.0, 16.0]
    assert list(reply.outputs["sum"].float_val) == [4.0, 6.0]


def test_only_the_outputs_that_the_filter_names_come_back(client: Client) -> None:
    assert set(client.predict(outputs=("sum",), a=[1.0], b=[2.0]).outputs) == {"sum"}
    assert set(client.predict(outputs=("sum", "product"), a=[1.0], b=[2.0]).outputs) == {"sum", "product"}


def test_a_signature_without_inputs_answers_a_request_with_none(client: Client) -> None:
    card = client.predict("card").outputs["card"]
    assert (list(card.string_val), list(card.tensor_shape.dim)) == ([b'{"version": 1}'], [])


@pytest.mark.parametrize(
    ("sent", "code", "message"),
    [
        ({"signature": "none", "x": [1.0]}, "FAILED_PRECONDITION", 'Serving signature key "none" not found.'),
        (
            {"a": [1.0]},
            "INVALID_ARGUMENT",
            "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. Missing but required: {b}.",
        ),
        (
            {"a": [1.0], "b": [1.0], "d": [1.0], "c": [1.0]},
            "INVALID_ARGUMENT",
            "input size does not match signature: 4!=2 len({a,b,c,d}) != len({a,b}). Sent extra: {c,d}. Missing but required: {}.",
        ),
        (
            {"signature": "matmul", "y": [[1.0]]},
            "INVALID_ARGUMENT",
            "input size does not match signature: 1!=1 len({y}) != len({x}). Sent extra: {y}. Missing but required: {x}.",
        ),
        (
            {"signature": "matmul", "x": floats([1], tensor_content=b"123")},
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ),
        (
            {"signature": "matmul", "x": floats([None])},
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ),
        ({"signature": "matmul", "x": [[1, 2]]}, "INVALID_ARGUMENT", "Expects arg[0] to be float but int32 is provided"),
        (
            {"a": [1.0], "b": [1.0], "outputs": ("mean",)},
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: mean Outputs expected to be in the set {product,sum}.",
        ),
        ({"a": [1.0], "b": [1.0], "outputs": ("sum", "sum")}, "INVALID_ARGUMENT", "duplicate output tensor alias: sum"),
    ],
    ids=[
        "signature", "too few", "too many", "another name", "short bytes", "open shape", "dtype", "unknown output", "output twice",
    ],
)  # fmt: skip
def test_what_does_not_fit_the_signature_is_refused_to_the_letter(client: Client, sent: dict[str, Any], code: str, message: str) -> None:
    assert refused(client.predict, **sent) == (code, message)


def test_a_shape_that_the_graph_cannot_digest_gets_the_kernel_s_words(client: Client) -> None:
    code, message = refused(client.predict, "matmul", x=np.ones((3, 5), np.float32))
    assert code == "INVALID_ARGUMENT"
    assert re.match(r"Matrix size-incompatible: In\[0\]: \[3,5\], In\[1\]: \[4,2\]\n\t \[\[\{\{.*node ", message)


def test_a_very_long_message_is_cut(client: Client) -> None:
    code, message = refused(client.predict, a=[1.0], b=[1.0], **{"x" * 2000: [1.0]})
    assert code == "INVALID_ARGUMENT"
    assert len(message) == 1024


def test_a_message_of_eight_megabytes_goes_both_ways(client: Client) -> None:
    array = np.arange(2_000_000, dtype=np.float32)
    assert tf.make_ndarray(client.predict("echo_float32", x=array).outputs["y"]).sum() == array.sum()


def test_another_method_is_unimplemented(client: Client) -> None:
    assert refused(client.predictions.Classify, classification_pb2.ClassificationRequest(), 10)[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize("timeout_s", [None, 1e7, 1e9], ids=["none", "of 116 days", "of 31 years"])
def test_a_call_without_a_deadline_or_with_a_distant_one_is_answered(client: Client, timeout_s: float | None) -> None:
    """RunOptions counts milliseconds in 64 bits, and gRPC says 9e18 s for a call without a deadline."""
    assert list(client.predict(timeout_s=timeout_s, a=[1.0], b=[2.0]).outputs["sum"].float_val) == [3.0]
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "digits"
    assert client.models.GetModelStatus(status, timeout_s).model_version_status[0].version == 1


def test_a_deadline_ends_the_run_too(client: Client, server: tuple[Program, str, str]) -> None:
    begun = time.monotonic()
    assert refused(client.predict, "count", timeout_s=0.3, n=np.int64(FOREVER))[0] == "DEADLINE_EXCEEDED"
    ended = ':tensorflow:serving:request_count{model_name="digits",status="DEADLINE_EXCEEDED"} '
    wait_until("the run has ended", lambda: ended in get(f"{server[2]}/monitoring/prometheus/metrics")[1].decode(), 10)
    assert time.monotonic() - begun < 10


def test_of_four_calls_at_once_four_threads_run_three_and_refuse_one(server: tuple[Program, str, str]) -> None:
    """One thread always listens. A slow machine gets longer runs, so that all four meet."""
    clients = [Client(server[1]) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for run_s in (1.0, 4.0, 16.0):
            calls = [pool.submit(refused, client.predict, "count", timeout_s=run_s, n=np.int64(FOREVER)) for client in clients]
            codes = dict(sorted(call.result() for call in calls))
            if len(codes) > 1:
                break
    assert codes["RESOURCE_EXHAUSTED"] == "Concurrent RPC limit exceeded!"
    assert sorted(call.result()[0] for call in calls) == ["DEADLINE_EXCEEDED"] * 3 + ["RESOURCE_EXHAUSTED"]

    def answers() -> bool:
        try:
            return bool(clients[0].predict("card").outputs)
        except grpc.RpcError:
            return False

    wait_until("the server answers again", answers, 10)
    for client in clients:
        client.close()


def test_requests_run_side_by_side(client: Client) -> None:
    """Short ones are answered while a long one runs."""
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(refused, client.predict, "count", timeout_s=1.5, n=np.int64(FOREVER))
        answered = 0
        while not long.done():
            client.predict("card")
            answered += 1
        assert long.result()[0] == "DEADLINE_EXCEEDED"
    assert answered >= 5


def test_metrics_count_predictions(client: Client, server: tuple[Program, str, str]) -> None:
    client.predict("card")
    status, body = get(f"{server[2]}/monitoring/prometheus/metrics")
    assert status == 200
    assert re.search(r'^:tensorflow:serving:request_count\{model_name="digits",status="OK"\} [1-9]', body.decode(), re.MULTILINE)


@pytest.fixture(scope="module")
def half_plus_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A model of the first kind that TensorFlow wrote."""
    store = tmp_path_factory.mktemp("other")
    savedmodels.half_plus(store / "digits" / "00000123")
    program, address, _ = model_server(store, "--grpc_channel_arguments=grpc.max_receive_message_length=10000,grpc.lb=x")
    client = Client(address)
    with program:
        yield client
        client.close()


@pytest.mark.parametrize(("x", "y"), [([2.0], [3.0]), ([[2.0]], [[3.0]]), ([2.0, 3.0, 4.0], [3.0, 3.5, 4.0])], ids=["[1]", "[1, 1]", "[3]"])
def test_a_shape_that_the_graph_digests_is_not_refused(half_plus_two: Client, x: list[Any], y: list[Any]) -> None:
    reply = half_plus_two.predict(x=x)
    assert tf.make_ndarray(reply.outputs["y"]).tolist() == y
    assert reply.model_spec.version.value == 123


def test_channel_arguments_reach_grpc(half_plus_two: Client) -> None:
    code, message = refused(half_plus_two.predict, x=[1.0] * 10_000)
    assert code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in message
