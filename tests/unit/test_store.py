"""The model store: a version is valid or absent, its number is used once, and every user can read it."""

import errno
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pynumdraw.store import ModelStore, StoreError
from pynumdraw.store.__main__ import main
from tests.saved_model import saved_model

FILES = {"saved_model.pb": saved_model(), "report/report.txt": b"report", "assets.extra/tf_serving_warmup_requests": b"warm-up" * 999}
SIZE = len(FILES["saved_model.pb"])
REPOSITORY = Path(__file__).parents[2]


def fill(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def publish(store: ModelStore, change: Callable[[Path], object] = lambda folder: None, **fields: object) -> int:
    with store.next_version() as draft:
        fill(draft.folder)
        change(draft.folder)
        draft.publish(fields)
    return draft.number


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, reports: list[str]) -> ModelStore:
    return ModelStore(tmp_path / "store", "digits", reports.append)


PRELUDE = f"""
import os, sys, signal, time
from pathlib import Path
from pynumdraw import store as package
from pynumdraw.store import ModelStore, StoreError
root = Path(sys.argv[1])
store = ModelStore(root, "digits")
def publish():
    with store.next_version() as draft:
        for name, content in {FILES!r}.items():
            (draft.folder / name).parent.mkdir(exist_ok=True)
            (draft.folder / name).write_bytes(content)
        draft.publish({{}})
    return draft.number
"""


