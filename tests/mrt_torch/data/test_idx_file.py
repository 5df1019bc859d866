"""Idx files. Oracle: arrays written by the published description."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.data.idx_file import read_idx
from mrt_torch.errors import InvalidFileError, MRTError
from tests.mrt_torch.data.written_files import IDX_TYPES, idx_bytes


@pytest.mark.parametrize("dtype", IDX_TYPES)
@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3), (0, 4)])
@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_of_every_type(tmp_path, dtype, shape, compressed):
    array = (np.random.default_rng(0).normal(size=shape) * 60).astype(dtype)
    content = idx_bytes(array)
    (tmp_path / "a").write_bytes(gzip.compress(content) if compressed else content)
    read = read_idx(tmp_path / "a")
    assert read.dtype == array.dtype and read.dtype.isnative
    np.testing.assert_array_equal(read, array)


WHOLE = idx_bytes(np.arange(6, dtype="u1").reshape(2, 3))


@pytest.mark.parametrize(("content", "why", "offset"), [
    (b"", "two zero bytes", 0), (b"\0\0\x08", "two zero bytes", 0), (b"PK\x03\x04", "saw 50 4b 03 04", 0),
    (b"\0\0\x07\x01", "a type", 0), (b"\0\0\x08\0", "number of dimensions", 0), (b"\0\0\x08\xff", "number", 0),
    (WHOLE[:9], "2 extents expected", 4),
    (WHOLE[:-1], r"6 bytes expected for extents \[2, 3\], the file ends after 5", 17),
    (WHOLE + b"!", "there are more", 18),
    (b"\0\0\x08\x03" + b"\xff" * 12 + b"data", "the file ends after 4", 20),  # extents that would take 2^96 bytes
])
def test_damaged_files_are_refused_with_the_offset(tmp_path, content, why, offset):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InvalidFileError, match=why) as caught:
        read_idx(tmp_path / "a")
    assert caught.value.where == f"{tmp_path / 'a'}, byte offset {offset}"


@pytest.mark.parametrize("damage", [slice(-9), slice(5), slice(2)])
def test_damaged_archives_are_refused(tmp_path, damage):
    (tmp_path / "a").write_bytes(gzip.compress(WHOLE)[damage])
    with pytest.raises(InvalidFileError, match="gzip|idx"):
        read_idx(tmp_path / "a")


@settings(deadline=None, max_examples=100)
@given(st.booleans(), st.data())
def test_any_damage_is_read_or_refused(tmp_path_factory, compressed, data):
    """Oracle: nothing but an array and MRTError comes out."""
    path = tmp_path_factory.mktemp("idx") / "a"
    content = bytearray(gzip.compress(WHOLE) if compressed else WHOLE)
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[:data.draw(st.integers(0, len(content)))])
    try:
        assert isinstance(read_idx(path), np.ndarray)
    except MRTError:
        pass
