"""What the documents name is there: files, make targets, commands, settings, values of the chart, and the errors that they quote."""

import ast
import errno
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import yaml

from gateway.settings import PREFIX, Settings
from tests.stack import ROOT

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "helm" / "pynumdraw" / "README.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "model-card.md"),  # which is generated
]
PROGRAMS = ("pynumdraw", "gateway", "trainer", "modelserver", "k8s", "data", "up.py", "helm/reference.py")
MADE_LATER = ("models/", "build/", ".venv/", "store/", "tests/browser/node_modules")  # not in the repository
SYMPTOMS = "what you see"  # heads the column of a table whose code spans quote what the programs say
FOREIGN = {  # what others say, in the words of their programs
    "Kubernetes": r"ImagePullBackOff|0/2 nodes are available: … Insufficient cpu",
    "TensorFlow Serving": r"Failed to start server\. Error: ….*",
    "helm": r"another operation \(install/upgrade/rollback\) is in progress|Apply failed with 1 conflict",
    "the kubelet": r"Startup probe failed: … \(it asks for /monitoring/.*\)|configmap references non-existent config key: .*",
}
documents = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def spans(text: str) -> list[str]:
    """The code spans of a document, without its fences."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S))


def commands(text: str) -> list[str]:
    """The lines of the shell fences, comments cut off, and the code spans."""
    fences = "".join(re.findall(r"^ *```sh.*?\n(.*?)^ *```$", text, re.M | re.S)).replace("\\\n", " ")
    return [line.partition(" #")[0].strip() for line in fences.splitlines()] + spans(text)


@documents
def test_each_file_that_a_document_names_is_there(path: Path) -> None:
    text = path.read_text()
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    folders = "|".join(re.escape(name) for name in sorted({each.partition("/")[0] for each in tracked if "/" in each}))
    named = {
        span for span in spans(text) if re.fullmatch(rf"(?:{folders})/[\w./*-]*|[\w./*-]+/[\w*-]+\.(?:py|js|md|ya?ml|proto|json|png)", span)
    }
    missing = [name for name in named if not name.startswith(MADE_LATER) and not list(ROOT.glob(name.rstrip("/")))]
    bare = {span for span in spans(text) if re.fullmatch(r"[\w-]+\.(?:py|js|md|toml|ya?ml|in)|Makefile|Dockerfile\.\w+", span)}
    missing += sorted(bare - {each.rpartition("/")[2] for each in tracked})
    missing += [link for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text) if not (path.parent / link).exists()]
    assert missing == []


@documents
def test_each_make_target_that_a_document_names_is_there(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.M))
    for line in commands(path.read_text()):
        if line.startswith("make "):
            for word in shlex.split(line)[1:]:
                name, is_variable, _ = word.partition("=")
                assert re.search(rf"\b{name}\b", makefile) if is_variable else name in targets, line


@cache
def usage(module: str, verb: str) -> str:
    """What `python -m MODULE VERB --help` prints; AssertionError where there is no such command."""
    words = [sys.executable, "-m", module, *([verb] if verb else []), "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words[1:]}: {done.stderr}"
    return done.stdout


@documents
def test_each_command_of_our_programs_that_a_document_gives_has_its_flags(path: Path) -> None:
    for line in commands(path.read_text()):
        if match := re.search(r"\bpython -m (pynumdraw\.store|trainer|k8s|data\.fetch)\b(.*)", line):
            verbs = re.match(r"(?: --\S+(?: |=)\S+)* ([a-z|]+)\b", match[2])
            for verb in verbs[1].split("|") if verbs else [""]:
                text = usage(match[1], verb)
                for flag in re.findall(r" (--[a-z-]+)", match[2]):
                    assert re.search(rf"{flag}\b", text + usage(match[1], "")), line


@documents
def test_each_setting_and_value_that_a_document_names_is_there(path: Path) -> None:
    text = path.read_text()
    settings = {PREFIX + field.name.upper() for field in fields(Settings)}
    assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", text)) <= settings
    values = yaml.safe_load((ROOT / "helm" / "pynumdraw" / "values.yaml").read_text())
    groups = "|".join(name for name, value in values.items() if isinstance(value, dict))
    for name in re.findall(rf"`((?:{groups})\.\w[\w.]*)[=`]", text):
        found = values
        for part in name.split("."):
            if part in ("py", "js", "json"):
                break  # a file
            assert part in found, name
            found = found[part]


def quotes(path: Path) -> list[str]:
    """The code spans in the first column of every table of symptoms."""
    found, inside = [], False
    for line in path.read_text().splitlines():
        first = line.split("|")[1].strip() if line.startswith("|") else None
        inside = first is not None and (inside or first == SYMPTOMS)
        if inside:
            found += re.findall(r"`([^`]+)`", line.replace("\\|", "/").split("|")[1])
    return found


@cache
def sayings() -> list[re.Pattern[str]]:
    """A pattern for each text of our programs, and for each beginning of one; what is put into it when the program runs can be anything."""
    found = set()
    for name in PROGRAMS:
        for source in [ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(re.escape(node.value))
                elif isinstance(node, ast.JoinedStr):
                    parts = [f"({re.escape(part.value)})" if isinstance(part, ast.Constant) else ".+?" for part in node.values]
                    found |= {"".join(parts[: end + 1]) for end, part in enumerate(parts) if part != ".+?"}
    for text in re.findall(r'echo "([^"\n]+)"', (ROOT / "Makefile").read_text()):
        found.add(re.escape(text.partition("$$")[0]))
    found |= {re.escape(os.strerror(number)) for number in errno.errorcode}
    texts = [ROOT / "web", ROOT / "helm" / "pynumdraw" / "templates"]
    for each in (each for folder in texts for each in folder.rglob("*.*")):
        for text in re.findall(r'"([^"\n]{12,})"', each.read_text(errors="replace")):
            parts = [f"({re.escape(part)})" for part in re.split("%[sqd]", text)]  # a template fills its %s
            found |= {".+?".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return [re.compile(pattern) for pattern in found if len(pattern) > 5]


def unsaid(quote: str) -> list[str]:
    """The words of a quote that stand in no text of our programs that the quote matches; … and words with / = or a digit are put in."""
    covered = [False] * len(quote)
    for saying in sayings():
        for match in saying.finditer(quote):
            literal = match.regs[1:] or match.regs
            if sum(end - start for start, end in literal) >= 8:
                for start, end in literal:
                    covered[start:end] = [True] * (end - start)
    words = [word for word in re.finditer(r"\S+", quote) if re.fullmatch(r"\(?[A-Za-z_]{2,}['\w]*[.,:;)]*", word[0])]
    return [word[0] for word in words if not re.search(r"\d", word[0]) and not any(covered[word.start() : word.end()])]


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if quotes(path)], ids=lambda path: path.name)
def test_each_error_that_a_document_quotes_is_said_by_a_program(path: Path) -> None:
    foreign = "|".join(FOREIGN.values())
    wrong = {quote: unsaid(quote) for quote in quotes(path) if not re.fullmatch(foreign, quote)}
    assert {quote: words for quote, words in wrong.items() if words} == {}


def test_a_quote_of_what_no_program_says_is_found() -> None:
    assert unsaid("version 9 is not in /store/digits after 1800 s; it holds 1, 2") == []
    assert "torn:" in unsaid("/store/digits/3 is torn: variables/… has 0 bytes, … were wanted")
