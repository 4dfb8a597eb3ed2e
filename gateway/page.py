"""The page: the files of web/, kept in memory and served under a path with a hash of their content.

All files share one hash in their path, so relative imports of ES modules stay within one build, and browsers may cache every file for
ever. Only index.html is not cached. Its placeholder `{{static}}` is replaced with the path of the files, relative, so that the page works
under any path prefix. All other placeholders of .html files are names of texts in words.js, the one file of the page's words.
"""

import hashlib
import html
import json
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path

PLACEHOLDER = "{{static}}"
INDEX = "index.html"
WORDS = "words.js"

_TYPES = {  # other types come from the system's table, which is wrong about .js on some machines
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class Page:
    """hash: of the content of all files. index: index.html. files: path below web/ → (content type, content)."""

    hash: str
    index: bytes
    files: dict[str, tuple[str, bytes]]


def read_page(folder: Path) -> Page:
    """The page in a folder.

    Raises FileNotFoundError without an index.html, ValueError without `{{static}}` in it, or where words.js lacks a text that
    a page names.
    """
    paths = sorted(
        path for path in folder.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    words = _read_words(folder / WORDS)
    files = {path.relative_to(folder).as_posix(): (_content_type(path), _compact(path, words)) for path in paths}
    if INDEX not in files:
        raise FileNotFoundError(f"{folder / INDEX}: there is no page")
    digest = hashlib.sha256()
    for name, (_, content) in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    index = files.pop(INDEX)[1].decode()
    if PLACEHOLDER not in index:
        raise ValueError(f"{folder / INDEX}: wanted {PLACEHOLDER} where the page names its files")
    build = digest.hexdigest()[:12]  # 48 bits: two builds with the same hash do not happen
    return Page(build, index.replace(PLACEHOLDER, f"static/{build}").encode(), files)


def _content_type(path: Path) -> str:
    return _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


_WORDS = re.compile(r"^export const PAGE = (\{.*?^\});", re.DOTALL | re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def _read_words(path: Path) -> dict[str, str]:
    """The texts of the .html files: what words.js exports as PAGE, which is JSON. Raises ValueError where it is not."""
    found = _WORDS.search(path.read_text(encoding="utf-8")) if path.exists() else None
    try:
        return {**json.loads(found[1])} if found else {}
    except ValueError as error:
        raise ValueError(f"{path}: wanted JSON after `export const PAGE =`: {error}") from error


def _fill(path: Path, text: str, words: dict[str, str]) -> str:
    """A page with its words, escaped; `{{static}}` stays."""

    def word(placeholder: re.Match[str]) -> str:
        if placeholder[0] == PLACEHOLDER:
            return PLACEHOLDER
        if placeholder[1] not in words:
            raise ValueError(f"{path}: found {placeholder[0]}, wanted the name of a text of PAGE in {WORDS}")
        return html.escape(words[placeholder[1]])

    return _PLACEHOLDER.sub(word, text)


_INDENTATION = re.compile(r"^ +", re.MULTILINE)
_COMMENT_LINES = re.compile(r"^ *(/\*.*?\*/|//[^\n]*) *$", re.DOTALL | re.MULTILINE)
_COMMENT_AT_END = re.compile(
    r"(?<=[;{,)}\]]) (//[^\n\"'`]*|/\*[^\n*\"'`]*\*/)$", re.MULTILINE
)  # behind code; without quotes, so in no string


def _compact(path: Path, words: dict[str, str]) -> bytes:
    """A file as it is sent: pages with their words, scripts and styles without comments, each line in its place."""
    if path.suffix not in (".js", ".css", ".html"):
        return path.read_bytes()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        text = _fill(path, text, words)
    else:
        text = _COMMENT_LINES.sub(_only_its_lines, text)
        text = _COMMENT_AT_END.sub("", text)
    if path.name == WORDS:
        text = _WORDS.sub(_only_its_lines, text)
    return _INDENTATION.sub("", text).encode()


def _only_its_lines(text: re.Match[str]) -> str:
    return "\n" * text[0].count("\n")
