"""SavedModels in the C library: half-written folders, deadlines, warm-up, and what a swap leaves in memory."""

import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from modelserver.errors import StatusError
from modelserver.predict import MAX_WARMUP_RECORDS, WARMUP_FILE, load
from modelserver.runtime import SavedModel
from pynumdraw import wire
from pynumdraw.wire import serving_pb2, tensor_pb2
from tests.contract import savedmodels
from tests.stack import ROOT


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return savedmodels.half_plus(tmp_path_factory.mktemp("models") / "valid")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SavedModel]:
    model = SavedModel(str(savedmodels.many_signatures(tmp_path_factory.mktemp("models") / "many")))
    yield model
    model.close()


@pytest.fixture
def folder(valid: Path, tmp_path: Path) -> Path:
    """A copy that a test may corrupt."""
    return Path(shutil.copytree(valid, tmp_path / "7"))


def predict_request(x: float = 2.0, signature: str = "") -> serving_pb2.PredictRequest:
    request = serving_pb2.PredictRequest(model_spec=wire.model_spec("any", signature_name=signature))
    request.inputs["x"].CopyFrom(wire.to_tensor(np.array([x], np.float32)))
    return request


def y(model: SavedModel, x: float) -> float:
    inputs = {"x": wire.to_tensor(np.array([x], np.float32))}
    return float(wire.from_tensor(model.run(model.signatures["serving_default"], inputs, ["y"])[0])[0])


def test_a_valid_folder_loads_and_answers(valid: Path) -> None:
    model = SavedModel(str(valid))
    assert y(model, 2.0) == 3.0
    model.close()


def cut(path: str, to: int) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:to])


HALF_WRITTEN = {
    "no saved_model.pb": (
        lambda folder: (folder / "saved_model.pb").unlink(),
        "NOT_FOUND: Could not find SavedModel .pb or .pbtxt at supplied export directory path: {folder}",
    ),
    "cut": (cut("saved_model.pb", 4000), "Read less bytes than requested|Can't parse"),
    "empty": (cut("saved_model.pb", 0), "NOT_FOUND: Could not find meta graph def matching supplied tags: { serve }"),
    "garbage": (lambda folder: (folder / "saved_model.pb").write_bytes(b"\xff" * 500), "DATA_LOSS: Can't parse .* as binary proto"),
    "no data shard": (
        lambda folder: (folder / "variables/variables.data-00000-of-00001").unlink(),
        "NOT_FOUND: .*variables.data-00000-of-00001; No such file or directory",
    ),
}


@pytest.mark.parametrize(("corrupt", "message"), HALF_WRITTEN.values(), ids=HALF_WRITTEN.keys())
def test_a_half_written_folder_does_not_load(folder: Path, corrupt: Callable[[Path], object], message: str) -> None:
    corrupt(folder)
    with pytest.raises(StatusError) as refused:
        SavedModel(str(folder))
    if "{folder}" in message:
        assert str(refused.value).startswith(message.format(folder=folder))
    else:
        assert re.search(message.replace("{ ", r"\{ ").replace(" }", r" \}"), str(refused.value))


def test_a_folder_without_its_variables_index_loads_and_then_fails_each_request(folder: Path) -> None:
    (folder / "variables/variables.index").unlink()
    model = SavedModel(str(folder))
    with pytest.raises(StatusError, match=r"^FAILED_PRECONDITION: .*(Could not find variable|uninitialized)"):
        y(model, 2.0)
    model.close()


def test_a_tensor_that_the_graph_lacks_is_named(valid: Path) -> None:
    model = SavedModel(str(valid))
    signature = serving_pb2.SignatureDef()
    signature.CopyFrom(model.signatures["serving_default"])
    signature.outputs["y"].name = "gone:0"
    with pytest.raises(StatusError, match=r"^NOT_FOUND: the signature names gone:0, which the graph does not hold$"):
        model.run(signature, predict_request().inputs, ["y"])
    model.close()


def test_a_run_ends_at_its_time_limit(many: SavedModel) -> None:
    n = tensor_pb2.TensorProto(dtype=tensor_pb2.DT_INT64, int64_val=[10**15])
    with pytest.raises(StatusError, match=r"^DEADLINE_EXCEEDED: Timed out waiting for notification$"):
        many.run(many.signatures["count"], {"n": n}, ["n"], timeout_ms=50)


