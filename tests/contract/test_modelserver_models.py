"""SavedModels in the C library: half-written folders, warm-up, and what a swap leaves in memory."""

import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from modelserver.errors import StatusError
from modelserver.predict import MAX_WARMUP_RECORDS, WARMUP_FILE, load, predict, records
from modelserver.runtime import SavedModel
from pynumdraw import wire
from pynumdraw.wire import serving_pb2
from tests.contract import savedmodels
from tests.stack import ROOT


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return savedmodels.half_plus(tmp_path_factory.mktemp("models") / "valid")


@pytest.fixture
def folder(valid: Path, tmp_path: Path) -> Path:
    """A copy that a test may corrupt."""
    return Path(shutil.copytree(valid, tmp_path / "7"))


def predict_request(x: float = 2.0, signature: str = "") -> serving_pb2.PredictRequest:
    request = serving_pb2.PredictRequest(model_spec=wire.model_spec("any", signature_name=signature))
    request.inputs["x"].CopyFrom(wire.to_tensor(np.array([x], np.float32)))
    return request


def cut(path: str, to: int) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:to])


HALF_WRITTEN = {
    "no saved_model.pb": (
        lambda folder: (folder / "saved_model.pb").unlink(),
        "^NOT_FOUND: Could not find SavedModel .pb or .pbtxt at supplied export directory path: /.*/7",
    ),
    "cut": (cut("saved_model.pb", 4000), "Read less bytes than requested|Can't parse"),
    "empty": (cut("saved_model.pb", 0), r"^NOT_FOUND: Could not find meta graph def matching supplied tags: \{ serve \}"),
    "garbage": (lambda folder: (folder / "saved_model.pb").write_bytes(b"\xff" * 500), "^DATA_LOSS: Can't parse .* as binary proto"),
    "no data shard": (
        lambda folder: (folder / "variables/variables.data-00000-of-00001").unlink(),
        "^NOT_FOUND: .*variables.data-00000-of-00001; No such file or directory",
    ),
}


@pytest.mark.parametrize(("corrupt", "message"), HALF_WRITTEN.values(), ids=HALF_WRITTEN.keys())
def test_a_half_written_folder_does_not_load(folder: Path, corrupt: Callable[[Path], object], message: str) -> None:
    corrupt(folder)
    with pytest.raises(StatusError, match=message):
        SavedModel(str(folder))


def test_a_folder_without_its_variables_index_loads_and_then_fails_each_request(folder: Path) -> None:
    (folder / "variables/variables.index").unlink()
    model = SavedModel(str(folder))
    with pytest.raises(StatusError, match=r"^FAILED_PRECONDITION: .*(Could not find variable|uninitialized)"):
        predict(model, 7, predict_request())
    model.close()


def test_a_tensor_that_the_graph_lacks_is_named(valid: Path) -> None:
    model = SavedModel(str(valid))
    signature = serving_pb2.SignatureDef()
    signature.CopyFrom(model.signatures["serving_default"])
    signature.outputs["y"].name = "gone:0"
    with pytest.raises(StatusError, match=r"^NOT_FOUND: the signature names gone:0, which the graph does not hold$"):
        model.run(signature, predict_request().inputs, ["y"])
    model.close()


# Warm-up


def record(data: bytes) -> bytes:
    """One record of a TFRecord file."""

    def masked(part: bytes) -> bytes:
        crc = google_crc32c.value(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


TWO = record(b"abc") + record(b"defg")  # 19 and 20 bytes
RECORDS: dict[str, tuple[bytes, list[bytes] | int]] = {
    "two": (TWO, [b"abc", b"defg"]),
    "an empty one": (record(b""), [b""]),
    "a rest shorter than a head": (TWO[:25], [b"abc"]),
    "no TFRecord": (b"x" * 100, 0),
    "cut in the first": (TWO[:17], 0),
    "cut in the second": (TWO[:-1], 19),
    "data changed": (TWO[:14] + b"!" + TWO[15:], 0),
    "length changed": (TWO[:19] + b"!" + TWO[20:], 19),
}


@pytest.mark.parametrize(("content", "read"), RECORDS.values(), ids=RECORDS.keys())
def test_a_tfrecord_file_holds_these_records_or_is_data_loss_at_an_offset(tmp_path: Path, content: bytes, read: list[bytes] | int) -> None:
    (tmp_path / "r").write_bytes(content)
    if isinstance(read, list):
        assert list(records(tmp_path / "r")) == read
        return
    with pytest.raises(StatusError) as lost:
        list(records(tmp_path / "r"))
    message = f"corrupted record at {read} of {tmp_path}/r. Please verify your warmup data is in TFRecord format."
    assert str(lost.value) == f"DATA_LOSS: {message}"


def write_warm_up(folder: Path, *contents: bytes) -> None:
    path = folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(map(record, contents)))


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


@pytest.mark.parametrize(("contents", "message"), BAD_WARM_UP.values(), ids=BAD_WARM_UP.keys())
def test_a_warm_up_that_fails_fails_the_load_unless_it_is_off(folder: Path, contents: list[bytes], message: str) -> None:
    write_warm_up(folder, *contents)
    with pytest.raises(StatusError) as refused:
        load(str(folder))
    assert str(refused.value) == message.format(path=folder / WARMUP_FILE)
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
