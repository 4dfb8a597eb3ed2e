"""Gateway and model server as two processes over real gRPC, with a model that was really trained."""

import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from pynumdraw.ink import INK_VERSION, clip_strokes, rasterise
from pynumdraw.signature import SIGNATURE_VERSION
from pynumdraw.wire import PREDICT, from_tensor, model_spec, serving_pb2, to_tensor
from tests import stack
from tests.contract.test_gateway_api import ask
from tests.stack import ROOT, Program, wait_until

GOLDEN = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "tests" / "golden" / "drawings").glob("*.json"))}


@pytest.fixture(scope="module")
def newest(tiny_store: Path) -> int:
    """The version that a model server takes from the store."""
    return max(int(path.name) for path in (tiny_store / "digits").iterdir() if path.name.isdigit())


@pytest.fixture(scope="module")
def served(tiny_store: Path) -> Iterator[tuple[str, str]]:
    """(gRPC address of the model server, URL of the gateway before it)."""
    server, address, _ = stack.model_server(tiny_store)
    with server:
        gateway, url = stack.gateway(address)
        with gateway:
            yield address, url


def drawn(case: str) -> dict[str, Any]:
    return {**GOLDEN[case], "frame": True}


def predict_directly(address: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """The model server's outputs for these images. Raises grpc.RpcError."""
    request = serving_pb2.PredictRequest(model_spec=model_spec("digits"), inputs={"images": to_tensor(images)})
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        predict = channel.unary_unary(PREDICT, serving_pb2.PredictRequest.SerializeToString, serving_pb2.PredictResponse.FromString)
        return {name: from_tensor(tensor) for name, tensor in predict(request, timeout=10).outputs.items()}


def test_answers_have_the_numbers_of_the_model(served: tuple[str, str], newest: int) -> None:
    """The same frame, asked of the model server directly, gives the numbers that the gateway answers."""
    address, url = served
    for case, drawing in GOLDEN.items():
        answer = ask(url, "POST", "/api/v1/predict", drawn(case)).json
        frame = rasterise(clip_strokes(drawing["strokes"], drawing["width"], drawing["height"]))
        if answer["reason"] in ("blank", "faint"):
            assert answer["model"]["version"] is None
            continue
        assert answer["frame"] == frame.tolist()
        outputs = {name: array[0] for name, array in predict_directly(address, frame[None]).items()}
        assert answer["probabilities"] == pytest.approx(outputs["probabilities"], abs=1e-6)
        assert answer["is_digit_probability"] == pytest.approx(outputs["is_digit_probability"], abs=1e-6)
        assert answer["is_digit"] == outputs["accepted"]
        if answer["is_digit"]:
            assert answer["digit"] == outputs["digit"] == np.argmax(outputs["probabilities"])
            assert answer["confidence"] == pytest.approx(outputs["confidence"], abs=1e-6)
            assert answer["confidence"] == pytest.approx(outputs["is_digit_probability"] * outputs["probabilities"].max(), abs=1e-5)
            assert answer["candidates"] == ([outputs["digit"], outputs["runner_up"]] if outputs["ambiguous"] else [outputs["digit"]])
        else:
            assert (answer["digit"], answer["confidence"], answer["candidates"]) == (None, None, [])
        assert answer["model"] == {"name": "digits", "version": newest}


@pytest.mark.parametrize("case", [case for case, drawing in GOLDEN.items() if drawing["expect"].get("reason") in ("blank", "faint")])
def test_golden_drawings_with_too_little_ink_are_blank_or_faint(served: tuple[str, str], case: str) -> None:
    assert ask(served[1], "POST", "/api/v1/predict", drawn(case)).json["reason"] == GOLDEN[case]["expect"]["reason"]


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((1, 784), np.uint8), id="rows of 784"),
        pytest.param(np.zeros((28, 28), np.uint8), id="one image without N"),
        pytest.param(np.zeros((3, 27, 28), np.uint8), id="27 rows"),
        pytest.param(np.uint8(0), id="rank 0"),
        pytest.param(np.zeros(784, np.uint8), id="rank 1"),
        pytest.param(np.zeros((1, 28, 28, 1), np.uint8), id="a channel"),
        pytest.param(np.zeros((1, 28, 28), np.float32), id="another type"),
    ],
)
def test_images_of_a_wrong_shape_or_type_are_refused_and_the_server_lives(served: tuple[str, str], image: np.ndarray) -> None:
    address, url = served
    with pytest.raises(grpc.RpcError) as refused:
        predict_directly(address, np.asarray(image))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ask(url, "POST", "/api/v1/predict", drawn("7-plain")).status == 200


