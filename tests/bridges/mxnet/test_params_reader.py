"""Truncated, corrupt or unsupported files: a clear error within the memory limit, nothing else."""

from __future__ import annotations

import os
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.mxnet.params_file import read_params, strip_prefixes
from mrt_torch.errors import InvalidFileError
from tests.bridges.mxnet.packed_params import CPU, pack, pack_dense

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
ONE = pack_dense((1,), 0, bytes(4))
# One array of each format, so that mutations reach every branch.
MIXED = pack([
    struct.pack("<2I", 1, 2) + CPU + struct.pack("<i", 0) + bytes(8),
    struct.pack("<Ii1q", V1, 1, 2) + CPU + struct.pack("<i", 3) + bytes(2),
    pack_dense((2, 2), 2, bytes(8)),
    pack_dense((), 7, b"\1", magic=V3),
    pack_dense((3,), 12, bytes(6), magic=V3),
    pack_dense((), 12, bytes(2), magic=V3),
], [b"arg:a", b"aux:a", b"b", "ä".encode(), b"c", b"d"])


def read(tmp_path, content: bytes) -> dict[str, np.ndarray]:
    path = tmp_path / "x.params"
    path.write_bytes(content)
    return read_params(path)


def test_mixed_file_is_read(tmp_path):
    """Oracle: the shapes and types packed above."""
    assert {name: (array.shape, str(array.dtype)) for name, array in read(tmp_path, MIXED).items()} == {
        "arg:a": ((2,), "float32"), "aux:a": ((2,), "uint8"), "b": ((2, 2), "float16"), "ä": ((), "bool"),
        "c": ((3,), "float32"), "d": ((), "float32")}


@pytest.mark.parametrize(("content", "where", "message"), [
    (b"", "the header, byte 0", "truncated"),
    (b'{"nodes": []}' + bytes(20), "byte 24", "instead of 0x112"),
    (struct.pack("<3Q", 0x112, 0, 2**63), "the header", "32768 is the limit"),
    (pack([ONE, ONE], [b"a", b"a"]), "name 1 of 2", "'a' stands twice"),
    (pack([ONE, ONE], []), "the list of names", "have no names"),
    (pack([ONE, ONE], [b"a"]), "the list of names", "1 names for 2 arrays"),
    (pack([ONE], [b"\xff"]), "name 0 of 1", "not UTF-8"),
    (pack([ONE], [b"a"])[:-9] + struct.pack("<Q", 2**62) + b"a", "name 0 of 1", "512 is the limit"),
    (pack([ONE], [b"a"]) + b"\0", "the end", "1 bytes are left over"),
    (pack([struct.pack("<I", 33)], [b"a"]), "array 0 of 1", "33 is neither"),
    (pack([struct.pack("<Ii", V1, -2)], [b"a"]), "array 0 of 1", "-2 is neither"),
    (pack([struct.pack("<Iii", V2, 0, -1)], [b"a"]), "array 0 of 1", "-1 is neither"),
    (pack([struct.pack("<Iii", V3, 0, -2)], [b"a"]), "array 0 of 1", "-2 is neither"),
    (pack([pack_dense((2, 0), 0, b"")], [b"a"]), "array 0 of 1", "at least 1"),
    (pack([pack_dense((2, -3), 0, b"")], [b"a"]), "array 0 of 1", "at least 1"),
    (pack([pack_dense((2, -3), 0, b"", magic=V3)], [b"a"]), "array 0 of 1", "at least 0"),
    (pack([pack_dense((2**40, 2**40), 0, b"")], [b"a"]), "array 0 of 1", "truncated"),
    (pack([pack_dense((0, 2**40, 2**40), 0, b"", magic=V3)], [b"a"]), "array 0 of 1", "NumPy can address"),
    (pack([pack_dense((2**62, 4), 0, b"")], [b"a"]), "array 0 of 1", "truncated"),
    (pack([pack_dense((1,), 13, bytes(4))], [b"a"]), "array 0 of 1", "type flag is 13"),
    (pack([pack_dense((1,), -1, bytes(4))], [b"a"]), "array 0 of 1", "type flag is -1"),
    (pack([pack_dense((1,), 7, b"\2")], [b"a"]), "array 0 of 1", "truth value is 2"),
    (pack([ONE, pack_dense((1,), 0, bytes(4), storage=1)], [b"a", b"b"]), "array 1 of 2", "row_sparse"),
    (pack([pack_dense((1,), 0, bytes(4), storage=2)], [b"a"]), "array 0 of 1", "csr"),
    (pack([pack_dense((1,), 0, bytes(4), storage=3)], [b"a"]), "array 0 of 1", "storage type is 3"),
    (pack([ONE, struct.pack("<I", 0)], [b"a", b"lost"]), "the parameter 'lost'", "no array"),
    (pack([struct.pack("<Ii", V1, 0), ONE], [b"lost", b"a"]), "the parameter 'lost'", "no array"),
    (pack([struct.pack("<Iii", V2, 0, 0)], [b"lost"]), "the parameter 'lost'", "no array"),
    (pack([struct.pack("<Iii", V3, 0, -1)], [b"lost"]), "the parameter 'lost'", "no array"),
    (pack([struct.pack("<Iii2q", V3, 0, 2, 3, -1)], [b"lost"]), "the parameter 'lost'", "no array"),
])
def test_malformed_file_is_refused(tmp_path, content, where, message):
    """Oracle: the rule broken by hand is the rule named."""
    with pytest.raises(InvalidFileError) as raised:
        read(tmp_path, content)
    assert message in raised.value.why
    assert "x.params, " in raised.value.where and where in raised.value.where
    assert raised.value.remedy


