"""The IDX format of the MNIST files: two zero bytes, type, number of dimensions, sizes (big-endian), then the values.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits, section "file formats".
"""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from trainer.errors import IdxFormatError, Refused

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20  # bytes; arbitrary


def find_idx(folder: Path, name: str) -> Path:
    """The file of that name in the folder, raw or as `.gz`. Raises Refused where there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise Refused(f"{folder / name}: no such file, nor {name}.gz; `make data` fetches the four files")


def read_idx(path: Path, dims: int) -> tuple[np.ndarray, str]:
    """The array in the file, uint8 with `dims` dimensions, and the SHA-256 of the (unpacked) file.

    The content says whether it is raw or gzipped. Raises IdxFormatError for anything else, including a file cut at any byte.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            return _read(cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw, path, dims)
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise IdxFormatError(path, "a complete gzip file", str(exc)) from exc
    except OSError as exc:
        raise Refused(f"{path}: {exc.strerror or exc}") from exc


def _read(file: BinaryIO, path: Path, dims: int) -> tuple[np.ndarray, str]:
    head = file.read(4)
    if len(head) < 4:
        raise IdxFormatError(path, "4 bytes of magic number", f"{len(head)}")
    zeros, kind, found_dims = struct.unpack(">HBB", head)
    if zeros != 0:
        raise IdxFormatError(path, "an IDX file, which begins with two zero bytes", f"0x{head.hex()}")
    if kind != _UNSIGNED_BYTE:
        raise IdxFormatError(path, f"type 0x{_UNSIGNED_BYTE:02x} (unsigned byte)", f"0x{kind:02x}")
    if found_dims != dims:
        raise IdxFormatError(path, f"{dims} dimensions", f"{found_dims}")
    sizes = file.read(4 * dims)
    if len(sizes) < 4 * dims:
        raise IdxFormatError(path, f"{4 * dims} bytes of sizes", f"{len(sizes)}")
    shape = struct.unpack(f">{dims}I", sizes)
    count = math.prod(shape)
    values = b"".join(iter(lambda: file.read(_CHUNK), b""))  # in chunks: a wrong size may be larger than the memory
    if len(values) != count:
        raise IdxFormatError(path, f"{count} bytes of values for {'x'.join(map(str, shape))}", str(len(values)))
    return np.frombuffer(values, np.uint8).reshape(shape), hashlib.sha256(head + sizes + values).hexdigest()
