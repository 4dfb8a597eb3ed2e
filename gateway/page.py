"""The page: the files of web/, held in memory, under a path that names their content.

All files share one hash in their path, so an ES module's relative import finds its neighbours of the same build, and every file may be
cached for ever. index.html alone is asked for anew each time; where it says `{{static}}` it gets that path, relative, so that the page
works under any sub-path.
"""

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

PLACEHOLDER = "{{static}}"
INDEX = "index.html"

_TYPES = {  # the rest is told by the system's table, which says strange things of .js on some machines
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
    """hash: names the content of all files. index: the page itself. files: path below web/ → (content type, content)."""

    hash: str
    index: bytes
    files: dict[str, tuple[str, bytes]]


def read_page(folder: Path) -> Page:
    """The page in a folder. Raises FileNotFoundError without an index.html, ValueError where that does not say `{{static}}`."""
    paths = sorted(
        path for path in folder.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    files = {path.relative_to(folder).as_posix(): (_type(path), path.read_bytes()) for path in paths}
    if INDEX not in files:
        raise FileNotFoundError(f"{folder / INDEX}: there is no page")
    digest = hashlib.sha256()
    for name, (_, content) in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    index = files.pop(INDEX)[1].decode()
    if PLACEHOLDER not in index:
        raise ValueError(f"{folder / INDEX}: wanted {PLACEHOLDER} where the page names its files")
    short = digest.hexdigest()[:12]
    return Page(short, index.replace(PLACEHOLDER, f"static/{short}").encode(), files)


def _type(path: Path) -> str:
    return _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
