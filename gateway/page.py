"""The page: the files of web/, kept in memory and served under a path with a hash of their content.

All files share one hash in their path, so relative imports of ES modules stay within one build, and browsers may cache every file for
ever. Only index.html is not cached. Its placeholder `{{static}}` is replaced with the path of the files, relative, so that the page works
under any path prefix.
"""

import hashlib
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path

PLACEHOLDER = "{{static}}"
INDEX = "index.html"

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
    """The page in a folder. Raises FileNotFoundError without an index.html, ValueError where it has no placeholder `{{static}}`."""
    paths = sorted(
        path for path in folder.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    files = {path.relative_to(folder).as_posix(): (_content_type(path), _compact(path)) for path in paths}
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


_INDENTATION = re.compile(r"^ +", re.MULTILINE)
_COMMENT_LINES = re.compile(r"^ *(/\*.*?\*/|//[^\n]*) *$", re.DOTALL | re.MULTILINE)
_COMMENT_AT_END = re.compile(
    r"(?<=[;{,)}\]]) (//[^\n\"'`]*|/\*[^\n*\"'`]*\*/)$", re.MULTILINE
)  # behind code; without quotes, so in no string


def _compact(path: Path) -> bytes:
    """A file as it is sent: scripts and styles without comments, pages and styles without indentation, all lines in their places."""
    if path.suffix not in (".js", ".css", ".html"):
        return path.read_bytes()
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".html":
        text = _COMMENT_LINES.sub(lambda comment: "\n" * comment[0].count("\n"), text)
        text = _COMMENT_AT_END.sub("", text)
    if path.suffix != ".js":
        text = _INDENTATION.sub("", text)
    return text.encode()
