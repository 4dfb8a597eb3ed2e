"""`python -m trainer` as a user runs it: real processes, the real MNIST files, the tiny recipe."""

import gzip
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from pynumdraw import ink
from pynumdraw.signature import SIGNATURE_VERSION, SIGNATURES
from pynumdraw.store import ModelStore
from pynumdraw.store.graph import GRAPH, OPERATIONS, WARMUP
from pynumdraw.store.saved_model_pb2 import SavedModel
from pynumdraw.wire import from_tensor, serving_pb2
from tests.stack import wait_until
from trainer import non_digits, strokes
from trainer.calibrate import Calibration
from trainer.config import TINY
from trainer.export import WARMUP_BATCHES, export, open_session
from trainer.model import Network, Weights

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data"
HAND_MADE = ROOT / "tests" / "golden" / "hand-made.jsonl"
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "trainer", *map(str, args)]


def run(*args: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command(*args), cwd=ROOT, capture_output=True, text=True, timeout=170, check=False, **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A store with versions 1 and 2, made by two trainers that ran at once with the same seed."""
    root = tmp_path_factory.mktemp("store")
    fit = command("fit", "--data", DATA, "--store", root, "--recipe", "tiny", "--seed", 3)
    both = [subprocess.Popen(fit, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [trainer.communicate(timeout=170) for trainer in both]
    assert [trainer.returncode for trainer in both] == [0, 0], outputs
    assert sorted(out.strip() for out, _ in outputs) == [f"{root}/digits/{k}" for k in (1, 2)]
    return root


@pytest.fixture(scope="module")
def store(root) -> ModelStore:
    return ModelStore(root, "digits")


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(11)
    labels = np.arange(200) % 10
    return np.stack([strokes.to_frame(strokes.draw_digit(digit, rng)) for digit in labels]), labels


def test_two_trainers_at_once_publish_two_valid_versions(store):
    assert store.versions() == [1, 2]
    for version in (1, 2):
        store.verify(version)


def test_the_same_seed_gives_the_same_model(store, drawn):
    one, other = (open_session(store.path(version))[0](drawn[0]) for version in (1, 2))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_the_manifest_says_how_the_version_was_made(store):
    manifest = store.manifest(1)
    assert manifest["recipe"] == "tiny"
    assert manifest["settings"] == json.loads(json.dumps(asdict(TINY)))
    assert manifest["seed"] == 3
    assert manifest["ink_version"] == ink.INK_VERSION
    assert manifest["tensorflow"].startswith("2.20.")
    assert set(manifest["data"]) == set(NAMES)
    assert len(manifest["metrics"]["errors_by_digit"]) == 10
    assert {"report/report.txt", "report/confusion.png", "report/reliability.png", "saved_model.pb"} <= set(manifest["files"])


def test_the_graph_has_each_operation_that_the_store_takes_no_other_and_nothing_else_to_load(store):
    model = SavedModel.FromString((store.path(1) / "saved_model.pb").read_bytes())
    (graph,) = model.meta_graphs
    assert {node.op for node in graph.graph_def.node} == OPERATIONS
    assert not graph.graph_def.library.function
    assert set(graph.signature_def) == set(SIGNATURES)
    assert {file for file in store.manifest(1)["files"] if not file.startswith("report/")} == {GRAPH, WARMUP}


def test_both_signatures_answer_in_a_session(store, drawn):
    run_session, card = open_session(store.path(2))
    answer = run_session(drawn[0])
    assert {name: (array.dtype.name, array.shape) for name, array in answer.items()} == {
        "probabilities": ("float32", (200, 10)),
        "is_digit_probability": ("float32", (200,)),
        "confidence": ("float32", (200,)),
        "digit": ("int64", (200,)),
        "runner_up": ("int64", (200,)),
        "accepted": ("bool", (200,)),
        "ambiguous": ("bool", (200,)),
        "ink_version": ("int64", (200,)),
    }
    assert {name: len(array) for name, array in run_session(np.zeros((0, 28, 28), np.uint8)).items()} == dict.fromkeys(answer, 0)
    np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(answer["accepted"], answer["is_digit_probability"] >= np.float32(card["threshold"]))
    order = np.argsort(-answer["probabilities"], axis=1, kind="stable")
    np.testing.assert_array_equal(answer["digit"], order[:, 0])
    np.testing.assert_array_equal(answer["runner_up"], order[:, 1])
    likeliest = answer["probabilities"].max(axis=1)
    np.testing.assert_allclose(answer["confidence"], answer["is_digit_probability"] * likeliest, rtol=1e-6)
    pair = np.sort(answer["probabilities"], axis=1)[:, -2:].sum(axis=1)
    rule = card["ambiguous"]
    ambiguous = answer["accepted"] & (likeliest <= np.float32(rule["max_probability"])) & (pair >= np.float32(rule["min_pair"]))
    np.testing.assert_array_equal(answer["ambiguous"], ambiguous)
    assert (answer["ink_version"] == ink.INK_VERSION).all()
    assert (card["model"], card["version"], card["ink_version"]) == ("digits", 2, ink.INK_VERSION)
    assert (card["signature_version"], card["prior"]) == (SIGNATURE_VERSION, 0.8)
    assert [mix["non_digit_share"] for mix in card["mixes"]] == [0.05, 0.2, 0.5]
    assert sum(card["confidence_histogram"]["counts"]) == card["metrics"]["n"] == 10_000
    assert len(card["confidence_histogram"]["edges"]) == len(card["confidence_histogram"]["counts"]) + 1
    answered = sum(row["count"] for row in card["reliability"])
    assert 9_000 < answered <= 10_000 + card["mixes"][0]["non_digits"], "the digits and the non-digits that were answered"


def test_one_image_alone_gets_the_answer_it_gets_among_others(store, drawn):
    run_session, _ = open_session(store.path(1))
    together = run_session(drawn[0][:64])["probabilities"]
    alone = np.concatenate([run_session(drawn[0][k : k + 1])["probabilities"] for k in range(64)])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_even_the_tiny_recipe_reads_mnist_and_what_is_drawn_and_tells_letters_from_digits(store, drawn):
    run_session, card = open_session(store.path(1))
    assert card["metrics"]["accuracy"] > 0.93
    digits = run_session(drawn[0])
    letters = run_session(strokes.draw_many(non_digits.letter, 200, (12,)))
    assert (digits["probabilities"].argmax(axis=1) == drawn[1]).mean() > 0.75
    assert digits["is_digit_probability"].mean() > letters["is_digit_probability"].mean() + 0.3


def test_warm_up_records_are_requests_of_every_batch_size_and_one_for_the_card(store):
    content = (store.path(1) / "assets.extra" / "tf_serving_warmup_requests").read_bytes()
    requests, at = [], 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        requests.append(serving_pb2.PredictionLog.FromString(content[at + 12 : at + 12 + length]).predict_log.request)
        at += 16 + length
    assert [request.model_spec.signature_name for request in requests] == ["serving_default"] * len(WARMUP_BATCHES) + ["card"]
    frames = [from_tensor(request.inputs["images"]) for request in requests[:-1]]
    assert [frame.shape for frame in frames] == [(size, 28, 28) for size in WARMUP_BATCHES]
    assert all(frame.max() == 255 for frame in frames)
    assert not requests[-1].inputs


def test_fit_if_empty_changes_nothing_where_a_version_exists(root, store):
    done = run("fit", "--data", "nowhere", "--store", root, "--if-empty")
    assert done.returncode == 0
    assert done.stdout.strip() == f"{root}/digits holds version 2 already; nothing to do"
    assert store.versions() == [1, 2]


def head(name: str, count: int, tail: bytes = b"") -> bytes:
    """The first `count` images or labels of an MNIST file as a file of its own."""
    content = (DATA / name).read_bytes()
    dims = content[3]
    start, each = 4 + 4 * dims, 784 if dims == 3 else 1
    return content[:4] + struct.pack(">I", count) + content[8:start] + content[start : start + count * each] + tail


def labels(values: np.ndarray) -> bytes:
    return struct.pack(">HBBI", 0, 8, 1, len(values)) + values.astype(np.uint8).tobytes()


def small_data(folder: Path, **replaced: bytes | None) -> Path:
    """The four files with 3,000 training and 300 test images, some replaced (train_labels=…) or left out (None)."""
    for name in NAMES:
        key = "_".join(name.split("-")[:2])
        content = replaced.get(key, head(name, 3000 if key.startswith("train") else 300))
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"t10k_labels": None}, "t10k-labels-idx1-ubyte: no such file"),
        (
            {"train_images": head(NAMES[0], 3000)[:-1]},
            "train-images-idx3-ubyte: wanted 2352000 bytes of values for 3000x28x28, found 2351999",
        ),
        ({"train_labels": head(NAMES[1], 2999)}, "wanted 3000 labels, one for each image, found 2999"),
        ({"train_labels": labels(np.arange(3000) % 9)}, "wanted all ten digits, found none of 9"),
        ({"t10k_images": head(NAMES[0], 299)}, "wanted 299 labels, one for each image, found 300"),
        (
            {"train_images": struct.pack(">HBB3I", 0, 8, 3, 3000, 28, 28) + bytes(3000 * 784)},
            "wanted ink on paper, found 3000 constant images",
        ),
        ({"train_images": gzip.compress(head(NAMES[0], 3000))[:-9]}, "train-images-idx3-ubyte: wanted a complete gzip file"),
        ({"train_labels": labels(np.random.default_rng(0).integers(0, 10, 3000))}, "do the labels belong to the images?"),
    ],
    ids=[
        "file missing",
        "file cut",
        "a label too few",
        "a class missing",
        "test images too few",
        "constant images",
        "gzip cut",
        "labels shuffled",
    ],
)
def test_bad_data_is_one_sentence_exit_code_2_and_no_version(tmp_path, replaced, message):
    (tmp_path / "data").mkdir()
    data = small_data(tmp_path / "data", **replaced)
    done = run("fit", "--data", data, "--store", tmp_path / "store", "--recipe", "tiny")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert ModelStore(tmp_path / "store", "digits").versions() == []


def test_a_signing_key_that_cannot_be_used_is_refused_before_anything_is_read_or_trained(tmp_path):
    done = run("fit", "--data", tmp_path / "none", "--store", tmp_path / "store", "--signing-key", tmp_path / "key.pem")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"cannot use the signing key {tmp_path}/key.pem: No such file or directory ({tmp_path}/key.pem)\n"
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "store").write_text("a file")
    done = run("fit", "--data", DATA, "--store", tmp_path / "store", "--recipe", "tiny")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and str(tmp_path / "store") in done.stderr


def test_a_disk_that_is_full_when_the_model_is_written_leaves_no_version_and_nothing_half_written(tmp_path):
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    store = ModelStore(tmp_path / "store", "digits")
    done = run("fit", "--data", DATA, "--store", store.root, "--recipe", "tiny", preexec_fn=little_room)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert str(store.root) in done.stderr.splitlines()[-1]
    assert store.versions() == []
    assert not [name for name in os.listdir(store.folder) if name.startswith(".staging")]


@pytest.mark.parametrize("phase", ["drawing", "training"])
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_trainer_ends_cleanly_with_its_children_and_leaves_no_version(tmp_path, phase, sent, code):
    log = tmp_path / "log"
    with log.open("w") as file:
        fit = command("fit", "--data", DATA, "--store", tmp_path / "store", "--recipe", "quick" if phase == "drawing" else "tiny")
        trainer = subprocess.Popen(fit, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)
    try:
        wait_until(phase, lambda: phase in log.read_text() or trainer.poll() is not None, 120)
        os.killpg(trainer.pid, sent) if sent == signal.SIGINT else trainer.send_signal(sent)  # a terminal sends Ctrl-C to all of them
        assert trainer.wait(30) == code, log.read_text()
    finally:
        trainer.kill()
    assert log.read_text().splitlines()[-1] == "stopped; nothing was published"
    assert "Traceback" not in log.read_text()
    assert ModelStore(tmp_path / "store", "digits").versions() == []
    wait_until("no child is left", lambda: not _alive(trainer.pid), 20)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_gate_says_yes_to_an_equal_candidate_and_no_with_reasons_to_a_worse_one(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "store")
    store = ModelStore(copy, "digits")
    same = run("gate", "--store", copy, "--data", DATA, "--candidate", 2, "--baseline", 1)
    assert same.returncode == 0, same.stdout + same.stderr
    assert same.stdout.splitlines()[-1] == "yes: version 2 may replace version 1"
    frames = strokes.draw_many(non_digits.letter, 8, (1,))
    with store.next_version() as draft:
        boastful = Calibration(0.8, temperature=0.001, digit_scale=1.0, energy_scale=0.0, digit_shift=5.0, threshold=0.5)
        export(_untrained(), boastful, {"model": "digits", "version": draft.number}, draft.folder, frames)
        draft.publish({"ink_version": ink.INK_VERSION, "signature_version": SIGNATURE_VERSION, "calibration": {"prior": 0.8}})
    worse = run("gate", "--store", copy, "--data", DATA, "--candidate", 3, "--baseline", 1)
    assert worse.returncode == 1
    assert worse.stdout.splitlines()[-1] == "no: version 3 may not replace version 1"
    for reason in (
        "FAIL  errors: ",
        "FAIL  each digit: ",
        "FAIL  golden drawings: ",
        "pass  ink: ",
        "FAIL  confidence with 20% non-digits, NLL: ",
    ):
        assert reason in worse.stdout


def _untrained() -> Weights:
    network = Network(TINY, seed=0)
    channels = [layer[0] for layer in TINY.layers]
    return network.fold([np.zeros(n, np.float32) for n in channels], [np.ones(n, np.float32) for n in channels])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--candidate", 1, "--baseline", 1), "another version than the baseline"),
        (("--candidate", 9, "--baseline", 1), "version 9 is not in"),
        (("--candidate", 2, "--baseline", 1, "--golden", "nowhere"), "nowhere: wanted golden drawings"),
    ],
    ids=["the same twice", "no such version", "no golden drawings"],
)
def test_a_gate_that_cannot_compare_refuses(root, arguments, message):
    done = run("gate", "--store", root, "--data", DATA, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def drawings_file(path: Path) -> Path:
    rng = np.random.default_rng(21)
    rows = []
    for k in range(60):
        kind = ("digit", "letter", "omniglot")[k % 3]
        drawing = strokes.draw_digit(k % 10, rng) if kind == "digit" else non_digits.letter(rng)
        low = np.concatenate(drawing).min(axis=0)
        rows.append({"label": str(k % 10), "kind": kind, "writer": "w", "ambiguous": False, "width": 400, "height": 400})
        rows[-1]["strokes"] = [(stroke - low).round(1).tolist() for stroke in drawing]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_evaluate_prints_every_metric_and_writes_the_card_with_its_pictures(root, tmp_path):
    drawings = drawings_file(tmp_path / "drawings.jsonl")
    card = tmp_path / "docs" / "model-card.md"
    done = run("evaluate", "--store", root, "--data", DATA, "--version", 1, 2, "--drawings", drawings, HAND_MADE, "--card", card)
    assert done.returncode == 0, done.stderr
    rows = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    for name in (
        "MNIST accuracy",
        "MNIST ECE",
        "pen digits: accuracy",
        "letters: AUROC",
        "Omniglot: let through",
        "noise rejected",
        "MNIST: confidence, 20% non-digits: ECE",
    ):
        assert name in rows
    assert "not measured" not in rows["pen digits: accuracy"]
    assert "n 20, 1 writers" in rows["pen digits: accuracy"], "the drawings made by hand are measured apart"
    assert "n 200, made by hand" in rows["hand-made: right or refused"]
    assert "n 44, of few points" in rows["hand-made digits: right"]
    assert "n 156: signs" in rows["hand-made non-digits: rejected"]
    assert "±" in rows["MNIST accuracy"]
    page = card.read_text()
    assert "2 model(s) of recipe `tiny`, seed 3, 3" in page
    for name in ("reliability.png", "confidence.png", "risk-coverage.png", "confusion.png", "errors.png"):
        assert f"model-card/{name}" in page
        assert (card.parent / "model-card" / name).read_bytes().startswith(b"\x89PNG")


def test_evaluate_without_drawings_says_not_measured(root):
    done = run("evaluate", "--store", root, "--data", DATA)
    assert done.returncode == 0, done.stderr
    pens = [line for line in done.stdout.splitlines() if line.startswith(("pen digits", "letters:", "Omniglot", "hand-made"))]
    assert len(pens) == 17
    assert all("not measured" in line for line in pens)
