"""Bytes of the params file. Oracle: the layout of cvm-format, section 2, packed here field by field."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bridges.cvm import params_file
from bridges.cvm.params_file import format_params, parse_params
from mrt_torch.errors import ExportError, InvalidFileError

ARRAYS = {"weight": np.array([[1, -2, 127], [-127, 0, 5]], np.int8), "b": np.array([-70000], np.int32)}
GOLDEN = bytes.fromhex(
    "b79c04054f8de5f7" "0000000000000000" "0200000000000000"
    "0600000000000000" "776569676874" "0100000000000000" "62" "0200000000000000"
    "3fa1b496f0405edd" "0000000000000000" "01000000" "00000000" "02000000" "00" "08" "0100"
    "0200000000000000" "0300000000000000" "0600000000000000" "01fe7f810005"
    "3fa1b496f0405edd" "0000000000000000" "01000000" "00000000" "01000000" "00" "20" "0100"
    "0100000000000000" "0400000000000000" "90eefeff")


def test_golden_bytes():
    assert format_params(ARRAYS) == GOLDEN


def test_no_parameters():
    """The runtime refuses an empty file: two counts of zero are written."""
    empty = format_params({})
    assert empty == struct.pack("<QQQQ", 0xF7E58D4F05049CB7, 0, 0, 0)
    assert parse_params(empty) == {}


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(st.characters(codec="ascii"), max_size=8), hnp.arrays(
    st.sampled_from([np.int8, np.int32]), hnp.array_shapes(max_dims=6, max_side=3)), max_size=4))
def test_round_trip(arrays):
    parsed = parse_params(format_params(arrays))
    assert list(parsed) == list(arrays)
    for name, array in arrays.items():
        assert parsed[name].dtype == array.dtype and parsed[name].shape == array.shape
        np.testing.assert_array_equal(parsed[name], array)


def test_strided_arrays_are_written_in_row_major_order():
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    np.testing.assert_array_equal(parse_params(format_params({"a": array}))["a"], array)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int16, np.int64])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ExportError, match="int8 or int32"):
        format_params({"a": np.zeros(1, dtype)})


def test_file_above_the_limit_of_the_runtime_is_refused(monkeypatch):
    monkeypatch.setattr(params_file, "LARGEST_FILE", len(GOLDEN) - 1)
    with pytest.raises(ExportError, match="too large"):
        format_params(ARRAYS)


@pytest.mark.parametrize("length", range(len(GOLDEN)))
def test_every_truncation_is_noticed(length):
    with pytest.raises(InvalidFileError, match="byte offset"):
        parse_params(GOLDEN[:length])


def test_trailing_bytes_are_refused():
    with pytest.raises(InvalidFileError, match="1 bytes follow"):
        parse_params(GOLDEN + b"\0")


@pytest.mark.parametrize(("offset", "fields", "reason"), [
    (0, struct.pack("<Q", 1), "magic number"),
    (16, struct.pack("<Q", 2 ** 63), "names are announced"),
    (24, struct.pack("<Q", 2 ** 62), "a name needs"),
    (32, b"\xff", "not text"),
    (47, struct.pack("<Q", 3), "3 arrays for 2 names"),
    (55, struct.pack("<Q", 3), "magic number of array 'weight'"),
    (71, struct.pack("<i", 0), "device type 0"),
    (79, struct.pack("<i", 2 ** 30), "1073741824 dimensions"),
    (79, struct.pack("<i", -1), "-1 dimensions"),
    (83, b"\x02", "type code 2"),
    (84, b"\x10", "16 bits"),
    (85, b"\x02", "2 lanes"),
    (87, struct.pack("<q", 2 ** 62), "bytes, its shape"),
    (87, struct.pack("<q", -2), "has the shape"),
    (103, struct.pack("<q", 2 ** 40), "has 1099511627776 bytes"),
])
def test_hostile_fields(offset, fields, reason):
    """Each is refused by the field's own check: nothing of an announced size is allocated."""
    damaged = GOLDEN[:offset] + fields + GOLDEN[offset + len(fields):]
    with pytest.raises(InvalidFileError, match=reason):
        parse_params(damaged)


def test_announced_size_that_fits_its_shape_but_not_the_file():
    damaged = bytearray(GOLDEN)
    damaged[87:111] = struct.pack("<qqq", 2 ** 20, 2 ** 20, 2 ** 40)
    with pytest.raises(InvalidFileError, match="are left"):
        parse_params(bytes(damaged))


def test_repeated_names():
    length = struct.pack("<Q", 1)
    damaged = format_params({"a": ARRAYS["b"], "b": ARRAYS["b"]}).replace(length + b"b", length + b"a", 1)
    with pytest.raises(InvalidFileError, match="repeated"):
        parse_params(damaged)


@settings(deadline=None, max_examples=100)
@given(position=st.integers(0, len(GOLDEN) - 1), byte=st.integers(0, 255))
def test_damaged_bytes(position, byte):
    """One changed byte: arrays or InvalidFileError, never another exception."""
    damaged = bytearray(GOLDEN)
    damaged[position] = byte
    try:
        parse_params(bytes(damaged))
    except InvalidFileError:
        pass
