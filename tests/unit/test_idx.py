"""The IDX reader: what it reads, and how it refuses."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import IdxFormatError, Refused
from trainer.idx import find_idx, read_idx

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx_bytes(array, kind=0x08):
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


VALID = idx_bytes(IMAGES)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["raw", "gzipped"])
def test_a_valid_file_gives_its_array_and_the_checksum_of_the_unpacked_bytes(tmp_path, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(VALID))
    array, checksum = read_idx(path, dims=3)
    np.testing.assert_array_equal(array, IMAGES)
    assert array.dtype == np.uint8
    assert checksum == hashlib.sha256(VALID).hexdigest()


@given(cut=st.integers(0, len(VALID) - 1))
def test_a_file_cut_at_any_byte_is_refused(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("idx") / "images"
    path.write_bytes(VALID[:cut])
    with pytest.raises(IdxFormatError, match=r"images: wanted .*, found "):
        read_idx(path, dims=3)


@given(cut=st.integers(2, len(gzip.compress(VALID)) - 1))
def test_a_gzip_file_cut_at_any_byte_is_refused(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("idx") / "images.gz"
    path.write_bytes(gzip.compress(VALID)[:cut])
    with pytest.raises(IdxFormatError):
        read_idx(path, dims=3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG" + VALID[4:], "two zero bytes, found 0x89504e47"),
        (idx_bytes(IMAGES, kind=0x0D), "type 0x08 \\(unsigned byte\\), found 0x0d"),
        (idx_bytes(IMAGES[0]), "wanted 3 dimensions, found 2"),
        (VALID + b"x", "wanted 24 bytes of values for 2x3x4, found 25"),
        (VALID[:-5], "wanted 24 bytes of values for 2x3x4, found 19"),
        (b"", "wanted 4 bytes of magic number, found 0"),
        (b"\x1f\x8b" + b"not gzip at all", "wanted a complete gzip file"),
    ],
    ids=["no IDX", "floats", "labels for images", "too long", "too short", "empty", "broken gzip"],
)
def test_a_file_that_is_not_valid_is_refused_with_what_was_wanted_and_found(tmp_path, content, message):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(IdxFormatError, match=message) as caught:
        read_idx(path, dims=3)
    assert str(path) in str(caught.value)


def test_sizes_larger_than_memory_are_refused_without_allocating_it(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 28))
    with pytest.raises(IdxFormatError, match="found 0"):
        read_idx(path, dims=3)


def test_the_raw_file_is_found_before_the_gzipped_one_and_a_missing_one_is_named(tmp_path):
    with pytest.raises(Refused, match=r"train-labels: no such file, nor train-labels\.gz"):
        find_idx(tmp_path, "train-labels")
    (tmp_path / "train-labels.gz").write_bytes(b"")
    assert find_idx(tmp_path, "train-labels").name == "train-labels.gz"
    (tmp_path / "train-labels").write_bytes(b"")
    assert find_idx(tmp_path, "train-labels").name == "train-labels"