def child(program: str, *arguments: object, stdin: int | None = None) -> subprocess.Popen:
    """A Python process that runs the program with `publish()` and `store` at hand."""
    command = [sys.executable, "-c", PRELUDE + program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def as_nobody(program: str, root: Path) -> str:
    """What the program prints when user 65534 runs it."""
    process = child("os.setgroups([]); os.setgid(65534); os.setuid(65534)\n" + program, root)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    return out.strip()


@pytest.fixture
def foreign(store, tmp_path_factory):
    """A store with one version as another user meets it: to be read, not to be written."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    before = os.umask(0o077)
    try:
        publish(store)
    finally:
        os.umask(before)
    base = tmp_path_factory.getbasetemp()
    pytests = base.parents[1] if "PYTEST_XDIST_WORKER" in os.environ else base.parent  # each worker has a folder of its own in it
    for folder in store.root.parents:
        if folder.is_relative_to(pytests):  # pytest keeps its own folders to their owner
            folder.chmod(0o755)
        elif not folder.stat().st_mode & 0o001:
            pytest.skip(f"{folder} is closed to other users")
    return store


# Publishing


def test_a_published_version_is_valid_and_its_manifest_has_the_publishers_fields(store):
    assert store.versions() == []
    assert publish(store, recipe="quick", metrics={"accuracy": 0.9931}) == 1
    assert store.versions() == [1]
    store.verify(1)
    manifest = store.manifest(1)
    assert (manifest["model"], manifest["version"], manifest["recipe"]) == ("digits", 1, "quick")
    assert manifest["metrics"] == {"accuracy": 0.9931}
    assert manifest["files"] == {n: {"size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in FILES.items()}
    assert json.loads((store.path(1) / "manifest.json").read_bytes()) == manifest


def test_a_draft_has_no_integer_name_and_lies_on_the_same_volume(store):
    with store.next_version() as draft:
        assert draft.folder.parent == store.folder
        assert not draft.folder.name.isdigit()
        assert draft.folder.stat().st_dev == store.folder.stat().st_dev
        assert store.versions() == []


@pytest.mark.parametrize("error", [RuntimeError("loss is NaN"), KeyboardInterrupt(), SystemExit(143)], ids=lambda e: type(e).__name__)
def test_a_failed_run_leaves_nothing_and_uses_no_number(store, error):
    def fail(folder):
        raise error

    with pytest.raises(type(error)):
        publish(store, fail)
    assert sorted(os.listdir(store.folder)) == [".lock"]
    assert publish(store) == 1


def test_a_draft_that_is_not_published_is_removed(store):
    with store.next_version() as draft:
        fill(draft.folder)
    assert not draft.folder.exists()
    assert store.versions() == []


def test_a_draft_publishes_once(store):
    with store.next_version() as draft:
        fill(draft.folder)
        draft.publish({})
        with pytest.raises(StoreError, match="version 1 was published already"):
            draft.publish({})
    store.verify(1)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o027], ids=oct)
def test_modes_are_the_same_under_every_umask(store, mask):
    before = os.umask(mask)
    try:
        publish(store)
        store.copy_version(1, store.root.parent / "pod")
    finally:
        os.umask(before)
    for root in (store.root, store.root.parent / "pod"):
        for path in [root, *root.rglob("*")]:
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o755 if path.is_dir() else 0o644), path


def test_another_user_can_read_and_verify_a_version_published_under_a_narrow_umask(foreign):
    assert as_nobody("store.verify(1); print(os.getuid(), store.versions())", foreign.root) == "65534 [1]"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"version": 9}, "'version' is written by the store"),
        ({"files": {}}, "'files' is written by the store"),
        ({"metrics": {"ece": float("nan")}}, "cannot be written as JSON"),
        ({"data": Path("train")}, "cannot be written as JSON"),
        ({"notes": "x" * (1 << 20)}, "more than the 1048576 bytes"),
    ],
    ids=["own field", "files", "nan", "no JSON", "too long"],
)
def test_impossible_manifest_fields_are_refused_and_no_version_is_written(store, fields, reason):
    with pytest.raises(StoreError, match=reason):
        publish(store, **fields)
    assert os.listdir(store.folder) == [".lock"]


def _link(folder: Path) -> None:
    (folder / "report/more").symlink_to("/etc/hostname")


def _folder_link(folder: Path) -> None:
    (folder / "assets").symlink_to("/etc", target_is_directory=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "saved_model.pb").unlink(), "holds no saved_model.pb"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "manifest.json, which only the store may write"),
        (_link, "report/more is a link or a device"),
        (_folder_link, "assets is a link or a device"),
        (lambda folder: os.mkfifo(folder / "pipe"), "pipe is a link or a device"),
        (lambda folder: (folder / os.fsdecode(b"\xff")).touch(), r"holds '\\udcff', a name of printable UTF-8 was wanted"),
    ],
    ids=["no graph", "own manifest", "link", "link to a folder", "pipe", "no UTF-8"],
)
def test_a_folder_that_is_not_a_saved_model_is_not_published(store, change, reason):
    with pytest.raises(StoreError, match=reason):
        publish(store, change)
    assert store.versions() == []
    assert os.listdir(store.folder) == [".lock"]


def test_publishing_never_overwrites_a_version_that_appeared_meanwhile(store):
    def appear(folder):
        store.path(1).mkdir()
        (store.path(1) / "saved_model.pb").write_bytes(b"somebody else's")

    with pytest.raises(StoreError, match=r"cannot publish version 1 in .*not empty"):
        publish(store, appear)
    assert (store.path(1) / "saved_model.pb").read_bytes() == b"somebody else's"
    assert sorted(os.listdir(store.folder)) == [".lock", "1"]


def test_a_folder_beyond_int64_is_no_version(store):
    store.folder.mkdir(parents=True)
    for name in ("9223372036854775808", "9" * 200):
        (store.folder / name).mkdir()
    assert store.versions() == []
    assert store.foreign() == {}
    assert publish(store) == 1


def test_where_the_highest_number_is_there_no_number_is_left(store):
    (store.folder / str(2**63 - 1)).mkdir(parents=True)
    with pytest.raises(StoreError, match=r"no number is left in .*: 9223372036854775807 is there"):
        publish(store)


def test_list_says_what_only_tensorflow_serving_would_take_for_a_version(store, common, capsys):
    """The names are those that its absl::SimpleAtoi reads; the kind of the entry is not looked at."""
    publish(store)
    for name in ("002", "+3", " 4", "-5", "six", "7.partial", ".8"):
        (store.folder / name).mkdir()
    (store.folder / "9").write_text("a file")
    (store.folder / "10").symlink_to("1", target_is_directory=True)
    assert store.versions() == [1]
    assert store.foreign() == {"002": 2, "+3": 3, " 4": 4, "-5": -5, "9": 9, "10": 10}
    assert run("list", *common) == 0
    assert "'002' is no version of the store, but TensorFlow Serving would serve it as version 2" in capsys.readouterr().out
    assert run("list", *common, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["version"], row["state"]) for row in rows] == [(1, "valid"), *[(None, "foreign")] * 6]
    assert publish(store) == 11


@pytest.mark.parametrize("name", ["7", "007"])
def test_the_next_number_is_above_every_name_that_looks_like_a_number(store, name):
    store.folder.mkdir(parents=True)
    (store.folder / name).mkdir()
    (store.folder / "12.partial").mkdir()
    (store.folder / "9").write_text("a file")
    (store.folder / "8").symlink_to("/tmp")
    assert store.versions() == ([7] if name == "7" else [])
    assert publish(store) == 10


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", ".hidden", "-x", "a b", "a\n"], ids=repr)
def test_a_model_name_that_would_leave_the_root_is_refused(tmp_path, name):
    with pytest.raises(StoreError, match="model name"):
        ModelStore(tmp_path, name)


def test_a_damaged_high_water_mark_is_refused(store):
    publish(store)
    (store.folder / ".highest").write_text("many")
    with pytest.raises(StoreError, match=r"\.highest holds 'many', the highest version number ever published was wanted"):
        publish(store)


# Two writers at once, and killed writers


def test_two_publishers_at_once_get_consecutive_numbers_and_the_second_reports_that_it_waits(store):
    slow = child(
        "with store.next_version() as d:\n    print(d.number, flush=True)\n    sys.stdin.read()\n", store.root, stdin=subprocess.PIPE
    )
    assert slow.stdout.readline() == "1\n"
    second = child("print(publish())", store.root)
    line = second.stderr.readline()
    assert line.startswith(f"waiting for process {slow.pid} on ")
    assert line.endswith(f", which writes to {store.folder}\n")
    slow.communicate("", timeout=20)  # ends without publishing
    assert second.communicate(timeout=20)[0] == "1\n"
    both = [child("print(publish())", store.root) for _ in range(4)]
    assert sorted(int(each.communicate(timeout=20)[0]) for each in both) == [2, 3, 4, 5]
    assert store.versions() == [1, 2, 3, 4, 5]
    for number in store.versions():
        store.verify(number)


def test_a_killed_publisher_frees_the_lock_for_the_one_that_waits(store):
    slow = child("with store.next_version() as d:\n    print(d.number, flush=True)\n    time.sleep(600)\n", store.root)
    assert slow.stdout.readline() == "1\n"
    second = child("print(publish())", store.root)
    assert second.stderr.readline().startswith("waiting for process")
    slow.kill()
    slow.communicate()
    assert second.communicate(timeout=20)[0] == "1\n"


KILLED = """
at, line = int(sys.argv[3]), 0
def count(frame, event, _):
    global line
    if not frame.f_code.co_filename.startswith(os.path.dirname(package.__file__)):
        return None
    if event == "line":
        line += 1
        if line == at:
            os.kill(os.getpid(), signal.SIGKILL)
    return count
def run(action):
    sys.settrace(count)
    action()
    sys.settrace(None)
    print(line)
run({"publish": publish, "prune": lambda: store.prune(1), "copy": lambda: store.copy_version(2, root.parent / "pod")}[sys.argv[2]])
"""


def killed_at(store: ModelStore, action: str, line: int) -> int:
    """Run it in a child that kills itself (-9) before that line of the store's code; returns the lines it ran where it was not killed."""
    process = child(KILLED, store.root, action, line)
    out, err = process.communicate(timeout=60)
    if line == 0:
        assert process.returncode == 0, err
        return int(out)
    assert process.returncode == -signal.SIGKILL, (out, err)
    return 0


def test_a_publisher_killed_at_any_moment_leaves_valid_versions_and_the_next_number(store):
    lines = killed_at(store, "publish", 0)
    assert store.versions() == [1]
    published = 1
    moments = 40
    for moment in range(moments):
        killed_at(store, "publish", 1 + moment * (lines - 1) // moments)
        held = store.versions()
        assert held in (list(range(1, published + 1)), list(range(1, published + 2))), moment
        for number in held:
            store.verify(number)
        published = publish(store)
        assert published == len(held) + 1, moment
        assert sorted(os.listdir(store.folder)) == sorted([".highest", ".lock", *map(str, range(1, published + 1))]), moment


def test_a_prune_killed_at_any_moment_leaves_valid_versions_and_no_number_is_used_again(store):
    for _ in range(3):
        publish(store)
    (store.folder / ".highest").unlink()  # as if the last publisher had been killed before it recorded its number
    lines = killed_at(store, "prune", 0)
    assert store.versions() == [3]
    moments = 16
    highest = 3
    for moment in range(moments):
        highest = publish(store)
        publisher_and_prune = store.versions()
        killed_at(store, "prune", 1 + moment * (lines - 1) // moments)
        assert set(store.versions()) <= set(publisher_and_prune)
        assert store.versions()[-1] == highest
        for number in store.versions():
            store.verify(number)
    store.prune(1)
    assert sorted(os.listdir(store.folder)) == [".highest", ".lock", str(highest)]


def test_a_copy_killed_at_any_moment_leaves_nothing_or_a_valid_copy(store):
    publish(store)
    publish(store)
    pod = ModelStore(store.root.parent / "pod", "digits")
    lines = killed_at(store, "copy", 0)
    moments = 20
    for moment in range(moments):
        remove(pod, 2)
        killed_at(store, "copy", 1 + moment * (lines - 1) // moments)
        assert pod.versions() in ([], [2])
        for number in pod.versions():
            pod.verify(number)
        store.copy_version(2, pod.root)
        pod.verify(2)
        assert sorted(os.listdir(pod.folder)) == [".lock", "2"]


def remove(store: ModelStore, number: int) -> None:
    for path in sorted(store.path(number).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    store.path(number).rmdir()


# Verifying


def rewrite(store: ModelStore, change) -> None:
    path = store.path(1) / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def renamed(old: str, new: str):
    return lambda store: rewrite(store, lambda m: m["files"].update({new: m["files"].pop(old)}))


CORRUPT = {
    "missing file": (lambda s: (s.path(1) / "report/report.txt").unlink(), "report/report.txt is missing"),
    "short file": (lambda s: os.truncate(s.path(1) / "saved_model.pb", 3), f"saved_model.pb has 3 bytes, {SIZE} were wanted"),
    "flipped byte": (
        lambda s: (s.path(1) / "saved_model.pb").write_bytes(bytes(SIZE)),
        "saved_model.pb has SHA-256 [0-9a-f]{64}, [0-9a-f]{64} was",
    ),
    "extra file": (lambda s: (s.path(1) / "report/more").write_bytes(b""), "report/more is not in its manifest.json"),
    "no manifest": (lambda s: (s.path(1) / "manifest.json").unlink(), "has no manifest.json"),
    "manifest cut short": (lambda s: os.truncate(s.path(1) / "manifest.json", 40), "is not JSON"),
    "manifest no UTF-8": (lambda s: (s.path(1) / "manifest.json").write_bytes(b"\xff\x00\xfe"), "is not JSON"),
    "manifest a list": (lambda s: (s.path(1) / "manifest.json").write_text("[]"), "has no 'files'"),
    "files a list": (lambda s: rewrite(s, lambda m: m.update(files=[])), "has no 'files'"),
    "file without sum": (
        lambda s: rewrite(s, lambda m: m["files"]["saved_model.pb"].pop("sha256")),
        "no size and sha256 for saved_model.pb",
    ),
    "file a string": (lambda s: rewrite(s, lambda m: m["files"].update({"saved_model.pb": "x"})), "no size and sha256 for saved_model.pb"),
    "other version": (lambda s: rewrite(s, lambda m: m.update(version=2)), "says version 2, 1 was wanted"),
    "other model": (lambda s: rewrite(s, lambda m: m.update(model="letters")), "says model 'letters', 'digits' was wanted"),
    "path above": (renamed("saved_model.pb", "../saved_model.pb"), "names '../saved_model.pb', a plain path"),
    "path above, inside": (renamed("saved_model.pb", "report/../saved_model.pb"), "a plain path"),
    "absolute path": (renamed("saved_model.pb", "/etc/passwd"), "names '/etc/passwd', a plain path"),
    "empty path": (renamed("saved_model.pb", ""), "a plain path"),
    "path with a dot": (renamed("saved_model.pb", "./saved_model.pb"), "a plain path"),
    "manifest a FIFO": (lambda s: [(s.path(1) / "manifest.json").unlink(), os.mkfifo(s.path(1) / "manifest.json")], "a FIFO or a device"),
    "manifest huge": (lambda s: os.truncate(s.path(1) / "manifest.json", 1 << 40), "more than the 1048576 bytes"),
    "manifest deep": (lambda s: (s.path(1) / "manifest.json").write_text("[" * 999_999), r"is not JSON \(nested too deeply\)"),
    "manifest with NaN": (lambda s: rewrite(s, lambda m: m.update(seconds=float("nan"))), "NaN is no JSON number"),
    "manifest with a number of 5,000 digits": (lambda s: (s.path(1) / "manifest.json").write_text("9" * 5000), "is not JSON"),
    "version true": (lambda s: rewrite(s, lambda m: m.update(version=True)), "says version True, 1 was wanted"),
    "version a float": (lambda s: rewrite(s, lambda m: m.update(version=1.0)), r"says version 1\.0, 1 was wanted"),
    "model a long text": (lambda s: rewrite(s, lambda m: m.update(model="x" * 5000)), "says model 'x{79}…, 'digits' was wanted"),
    "created a list": (lambda s: rewrite(s, lambda m: m.update(created=[1])), r"says created \[1\], a date was wanted"),
    "size true": (lambda s: rewrite(s, lambda m: m["files"]["saved_model.pb"].update(size=True)), "no size and sha256"),
    "size below 0": (lambda s: rewrite(s, lambda m: m["files"]["saved_model.pb"].update(size=-1)), "no size and sha256"),
    "sum a list": (lambda s: rewrite(s, lambda m: m["files"]["saved_model.pb"].update(sha256=[])), "no size and sha256"),
    "too big": (lambda s: rewrite(s, lambda m: m["files"]["saved_model.pb"].update(size=1 << 60)), "bytes, at most 1073741824 were wanted"),
    "file a FIFO": (lambda s: [(s.path(1) / "saved_model.pb").unlink(), os.mkfifo(s.path(1) / "saved_model.pb")], "is a link or a device"),
    "escape in a name": (lambda s: (s.path(1) / "\x1b[2J").write_bytes(b""), r": \\x1b\[2J is not in its manifest.json"),
    "surrogate in a name": (lambda s: (s.path(1) / os.fsdecode(b"\xff")).write_bytes(b""), r": \\udcff is not in its manifest.json"),
    "escape in a name of the manifest": (renamed("saved_model.pb", "\x1b[2J"), r"names '\\x1b\[2J', a plain path"),
    "surrogate in a name of the manifest": (renamed("saved_model.pb", "\ud800"), r"names '\\ud800', a plain path"),
    "many files": (lambda s: [(s.path(1) / str(n)).touch() for n in range(1001)], "holds more than 1000 files and folders"),
    "link": (lambda s: (s.path(1) / "assets").symlink_to("report"), "assets is a link or a device"),
    "file made a link": (
        lambda s: [(s.path(1) / "saved_model.pb").rename(s.root / "g"), (s.path(1) / "saved_model.pb").symlink_to(s.root / "g")],
        "saved_model.pb is a link or a device",
    ),
    "manifest made a link": (
        lambda s: [(s.path(1) / "manifest.json").rename(s.root / "m"), (s.path(1) / "manifest.json").symlink_to(s.root / "m")],
        "cannot read the manifest",
    ),
    "empty folder": (lambda s: remove(s, 1) or s.path(1).mkdir(), "has no manifest.json"),
}
corrupted = pytest.mark.parametrize(("corrupt", "reason"), CORRUPT.values(), ids=CORRUPT.keys())


@corrupted
def test_a_corrupt_version_is_refused_with_what_was_found_and_wanted(store, corrupt, reason):
    publish(store)
    corrupt(store)
    with pytest.raises(StoreError, match=reason) as info:
        store.verify(1)
    assert store.corruption_reason(1) == str(info.value)


def test_what_people_read_of_a_corrupt_version_is_printable(store, common, tmp_path, capsys):
    """The termination log is written in UTF-8, which has no lone surrogates, and a terminal obeys escapes."""
    publish(store, recipe="\x1b[2J", metrics={"accuracy": True})
    publish(store, recipe=["quick"], metrics=[])
    publish(store)
    (store.path(3) / os.fsdecode(b"\xff\x1b[2J")).write_bytes(b"")
    log = tmp_path / "termination-log"
    assert run("list", *common) == 0
    assert run("list", *common, "--json") == 0
    assert run("verify", *common) == 2
    assert run("fetch", *common, "--version", 3, "--to", tmp_path / "pod", "--termination-log", log) == 2
    out, err = capsys.readouterr()
    for line in [*out.splitlines(), *err.splitlines(), *log.read_text().splitlines()]:
        assert line.isprintable(), line
    assert r"\udcff\x1b[2J is not in its manifest.json" in log.read_text()


def test_a_deep_folder_is_refused_and_as_a_leftover_it_stops_no_writer(store, reports):
    publish(store)
    deep = store.path(1)
    try:
        for _ in range(1200):
            deep = deep / "d"
            deep.mkdir()
        with pytest.raises(StoreError, match="holds more than 1000 files and folders"):
            store.verify(1)
        store.path(1).rename(store.folder / ".removed-1")
        assert publish(store) == 2
        assert reports == [] or "its folders are nested too deeply; it stays" in reports[0]  # Python 3.13 deletes it
    finally:
        subprocess.run(["rm", "-rf", store.folder], check=True)


def test_what_cannot_be_deleted_is_reported_and_stops_no_writer(store, reports, mount):
    for _ in range(3):
        publish(store)
    mount(store.folder / ".staging-busy")
    mount(store.path(1) / "busy")
    assert publish(store) == 4
    busy = f"cannot delete {store.folder}/.staging-busy, a leftover that is no version: Device or resource busy; it stays"
    assert reports == [busy]
    assert store.prune(1) == [1, 2, 3]
    assert len(reports) == 3
    assert re.fullmatch(r"cannot delete .*/\.removed-1-[0-9a-f]{32}, .*: Device or resource busy; it stays", reports[2])
    assert store.versions() == [4]
    assert publish(store) == 5


@pytest.mark.parametrize("name", [".lock", ".highest"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["FIFO", "folder"])
def test_a_file_of_the_store_that_is_none_is_one_sentence(store, name, make):
    publish(store)
    (store.folder / name).unlink()
    make(store.folder / name)
    with pytest.raises(StoreError, match=rf"{name}.*(a plain file was wanted|Is a directory)|Is a directory.*{name}"):
        publish(store)
    assert store.versions() == [1]


@pytest.mark.parametrize("action", ["verify", "copy", "list"])
def test_a_version_that_is_removed_while_it_is_read_is_gone_not_corrupt(store, common, tmp_path, capsys, action):
    """Removed before every seventh line of the store's code, by one rename, as prune does it."""
    publish(store)
    package = os.path.dirname(sys.modules["pynumdraw.store"].__file__)
    actions = {"verify": lambda: store.corruption_reason(1), "list": lambda: run("list", *common)}
    actions["copy"] = lambda: ModelStore(store.root, "digits").copy_version(1, tmp_path / str(line)) and None
    outcomes = set()
    for line in range(1, 500, 7):
        count = 0

        def remove_at_line(frame, event, _, line=line):
            nonlocal count
            if frame.f_code.co_filename.startswith(package):
                count += event == "line"
                if count == line and event == "line":
                    store.path(1).rename(store.folder / ".removed-1")
                return remove_at_line
            return None

        sys.settrace(remove_at_line)
        try:
            outcomes.add(actions[action]())
        except StoreError as exc:
            outcomes.add(re.sub(r"( after 0 s)?; it holds .*", "", str(exc)))
        finally:
            sys.settrace(None)
            with suppress(FileNotFoundError):
                (store.folder / ".removed-1").rename(store.path(1))
    gone, missing = f"version 1 was removed from {store.folder} while it was read", f"version 1 is not in {store.folder}"
    assert outcomes <= ({0} if action == "list" else {None, gone, missing})
    assert action == "list" or {gone, missing} <= outcomes
    assert "corrupt" not in capsys.readouterr().out


def test_a_missing_version_is_refused_with_the_versions_that_are_there(store):
    with pytest.raises(StoreError, match=r"version 3 is not in .*; it holds no version"):
        store.corruption_reason(3)
    publish(store)
    publish(store)
    with pytest.raises(StoreError, match=r"version 3 is not in .*; it holds 1, 2"):
        store.manifest(3)


def test_a_link_is_not_a_version(store):
    publish(store)
    store.path(2).symlink_to(store.path(1), target_is_directory=True)
    assert store.versions() == [1]
    with pytest.raises(StoreError, match="version 2 is not in"):
        store.verify(2)


# Copying


def test_a_copy_is_valid_and_alone_in_its_root(store, tmp_path):
    publish(store)
    publish(store, seed=7)
    publish(store)
    assert store.copy_version(2, tmp_path / "pod") == tmp_path / "pod/digits/2"
    pod = ModelStore(tmp_path / "pod", "digits")
    pod.verify(2)
    assert pod.versions() == [2]
    assert pod.manifest(2) == store.manifest(2)


def test_a_valid_copy_is_kept_whatever_becomes_of_the_store(store, tmp_path):
    publish(store)
    store.copy_version(1, tmp_path / "pod")
    inode = (tmp_path / "pod/digits/1").stat().st_ino
    store.root.rename(tmp_path / "gone")
    assert store.copy_version(1, tmp_path / "pod") == tmp_path / "pod/digits/1"
    assert (tmp_path / "pod/digits/1").stat().st_ino == inode


@corrupted
def test_a_corrupt_version_is_not_copied(store, tmp_path, corrupt, reason):
    publish(store)
    corrupt(store)
    with pytest.raises(StoreError, match=reason):
        store.copy_version(1, tmp_path / "pod")
    assert os.listdir(tmp_path / "pod/digits") == [".lock"]


def test_a_corrupt_copy_is_replaced_and_the_reason_reported(store, tmp_path, reports):
    publish(store)
    store.copy_version(1, tmp_path / "pod")
    (tmp_path / "pod/digits/1/saved_model.pb").write_bytes(b"")
    store.copy_version(1, tmp_path / "pod")
    ModelStore(tmp_path / "pod", "digits").verify(1)
    assert reports[-1].endswith(f"saved_model.pb has 0 bytes, {SIZE} were wanted; copying it again")
    assert sorted(os.listdir(tmp_path / "pod/digits")) == [".lock", "1"]


def test_a_corrupt_copy_stays_where_the_store_does_not_hold_the_version(store, tmp_path):
    publish(store)
    store.copy_version(1, tmp_path / "pod")
    (tmp_path / "pod/digits/1/saved_model.pb").write_bytes(b"")
    remove(store, 1)
    with pytest.raises(StoreError, match="version 1 is not in"):
        store.copy_version(1, tmp_path / "pod")
    assert (tmp_path / "pod/digits/1/report/report.txt").read_bytes() == b"report"


def test_copying_waits_for_a_version_that_is_being_made(store, tmp_path, reports):
    publisher = threading.Timer(0.7, publish, [store])
    publisher.start()
    store.copy_version(1, tmp_path / "pod", wait_s=20)
    publisher.join()
    ModelStore(tmp_path / "pod", "digits").verify(1)
    assert reports == [f"waiting for version 1 in {store.folder}: 0 of 20 s; it holds no version"]


def test_copying_waits_no_longer_than_wait_s(store, tmp_path):
    begin = time.monotonic()
    with pytest.raises(StoreError, match=r"version 4 is not in .* after 0\.6 s; it holds no version"):
        store.copy_version(4, tmp_path / "pod", wait_s=0.6)
    assert 0.6 <= time.monotonic() - begin < 5


def test_a_version_is_not_copied_into_the_store_it_comes_from(store):
    publish(store)
    with pytest.raises(StoreError, match="into the store it comes from"):
        store.copy_version(1, store.root / "digits" / "..")
    store.verify(1)


# Pruning


@pytest.mark.parametrize(
    ("keep", "served", "kept"),
    [
        (1, (), [6]),
        (3, (), [4, 5, 6]),
        (9, (), [1, 2, 3, 4, 5, 6]),
        (1, (6,), [5, 6]),
        (1, (3,), [2, 3, 6]),
        (2, (3, 5), [2, 3, 4, 5, 6]),
        (1, (1,), [1, 6]),
        (1, (99,), [6]),
    ],
    ids=["newest", "three", "more than there are", "newest served", "old served", "two served", "first served", "served elsewhere"],
)
def test_prune_keeps_the_newest_the_served_and_the_one_before_each_served(store, keep, served, kept):
    for _ in range(6):
        publish(store)
    removed = [number for number in range(1, 7) if number not in kept]
    assert store.prune(keep, served, dry_run=True) == removed
    assert store.versions() == [1, 2, 3, 4, 5, 6]
    assert store.prune(keep, served) == removed
    assert store.versions() == kept
    assert sorted(os.listdir(store.folder)) == sorted([".highest", ".lock", *map(str, kept)])
    for number in kept:
        store.verify(number)


def test_prune_neither_counts_nor_removes_corrupt_versions(store):
    for _ in range(5):
        publish(store)
    for number in (1, 4, 5):
        (store.path(number) / "saved_model.pb").unlink()
    assert store.prune(1, served=(5,)) == [2]
    assert store.versions() == [1, 3, 4, 5]


def test_a_number_is_not_used_again_after_prune_or_after_removal_by_hand(store):
    for _ in range(3):
        publish(store)
    store.prune(1)
    remove(store, 3)
    assert store.versions() == []
    assert publish(store) == 4


@pytest.mark.parametrize("keep", [0, -1])
def test_prune_that_would_keep_nothing_is_refused(store, keep):
    publish(store)
    with pytest.raises(StoreError, match=f"keep at least 1 version, found {keep}"):
        store.prune(keep)
    assert store.versions() == [1]


def test_prune_waits_for_a_publisher(store):
    for _ in range(2):
        publish(store)
    with store.next_version() as draft:
        fill(draft.folder)
        pruner = child("print(store.prune(1))", store.root)
        assert pruner.stderr.readline().startswith(f"waiting for process {os.getpid()} on ")
        draft.publish({})
    assert pruner.communicate(timeout=20)[0] == "[1, 2]\n"


# Errors of the operating system


@pytest.fixture
def mount():
    """Mounts a volume of 256 kB at a folder, which it makes; this takes root in a container that may."""
    mounted = []

    def make(folder: Path) -> Path:
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a volume cannot be mounted here: {done.stderr.strip()}")
        mounted.append(os.stat(folder).st_dev)
        return folder

    yield make
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        device, path = line.split()[2], line.split()[4]
        if os.makedev(*map(int, device.split(":"))) in mounted:
            subprocess.run(["umount", path], check=True)


@pytest.fixture
def small_volume(tmp_path, mount):
    return mount(tmp_path / "small")


def test_a_disk_that_fills_up_while_training_is_one_sentence_and_no_version(small_volume):
    store = ModelStore(small_volume, "digits")
    publish(store)
    with pytest.raises(StoreError, match=r"cannot write version 2 in .*: No space left on device"):
        publish(store, lambda folder: (folder / "report/more").write_bytes(bytes(1 << 20)))
    assert store.versions() == [1]
    assert publish(store) == 2


def test_a_disk_that_fills_up_while_publishing_or_copying_is_one_sentence_and_no_version(small_volume, store):
    small = ModelStore(small_volume, "digits")
    for _ in range(3):
        publish(small)
    publish(store)
    with suppress(OSError), (small_volume / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass
    with pytest.raises(StoreError, match="No space left on device"):
        publish(small)
    with pytest.raises(StoreError, match=r"cannot copy version 1 to .*: No space left on device"):
        ModelStore(store.root, "digits").copy_version(1, small_volume / "digits" / "pod")
    assert small.versions() == [1, 2, 3]
    assert small.prune(1) == [1, 2], "prune must work on a full disk"
    assert publish(small) == 4


REFUSED = "try:\n    {}\nexcept StoreError as exc:\n    print(exc)"


@pytest.mark.parametrize("action", ["publish()", "store.prune(1)"])
def test_a_store_that_may_not_be_written_is_one_sentence(foreign, action):
    message = as_nobody(REFUSED.format(action), foreign.root)
    assert message == f"cannot write to the store {foreign.folder}: Permission denied ({foreign.folder}/.lock)"


def test_a_store_that_may_not_be_read_is_one_sentence(foreign):
    foreign.folder.chmod(0o700)
    assert as_nobody(REFUSED.format("store.versions()"), foreign.root).startswith(
        f"cannot read the store {foreign.folder}: Permission denied"
    )


def test_a_file_that_may_not_be_read_is_one_sentence(foreign):
    (foreign.path(1) / "saved_model.pb").chmod(0o600)
    assert as_nobody(REFUSED.format("store.verify(1)"), foreign.root).startswith(f"cannot verify {foreign.path(1)}: Permission denied")


def test_a_root_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "store").write_text("")
    store = ModelStore(tmp_path / "store", "digits")
    with pytest.raises(StoreError, match=r"cannot read the store .*: Not a directory"):
        store.versions()
    with pytest.raises(StoreError, match="cannot write to the store"):
        publish(store)


def test_an_error_that_the_publisher_raises_is_passed_on(store):
    with pytest.raises(FileNotFoundError), store.next_version():
        raise FileNotFoundError(errno.ENOENT, "no training data", "data/train")


# The command line


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def common(store):
    return ("--store", store.root, "--name", store.name)


def test_list_prints_a_table_for_people_and_json_for_programs(store, common, capsys):
    assert run("list", *common, "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    publish(store, recipe="quick", metrics={"accuracy": 0.9931})
    publish(store)
    (store.path(2) / "saved_model.pb").unlink()
    assert run("list", *common) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["version", "created", "recipe", "accuracy", "size", "signed", "by", "state"]
    assert lines[1].split()[2:] == ["quick", "99.31%", "0.01", "MB", "-", "valid"]
    assert lines[2].endswith("2 is corrupt: saved_model.pb is missing")
    assert run("list", *common, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first == {
        "version": 1,
        "created": store.manifest(1)["created"],
        "recipe": "quick",
        "accuracy": 0.9931,
        "bytes": sum(map(len, FILES.values())),
        "signer": None,
        "state": "valid",
        "reason": None,
    }
    assert (second["version"], second["state"], second["accuracy"]) == (2, "corrupt", None)


def test_verify_prints_the_valid_versions_and_refuses_where_one_is_corrupt(store, common, capsys):
    publish(store)
    publish(store)
    assert run("verify", *common) == 0
    assert capsys.readouterr().out == "version 1 is valid, not signed\nversion 2 is valid, not signed\n"
    (store.path(1) / "saved_model.pb").unlink()
    assert run("verify", *common, "--version", 2) == 0
    capsys.readouterr()
    assert run("verify", *common) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("version 2 is valid, not signed\n", f"{store.path(1)} is corrupt: saved_model.pb is missing\n")


def test_verify_of_an_empty_store_refuses(common, capsys):
    assert run("verify", *common) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("it holds no version\n")


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_refused_fetch_writes_its_reason_to_the_termination_log(store, common, tmp_path, capsys, monkeypatch, by):
    publish(store)
    (store.path(1) / "saved_model.pb").write_bytes(b"")
    log = tmp_path / "termination-log"
    monkeypatch.setenv("TERMINATION_LOG", str(log if by == "environment" else tmp_path / "unused"))
    more = ("--termination-log", log) if by == "argument" else ()
    assert run("fetch", *common, "--version", 1, "--to", tmp_path / "pod", *more) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"{store.path(1)} is corrupt: saved_model.pb has 0 bytes, {SIZE} were wanted\n")
    assert log.read_text() == err
    assert not (tmp_path / "unused").exists()


def test_a_refused_fetch_with_an_unwritable_termination_log_exits_2(common, tmp_path, capsys):
    assert run("fetch", *common, "--version", 1, "--to", tmp_path / "pod", "--termination-log", tmp_path / "no/log") == 2
    assert "cannot write the termination log" in capsys.readouterr().err


def test_a_successful_fetch_prints_the_folder_and_writes_no_termination_log(store, common, tmp_path, capsys):
    publish(store)
    log = tmp_path / "termination-log"
    assert run("fetch", *common, "--version", 1, "--to", tmp_path / "pod", "--wait-s", 5, "--termination-log", log) == 0
    assert capsys.readouterr() == (f"version 1 is valid in {tmp_path}/pod/digits/1\n", "")
    assert not log.exists()


def test_prune_prints_the_removed_and_the_remaining_versions(store, common, capsys):
    for _ in range(5):
        publish(store)
    assert run("prune", *common, "--keep", 1, "--served", 3, 4, "--dry-run") == 0
    assert run("prune", *common, "--keep", 1, "--served", 3, 4) == 0
    assert capsys.readouterr().out == "would remove 1; it holds 1, 2, 3, 4, 5\nremoved 1; it holds 2, 3, 4, 5\n"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
def test_a_waiting_fetch_ends_cleanly_on_a_signal(store, common, tmp_path, sent, code):
    command = [sys.executable, "-m", "pynumdraw.store", "fetch", *common, "--version", 1, "--to", tmp_path / "pod", "--wait-s", 60]
    process = subprocess.Popen(list(map(str, command)), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline().startswith("waiting for version 1")
    process.send_signal(sent)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (code, "")
    assert os.listdir(tmp_path / "pod/digits") == [".lock"]
