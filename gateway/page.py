"""The page: the files of web/, kept in memory and served under a path with a hash of their content.

All files share one hash in their path, so relative imports of ES modules stay within one build, and browsers may cache every file for
ever. Only index.html is not cached. Its placeholder `{{static}}` is replaced with the path of the files, relative, so that the page works
under any path prefix.
"""

import hashlib
import mimetypes
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
    files = {path.relative_to(folder).as_posix(): (_content_type(path), path.read_bytes()) for path in paths}
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
