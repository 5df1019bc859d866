"""Reader of MXNet's record files, without MXNet.

A record file (``.rec``) is a sequence of parts, all numbers little-endian:

    uint32 magic 0xCED7230A, uint32 flag << 29 | length, ``length`` bytes, zeros up to a multiple of 4

Flag 0 is a whole record. A record that holds the magic number at a multiple of 4 is cut there, and the magic number is
left out: flag 1 starts such a record, 2 continues it, 3 ends it. An index file (``.idx``) is a text of lines
``key <tab> byte offset``. An image record begins with

    uint32 flag, float32 label, uint64 id, uint64 second id

and, where flag > 0, as many float32 labels that take the place of the first; the rest is an encoded image.
(dmlc-core ``recordio.h``, MXNet ``recordio.py`` and ``image_recordio.h``.)
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mrt_torch.errors import InvalidFileError

MAGIC = struct.pack("<I", 0xCED7230A)
_PART = struct.Struct("<4sI")
_IMAGE = struct.Struct("<IfQQ")
_LENGTH_BITS = 29
_WHOLE, _START, _MIDDLE, _END = range(4)
_INDEX_LINE = re.compile(rb"([0-9]{1,19})[ \t]+([0-9]{1,18})")


@dataclass(frozen=True)
class ImageRecord:
    """An encoded image with its labels.

    Attributes:
        labels: (L,) float32, one or more.
        identifier: number of the image.
        encoded: JPEG or PNG.
    """

    labels: np.ndarray
    identifier: int
    encoded: bytes


class IndexedRecordFile:
    """The image records of a ``.rec`` file in the order of its ``.idx`` file, read one by one.

    Raises:
        InvalidFileError: the index is damaged, empty, or leads outside the record file.
    """

    def __init__(self, record_file: str | os.PathLike[str], index_file: str | os.PathLike[str]):
        self.record_file, self.index_file = Path(record_file), Path(index_file)
        self.keys, self._offsets = read_index(self.index_file)
        size = self.record_file.stat().st_size
        for key, offset in zip(self.keys, self._offsets):
            if offset + _PART.size > size:
                raise InvalidFileError("an index leads outside its record file", where=f"{index_file}, key {key}",
                                       why=f"offset {offset}, {record_file} has {size} bytes",
                                       remedy="use the .idx and .rec files that were made together, and whole")

    def __len__(self) -> int:
        return len(self.keys)

    def where(self, index: int) -> str:
        """Place of a record, for messages."""
        return f"{self.record_file}, key {self.keys[index]}, byte offset {self._offsets[index]}"

    def __getitem__(self, index: int) -> ImageRecord:
        """The record of a line of the index.

        Raises:
            InvalidFileError: the record is damaged.
            IndexError: there is none.
        """
        offset = self._offsets[index]
        # Opened for every record: workers of a DataLoader must not share the position of one file.
        with open(self.record_file, "rb") as file:
            return parse_image_record(read_record(file, offset), self.where(index))


def read_index(path: Path) -> tuple[list[int], list[int]]:
    """Keys and byte offsets of an index file, in the order of its lines.

    Raises:
        InvalidFileError: a line that is no pair of numbers, a key or an offset twice, or nothing at all.
    """
    keys: dict[int, int] = {}  # to line numbers
    offsets: dict[int, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        match = _INDEX_LINE.fullmatch(line.strip())
        if match is None:
            raise _invalid_index(path, number, f"expected a key, a tab and an offset, saw {line[:40]!r}")
        key, offset = map(int, match.groups())
        for kind, seen, value in (("key", keys, key), ("offset", offsets, offset)):
            if value in seen:
                raise _invalid_index(path, number, f"line {seen[value]} has {kind} {value} too")
            seen[value] = number
    if not keys:
        raise _invalid_index(path, 1, "it lists no record")
    return list(keys), list(offsets)


def read_record(file: BinaryIO, offset: int) -> bytes:
    """The record that starts at a byte offset, its parts joined again.

    Raises:
        InvalidFileError: no record starts there, or it is cut short.
    """
    parts, flag = [], _START
    file.seek(offset)
    while flag in (_START, _MIDDLE):
        position = file.tell()
        header = file.read(_PART.size)
        if len(header) < _PART.size:
            raise _invalid_record(file, position, f"{_PART.size} bytes expected, the file ends after {len(header)}")
        magic, packed = _PART.unpack(header)
        if magic != MAGIC:
            raise _invalid_record(file, position, f"magic number {MAGIC.hex()} expected, saw {magic.hex()}")
        flag, length = packed >> _LENGTH_BITS, packed & (1 << _LENGTH_BITS) - 1
        if flag not in ((_MIDDLE, _END) if parts else (_WHOLE, _START)):
            raise _invalid_record(file, position, f"a {'further' if parts else 'first'} part has flag {flag}")
        parts.append(file.read(length))
        if len(parts[-1]) < length:
            raise _invalid_record(file, position, f"{length} bytes expected, the file ends after {len(parts[-1])}")
        file.seek(-length % 4, os.SEEK_CUR)
    return MAGIC.join(parts)


def parse_image_record(record: bytes, where: str) -> ImageRecord:
    """Labels and encoded image of a record.

    Args:
        record: what ``read_record`` gave.
        where: its place, for messages.

    Raises:
        InvalidFileError: it is shorter than its header says.
    """
    if len(record) < _IMAGE.size:
        raise InvalidFileError("a record is no image record", where=where,
                               why=f"its header takes {_IMAGE.size} bytes, it has {len(record)}",
                               remedy="make the record file with MXNet's im2rec")
    count, label, identifier, _ = _IMAGE.unpack_from(record)
    start = _IMAGE.size + 4 * count
    if len(record) < start:
        raise InvalidFileError("the labels of an image record are cut short", where=where,
                               why=f"{count} labels end at byte {start}, the record has {len(record)} bytes",
                               remedy="make the record file again")
    labels = np.frombuffer(record, "<f4", count, _IMAGE.size) if count else np.array([label], "<f4")
    return ImageRecord(labels.astype(np.float32), identifier, record[start:])


def _invalid_index(path: Path, line: int, why: str) -> InvalidFileError:
    return InvalidFileError("an index of records cannot be read", where=f"{path}, line {line}", why=why,
                            remedy="make it again with MXNet's rec2idx")


def _invalid_record(file: BinaryIO, offset: int, why: str) -> InvalidFileError:
    return InvalidFileError("a record cannot be read", where=f"{file.name}, byte offset {offset}", why=why,
                            remedy="copy or make the .rec file and its .idx file again")