def test_what_mxnet_writes_without_names_or_density_is_refused(mxnet, tmp_path):
    path = str(tmp_path / "x.params")
    mxnet.nd.save(path, [mxnet.nd.ones((2,))])
    with pytest.raises(InvalidFileError, match="no names"):
        read_params(path)
    for storage in ("row_sparse", "csr"):
        mxnet.nd.save(path, {"a": mxnet.nd.ones((2, 3)).tostype(storage)})
        with pytest.raises(InvalidFileError, match=storage):
            read_params(path)


def test_every_truncation_is_refused(tmp_path):
    """Oracle: no proper beginning of a file is a file."""
    for length in range(len(MIXED)):
        with pytest.raises(InvalidFileError, match="byte"):
            read(tmp_path, MIXED[:length])


def test_unreadable_files_are_refused(tmp_path):
    """Oracle: the operating system's reason."""
    os.mkfifo(tmp_path / "pipe")
    for path, message in [(tmp_path / "none.params", "No such file"), (tmp_path, "not a file"),
                          (tmp_path / "pipe", "not a file"), ("null\0character", "null")]:
        with pytest.raises(InvalidFileError, match=message):
            read_params(path)


def numbered(array: bytes, count: int, suffix: str = "") -> bytes:
    return pack([array] * count, [f"{index}{suffix}".encode() for index in range(count)])


@pytest.mark.parametrize("content", [
    numbered(pack_dense((2**40,), 0, b""), 1),
    numbered(ONE, 2**15),
    numbered(pack_dense((0,), 0, b"", magic=V3), 2**15),
    numbered(struct.pack("<I", 0), 2**15),
    numbered(ONE, 2**15, "x" * 500 + "\U0001f600"),
    numbered(pack_dense((10**6,), 12, bytes(2 * 10**6)), 20),
    numbered(pack_dense((5 * 10**7,), 12, bytes(10**8)), 1),
], ids=["announced", "small", "empty", "none", "long names", "bfloat16", "one bfloat16"])
def test_memory_stays_below_three_times_the_file(tmp_path, content):
    """Oracle: tracemalloc, which NumPy reports to; three times the file's size plus 64 MiB is promised."""
    path = tmp_path / "x.params"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        read_params(path)
    except InvalidFileError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= 3 * len(content) + 2**26


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_mutated_bytes_give_arrays_or_an_error(tmp_path_factory, data):
    """Oracle: a dictionary of arrays, or InvalidFileError."""
    content = bytearray(MIXED)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.sampled_from([0, 1, 4, 8]))
        same_length = st.binary(min_size=length, max_size=length)
        content[start:start + length] = data.draw(same_length | st.binary(max_size=8))
    try:
        found = strip_prefixes(read(tmp_path_factory.mktemp("mutated"), bytes(content)))
    except InvalidFileError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())