def test_no_images_give_empty_outputs(served: tuple[str, str]) -> None:
    outputs = predict_directly(served[0], np.zeros((0, 28, 28), np.uint8))
    assert {name: array.shape for name, array in outputs.items()} == {
        "probabilities": (0, 10),
        **dict.fromkeys(("is_digit_probability", "confidence", "digit", "runner_up", "accepted", "ambiguous", "ink_version"), (0,)),
    }


def test_the_card_is_the_one_that_the_trainer_wrote_and_passes_every_check(served: tuple[str, str], newest: int) -> None:
    card = ask(served[1], "GET", "/api/v1/card").json
    assert card["model"] == "digits"
    assert (card["version"], card["ink_version"], card["signature_version"]) == (newest, INK_VERSION, SIGNATURE_VERSION)
    assert (card["prior"], card["recipe"]) == (0.8, "tiny")
    assert 0 < card["threshold"] < 1
    assert [mix["non_digit_share"] for mix in card["mixes"]] == [0.05, 0.2, 0.5]
    assert len(card["confidence_histogram"]["edges"]) == len(card["confidence_histogram"]["counts"]) + 1


def test_the_original_demo_reads_an_mnist_digit(served: tuple[str, str], newest: int) -> None:
    with (ROOT / "data" / "t10k-images-idx3-ubyte").open("rb") as file:
        greys = np.frombuffer(file.read()[16 : 16 + 784], np.uint8) / 255  # the first test image is a 7
    answer = ask(served[1], "POST", "/predict_number/", {"new_data": greys.tolist()}).json
    assert answer["predicted_number"] == 7
    assert answer["model_version"] == str(newest)


def test_a_new_version_takes_over_and_no_request_fails(tiny_store: Path, newest: int, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(tiny_store / "digits" / str(newest), store / "digits" / "1")
    server, address, _ = stack.model_server(store, "--file_system_poll_wait_seconds=1")
    with server:
        gateway, url = stack.gateway(address)
        answers: Counter[tuple[int, Any]] = Counter()
        done = threading.Event()

        def load() -> None:
            while not done.is_set():
                reply = ask(url, "POST", "/api/v1/predict", drawn("7-plain"))
                answers[reply.status, reply.json.get("model", {}).get("version")] += 1

        with gateway, ThreadPoolExecutor(2) as pool:
            running = [pool.submit(load) for _ in range(2)]
            try:
                wait_until("version 1 answers", lambda: answers[200, 1] > 5)
                shutil.copytree(tiny_store / "digits" / str(newest), store / "digits" / "staging")
                (store / "digits" / "staging").rename(store / "digits" / "2")
                wait_until("version 2 answers", lambda: answers[200, 2] > 5, timeout_s=60)
            finally:
                done.set()
            for future in running:
                future.result()
            assert set(answers) == {(200, 1), (200, 2)}
            report = ask(url, "GET", "/api/v1/versions").json
            assert {(row["version"], row["state"]) for row in report["serving"]} >= {(2, "AVAILABLE")}
            assert set(report["answers"]["by_version"]) == {"1", "2"}


def test_a_model_server_that_stops_is_an_error_until_it_is_back(tiny_store: Path) -> None:
    server, address, _ = stack.model_server(tiny_store)
    gateway, url = stack.gateway(address)
    with gateway:

        def status() -> int:
            return ask(url, "POST", "/api/v1/predict", drawn("7-plain")).status

        with server:
            assert status() == 200
        away = ask(url, "POST", "/api/v1/predict", drawn("7-plain"))
        assert (away.status, away.json["error"]["code"], away.headers["Retry-After"]) == (503, "model_unavailable", "1")
        assert [row["state"] for row in ask(url, "GET", "/api/v1/versions").json["serving"]] == ["UNREACHABLE"]
        assert ask(url, "GET", "/readyz").status == 200
        assert ask(url, "GET", "/").status == 200
        server, _, _ = stack.model_server(tiny_store, port=int(address.rpartition(":")[2]))
        with server:
            wait_until("it is found again", lambda: status() == 200)


def test_a_model_server_on_a_unix_socket_is_reached(tiny_store: Path, tmp_path: Path) -> None:
    server = Program(
        "modelserver", "--port=0", f"--grpc_socket_path={tmp_path}/s", "--model_name=digits", f"--model_base_path={tiny_store / 'digits'}"
    )  # fmt: skip
    with server:
        gateway, url = stack.gateway(f"unix:{tmp_path}/s")
        with gateway:
            server.wait_until("it answers", lambda: ask(url, "POST", "/api/v1/predict", drawn("7-plain")).status == 200)
            assert [row["state"] for row in ask(url, "GET", "/api/v1/versions").json["serving"]] == ["AVAILABLE"]
