"""Record files. Oracles: MXNet's own writer and reader, and files put together by hand."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.data.recordio import IndexedRecordFile, read_record
from mrt_torch.errors import InvalidFileError, MRTError
from tests.mrt_torch.data.written_files import MAGIC, image_record, record_part, write_records


def opened(folder) -> IndexedRecordFile:
    return IndexedRecordFile(folder / "val.rec", folder / "val.idx")


# The magic number at a multiple of 4, several times, at the borders and beside one: the writer cuts there.
CONTENTS = [b"", b"a", b"abcd", MAGIC, MAGIC + b"x", b"abcd" + MAGIC, b"abcd" + MAGIC * 3 + b"xyz",
            b"ab" + MAGIC + b"cd", bytes(range(256)) * 5]


def test_records_are_those_that_mxnet_wrote(mxnet, tmp_path):
    """Oracle: mx.recordio.MXIndexedRecordIO writes, and unpack reads the labels."""
    writer = mxnet.recordio.MXIndexedRecordIO(str(tmp_path / "val.idx"), str(tmp_path / "val.rec"), "w")
    for key, content in enumerate(CONTENTS):
        label = float(key) if key % 2 else [key, 0.5, -1e9]
        writer.write_idx(key * 3 + 1, mxnet.recordio.pack(mxnet.recordio.IRHeader(0, label, key + 2**40, 0), content))
    writer.close()
    records, reader = opened(tmp_path), mxnet.recordio.MXIndexedRecordIO(
        str(tmp_path / "val.idx"), str(tmp_path / "val.rec"), "r")
    assert records.keys == reader.keys == [key * 3 + 1 for key in range(len(CONTENTS))]
    assert len(records) == len(CONTENTS)
    for position, key in enumerate(reader.keys):
        header, content = mxnet.recordio.unpack(reader.read_idx(key))
        record = records[position]
        assert record.encoded == content == CONTENTS[position]
        assert record.identifier == header.id
        assert record.labels.dtype == np.float32
        np.testing.assert_array_equal(record.labels, np.atleast_1d(np.float32(header.label)))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([MAGIC, b"abcd", b"x", b""]), max_size=12))
def test_a_record_with_magic_numbers_is_joined_as_by_mxnet(mxnet, tmp_path_factory, pieces):
    """Oracle: mx.recordio.MXRecordIO wrote it."""
    path, content = tmp_path_factory.mktemp("record") / "one.rec", b"".join(pieces)
    writer = mxnet.recordio.MXRecordIO(str(path), "w")
    writer.write(content)
    writer.close()
    assert read_record(io.BytesIO(path.read_bytes()), 0) == content


def test_records_come_in_the_order_of_the_index(tmp_path):
    """Oracle: the order of the lines, which is not that of the file."""
    write_records(tmp_path, [image_record(b"one", 1), image_record(b"two", 2)])
    lines = (tmp_path / "val.idx").read_bytes().splitlines()
    (tmp_path / "val.idx").write_bytes(b"\r\n".join([lines[1], b"", lines[0]]))
    assert [record.encoded for record in opened(tmp_path)] == [b"two", b"one"]


@pytest.mark.parametrize(("content", "why", "offset"), [
    (record_part(b"abcd")[:6], "8 bytes expected, the file ends after 6", 0),
    (b"\0" + record_part(b"abcd"), "magic number 0a23d7ce expected", 0),
    (record_part(b"abcdefgh")[:-3], "8 bytes expected, the file ends after 5", 0),
    (record_part(b"abcd", 2), "a first part has flag 2", 0),
    (record_part(b"abcd", 3), "a first part has flag 3", 0),
    (record_part(b"abcd", 7), "a first part has flag 7", 0),
    (record_part(b"abcd", 1) + record_part(b"abcd", 0), "a further part has flag 0", 12),
    (record_part(b"abcd", 1) + record_part(b"abcd", 2), "8 bytes expected, the file ends after 0", 24),
])
def test_damaged_records_are_refused_with_their_offset(tmp_path, content, why, offset):
    """Oracle: what was damaged, and where."""
    (tmp_path / "one.rec").write_bytes(content)
    with open(tmp_path / "one.rec", "rb") as file, pytest.raises(InvalidFileError, match=why) as caught:
        read_record(file, 0)
    assert caught.value.where == f"{tmp_path / 'one.rec'}, byte offset {offset}"
    assert caught.value.remedy


@pytest.mark.parametrize(("index", "why"), [
    (b"", "lists no record"), (b"\n\n", "lists no record"), (b"0 1 2\n", "expected a key"),
    (b"0\t-1\n", "expected a key"), (b"a\t0\n", "expected a key"), (b"\xff\t0\n", "expected a key"),
    (b"1_0\t0\n", "expected a key"),
    (b"0\t0\n0\t36\n", "line 1 has key 0 too"), (b"0\t0\n1\t0\n", "line 1 has offset 0 too"),
    (b"0\t99999\n", "offset 99999"),
])
def test_damaged_indices_are_refused(tmp_path, index, why):
    """Oracle: what was damaged."""
    write_records(tmp_path, [image_record(b"one!", 1), image_record(b"two!", 2)])
    (tmp_path / "val.idx").write_bytes(index)
    with pytest.raises(InvalidFileError, match=why) as caught:
        opened(tmp_path)
    assert "val.idx" in caught.value.where and caught.value.remedy


@pytest.mark.parametrize(("record", "why"), [
    (b"short", "its header takes 24 bytes, it has 5"),
    (image_record(b"", 1, 2, 3)[:-1], "3 labels end at byte 36, the record has 35 bytes"),
    (b"\xff\xff\xff\xff" + bytes(20), "4294967295 labels"),
])
def test_damaged_image_records_are_refused(tmp_path, record, why):
    """Oracle: what was damaged."""
    write_records(tmp_path, [record], keys=[7])
    with pytest.raises(InvalidFileError, match=why) as caught:
        opened(tmp_path)[0]
    assert caught.value.where == f"{tmp_path / 'val.rec'}, key 7, byte offset 0"


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_any_damage_is_read_or_refused(tmp_path_factory, data):
    """Oracle: nothing but records and MRTError comes out."""
    folder = tmp_path_factory.mktemp("damaged")
    write_records(folder, [image_record(b"x" * size, size) for size in (0, 5, 12)])
    path = folder / data.draw(st.sampled_from(["val.rec", "val.idx"]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[:data.draw(st.integers(0, len(content)))])
    try:
        for record in opened(folder):
            assert record.labels.dtype == np.float32 and isinstance(record.encoded, bytes)
    except MRTError:
        pass
