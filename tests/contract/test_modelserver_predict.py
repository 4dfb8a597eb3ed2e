"""The model server's gRPC answers, asked by upstream's own stubs: dtypes, filters, shapes, messages to the letter, deadlines, limits."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2

from tests.contract import savedmodels
from tests.contract.savedmodels import FOREVER, Client
from tests.stack import Program, get, model_server, wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, str, str]]:
    """Version 1 of `digits` has every signature."""
    store = tmp_path_factory.mktemp("store")
    savedmodels.many_signatures(store / "digits" / "1")
    program, address, rest = model_server(store, savedmodels.monitoring_flag(store), "--grpc_max_threads=4")
    with program:
        yield program, address, rest


@pytest.fixture
def client(server: tuple[Program, str, str]) -> Iterator[Client]:
    with Client(server[1]) as client:
        yield client


def refused(call: Any, *args: Any, **kwargs: Any) -> tuple[str, str]:
    """Code and message of a call that must fail."""
    with pytest.raises(grpc.RpcError) as error:
        call(*args, **kwargs)
    return error.value.code().name, error.value.details()


def floats(shape: list[int | None], **fields: Any) -> tensor_pb2.TensorProto:
    """A float tensor as a client may write it."""
    return tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum, tensor_shape=tf.TensorShape(shape).as_proto(), **fields)


NUMBERS = [np.array([[0, 1, 100]], dtype) for dtype in ("float32", "int32", "int64", "uint8")]
STRINGS = np.array([[b"", b"\x00a\xff", b"x" * 100]], object)


@pytest.mark.parametrize("array", [*NUMBERS, np.array([[False, True, False]]), STRINGS], ids=lambda array: array.dtype.name)
def test_every_dtype_comes_back_as_it_went_in_typed_fields(client: Client, array: np.ndarray) -> None:
    echoed = client.predict(f"echo_{tf.as_dtype(array.dtype).name}", x=array).outputs["y"]
    assert not echoed.tensor_content
    result = tf.make_ndarray(echoed)
    assert (result.dtype, result.shape, result.tolist()) == (array.dtype, array.shape, array.tolist())


@pytest.mark.parametrize(
    ("sent", "shape", "values"),
    [
        (np.float32(3), [], [3]),
        (np.zeros((0, 4), np.float32), [0, 4], []),
        (np.ones((2, 1, 3), np.float32), [2, 1, 3], [1] * 6),
        (floats([4], float_val=[1, 2]), [4], [1, 2, 2, 2]),
        (floats([2]), [2], [0, 0]),
    ],
    ids=["scalar", "none", "three axes", "the last value repeats", "no values are zeros"],
)
def test_the_shape_comes_back_whole(client: Client, sent: Any, shape: list[int], values: list[float]) -> None:
    echoed = client.predict("echo_float32", x=sent).outputs["y"]
    assert ([dim.size for dim in echoed.tensor_shape.dim], list(echoed.float_val)) == (shape, values)


def test_the_reply_says_which_model_signature_and_version_answered(client: Client) -> None:
    reply = client.predict(a=[1.0, 2.0], b=[3.0, 4.0])
    assert (reply.model_spec.name, reply.model_spec.signature_name, reply.model_spec.version.value) == ("digits", "serving_default", 1)
    assert not reply.model_spec.version_label
    assert list(reply.outputs["product"].float_val) == [6.0, 16.0]
    assert list(reply.outputs["sum"].float_val) == [4.0, 6.0]


def test_only_the_outputs_that_the_filter_names_come_back(client: Client) -> None:
    for outputs in (("sum",), ("sum", "product")):
        assert set(client.predict(outputs=outputs, a=[1.0], b=[2.0]).outputs) == set(outputs)


def test_a_signature_without_inputs_answers_a_request_with_none(client: Client) -> None:
    card = client.predict("card").outputs["card"]
    assert (list(card.string_val), list(card.tensor_shape.dim)) == ([b'{"version": 1}'], [])


SIZE = "input size does not match signature: "
REFUSED = {
    "signature": ({"signature": "none", "x": [1.0]}, 'Serving signature key "none" not found.'),
    "too few": ({"a": [1.0]}, SIZE + "1!=2 len({a}) != len({a,b}). Sent extra: {}. Missing but required: {b}."),
    "too many": (
        {"a": [1.0], "b": [1.0], "d": [1.0], "c": [1.0]},
        SIZE + "4!=2 len({a,b,c,d}) != len({a,b}). Sent extra: {c,d}. Missing but required: {}.",
    ),
    "another name": (
        {"signature": "matmul", "y": [[1.0]]},
        SIZE + "1!=1 len({y}) != len({x}). Sent extra: {y}. Missing but required: {x}.",
    ),
    "short bytes": ({"signature": "matmul", "x": floats([1], tensor_content=b"123")}, "tensor parsing error: x"),
    "open shape": ({"signature": "matmul", "x": floats([None])}, "tensor parsing error: x"),
    "dtype": ({"signature": "matmul", "x": [[1, 2]]}, "Expects arg[0] to be float but int32 is provided"),
    "unknown output": (
        {"a": [1.0], "b": [1.0], "outputs": ("mean",)},
        "output tensor alias not found in signature: mean Outputs expected to be in the set {product,sum}.",
    ),
    "output twice": ({"a": [1.0], "b": [1.0], "outputs": ("sum", "sum")}, "duplicate output tensor alias: sum"),
    "output's dtype": (
        {"signature": "echo_float16", "x": np.float16(0)},
        "an output of type DT_HALF cannot be sent by the stand-in; TensorFlow Serving may",
    ),
}
CODES = {"signature": "FAILED_PRECONDITION", "output's dtype": "UNIMPLEMENTED"}  # of all others INVALID_ARGUMENT


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_the_signature_is_refused_to_the_letter(client: Client, case: str) -> None:
    sent, message = REFUSED[case]
    assert refused(client.predict, **sent) == (CODES.get(case, "INVALID_ARGUMENT"), message)


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
    assert client.states(timeout_s) == {1: "AVAILABLE"}


def test_a_deadline_ends_the_run_too(client: Client, server: tuple[Program, str, str]) -> None:
    begun = time.monotonic()
    assert refused(client.predict, "count", timeout_s=0.3, n=FOREVER)[0] == "DEADLINE_EXCEEDED"
    ended = ':tensorflow:serving:request_count{model_name="digits",status="DEADLINE_EXCEEDED"} '
    wait_until("the run has ended", lambda: ended in get(f"{server[2]}/monitoring/prometheus/metrics")[1].decode(), 10)
    assert time.monotonic() - begun < 10


def test_of_four_calls_at_once_four_threads_run_three_and_refuse_one(server: tuple[Program, str, str]) -> None:
    """One thread always listens. A slow machine gets longer runs, so that all four meet."""
    clients = [Client(server[1]) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for run_s in (1.0, 4.0, 16.0):
            calls = [pool.submit(refused, client.predict, "count", timeout_s=run_s, n=FOREVER) for client in clients]
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
        client.channel.close()


def test_requests_run_side_by_side(client: Client) -> None:
    """Short ones are answered while a long one runs."""
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(refused, client.predict, "count", timeout_s=1.5, n=FOREVER)
        answered = 0
        while not long.done():
            client.predict("card")
            answered += 1
        assert long.result()[0] == "DEADLINE_EXCEEDED"
    assert answered >= 5


@pytest.fixture(scope="module")
def half_plus_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A model of the first kind that TensorFlow wrote."""
    store = tmp_path_factory.mktemp("other")
    savedmodels.half_plus(store / "digits" / "00000123")
    program, address, _ = model_server(store, "--grpc_channel_arguments=grpc.max_receive_message_length=10000,grpc.lb=x")
    with program, Client(address) as client:
        yield client


@pytest.mark.parametrize(("x", "y"), [([2.0], [3.0]), ([[2.0]], [[3.0]]), ([2.0, 3.0, 4.0], [3.0, 3.5, 4.0])], ids=["[1]", "[1, 1]", "[3]"])
def test_a_shape_that_the_graph_digests_is_not_refused(half_plus_two: Client, x: list[Any], y: list[Any]) -> None:
    reply = half_plus_two.predict(x=x)
    assert tf.make_ndarray(reply.outputs["y"]).tolist() == y
    assert reply.model_spec.version.value == 123


def test_channel_arguments_reach_grpc(half_plus_two: Client) -> None:
    code, message = refused(half_plus_two.predict, x=[1.0] * 10_000)
    assert code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in message