def test_an_output_of_another_type_is_refused_by_its_name(many: SavedModel) -> None:
    half = tensor_pb2.TensorProto(dtype=tensor_pb2.DT_HALF, half_val=[0])
    with pytest.raises(StatusError, match=r"^UNIMPLEMENTED: an output of type DT_HALF cannot be sent by the stand-in"):
        many.run(many.signatures["echo_float16"], {"x": half}, ["y"])


# Warm-up


def write_warm_up(folder: Path, *records: bytes) -> None:
    def masked(part: bytes) -> bytes:
        crc = google_crc32c.value(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    path = folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    heads = [struct.pack("<Q", len(record)) for record in records]
    path.write_bytes(b"".join(head + masked(head) + record + masked(record) for head, record in zip(heads, records, strict=True)))


def logged(request: serving_pb2.PredictRequest) -> bytes:
    return serving_pb2.PredictionLog(predict_log=serving_pb2.PredictLog(request=request)).SerializeToString()


def test_warm_up_requests_run_before_a_version_serves(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_warm_up(folder, logged(predict_request()), b"", logged(predict_request(3.0)))
    with caplog.at_level("INFO"):
        load(str(folder)).close()
    assert f"warmed up with 3 records of {folder / WARMUP_FILE}" in caplog.text


BAD_WARM_UP = {
    "signature": ([logged(predict_request(signature="none"))], 'FAILED_PRECONDITION: Serving signature key "none" not found.'),
    "no message": ([b"\xff"], "INVALID_ARGUMENT: Failed to parse warmup record: � from {path}"),
    "another kind": (
        [serving_pb2.PredictionLog(classify_log=serving_pb2.OtherLog()).SerializeToString()],
        "UNIMPLEMENTED: a warm-up record of kind classify_log cannot be replayed by the stand-in; wanted predict_log",
    ),
    "too many": (
        [b""] * (MAX_WARMUP_RECORDS + 1),
        "INVALID_ARGUMENT: Number of warmup records exceeds the maximum (1000) at {path}",
    ),
}


@pytest.mark.parametrize(("records", "message"), BAD_WARM_UP.values(), ids=BAD_WARM_UP.keys())
def test_a_warm_up_that_fails_fails_the_load(folder: Path, records: list[bytes], message: str) -> None:
    write_warm_up(folder, *records)
    with pytest.raises(StatusError) as refused:
        load(str(folder))
    assert str(refused.value) == message.format(path=folder / WARMUP_FILE)


def test_without_warm_up_its_file_is_not_read(folder: Path) -> None:
    write_warm_up(folder, b"\xff")
    load(str(folder), with_warm_up=False).close()


# The process


def python(program: str, *arguments: str) -> str:
    """What a program prints; it runs in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tensorflow_is_never_imported(valid: Path) -> None:
    program = """
import sys
import modelserver.rest, modelserver.rpc
from modelserver.runtime import SavedModel
SavedModel(sys.argv[1]).close()
print([name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras", "flask")])
"""
    assert python(program, str(valid)) == "[]\n"


def test_twenty_swaps_leave_no_memory_behind(tmp_path: Path) -> None:
    """Each version holds 32 MB of variables; one version's worth and some slack may stay."""
    program = """
import os, pathlib, sys
from modelserver.predict import load
from modelserver.versions import Versions
from pynumdraw.wire import model_spec
from tests.stack import wait_until

base = pathlib.Path(sys.argv[1])
versions = Versions("m", str(base), load, poll_s=0.05, retries=0)
(base / "1").symlink_to(sys.argv[2])
versions.start()
versions.wait_until_served()

def resident_mb():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

sizes = []
for number in range(2, 22):
    (base / str(number)).symlink_to(sys.argv[2])
    wait_until("the swap is done", lambda: versions.states()[:2] == [(number, 30, None), (number - 1, 50, None)])
    with versions.use(model_spec("m")) as (served, model):
        assert served == number
        assert "serving_default" in model.signatures
    sizes.append(resident_mb())
print(sizes[2], sizes[-1])
"""
    model = savedmodels.half_plus(tmp_path / "model", size=8_000_000)
    (tmp_path / "m").mkdir()
    early, late = (float(size) for size in python(program, str(tmp_path / "m"), str(model)).split())
    assert late - early < 48, f"resident MB after 3 swaps {early}, after 20 {late}"
