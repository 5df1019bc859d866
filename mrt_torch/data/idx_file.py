"""Reader of idx files, the format of MNIST.

Two zero bytes, a byte for the type, a byte for the number of dimensions, a big-endian uint32 for each extent, then the
values by row, big-endian. The file may be compressed by gzip. (yann.lecun.com/exdb/mnist)
"""

from __future__ import annotations

import gzip
import os
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mrt_torch.errors import InvalidFileError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_DIMENSIONS = 8
_COMPRESSED = b"\x1f\x8b"
_CHUNK = 1 << 24  # bytes read at a time: extents that lie take no memory


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of an idx file, compressed or not, in the byte order of this machine.

    Raises:
        InvalidFileError: another format, or fewer or more values than the extents say.
    """
    path = Path(path)
    with open(path, "rb") as file:
        compressed = file.read(len(_COMPRESSED)) == _COMPRESSED
        file.seek(0)
        try:
            return _read(gzip.GzipFile(fileobj=file) if compressed else file, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _invalid(path, file.tell(), f"gzip: {error}") from error


def _read(file: BinaryIO, path: Path) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or not 1 <= head[3] <= _MOST_DIMENSIONS:
        raise _invalid(path, 0, f"expected two zero bytes, a type and the number of dimensions, saw {head.hex(' ')}")
    extents = file.read(4 * head[3])
    if len(extents) < 4 * head[3]:
        raise _invalid(path, 4, f"{head[3]} extents expected, the file ends")
    shape, dtype = np.frombuffer(extents, ">u4").tolist(), np.dtype(TYPES[head[2]])
    start, size = 4 + len(extents), prod(shape) * dtype.itemsize
    values = bytearray()
    while len(values) <= size and (chunk := file.read(min(_CHUNK, size + 1 - len(values)))):
        values += chunk
    if len(values) != size:
        seen = f"the file ends after {len(values)}" if len(values) < size else "there are more"
        raise _invalid(path, start + min(len(values), size), f"{size} bytes expected for extents {shape}, {seen}")
    return np.frombuffer(values, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _invalid(path: Path, offset: int, why: str) -> InvalidFileError:
    return InvalidFileError("an idx file cannot be read", where=f"{path}, byte offset {offset}", why=why,
                            remedy="copy the file again, whole")
