"""The CVM ``params`` file: named integer arrays, little-endian, without padding.

Source: the CVM deployment format (CortexFoundation cvm-runtime, ``param_dict.cc`` and ``ndarray.h``)::

    u64 list magic, u64 0, u64 N, N x (u64 length, name), u64 N, N x array
    array: u64 array magic, u64 0, i32 device type 1, i32 device id 0, i32 ndim, u8 code 0, u8 bits, u16 lanes
           1, i64 x ndim shape, i64 bytes, data
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping

import numpy as np

from mrt_torch.errors import ExportError, InvalidFileError

LIST_MAGIC = 0xF7E58D4F05049CB7
ARRAY_MAGIC = 0xDD5E40F096B4A13F
CPU_DEVICE = 1
SIGNED_INTEGER = 0
DTYPES = {8: np.dtype("<i1"), 32: np.dtype("<i4")}
LARGEST_FILE = 2 ** 31 - 1  # the runtime takes lengths as a C int
LARGEST_RANK = 6

_HEADER = struct.Struct("<QQQ")
_COUNT = struct.Struct("<Q")
_ARRAY_HEADER = struct.Struct("<QQiiiBBH")
_SIGNED = struct.Struct("<q")


def format_params(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Bytes of the ``params`` file for int8 and int32 arrays, in the order of the mapping.

    Raises:
        ExportError: the file would be larger than the runtime can take (2 GiB), or an array is of another
            dtype.
    """
    chunks = [_HEADER.pack(LIST_MAGIC, 0, len(arrays))]
    for name in arrays:
        encoded = name.encode("ascii")
        chunks += [_COUNT.pack(len(encoded)), encoded]
    chunks.append(_COUNT.pack(len(arrays)))
    for name, array in arrays.items():
        bits = 8 * array.dtype.itemsize
        if array.dtype.kind != "i" or bits not in DTYPES:
            raise ExportError("a CVM parameter must be int8 or int32", where=f"parameter '{name}'",
                              why=f"it is {array.dtype}", remedy="lower the graph first, which chooses the types")
        contiguous = np.ascontiguousarray(array, DTYPES[bits])
        chunks.append(_ARRAY_HEADER.pack(ARRAY_MAGIC, 0, CPU_DEVICE, 0, array.ndim, SIGNED_INTEGER, bits, 1))
        chunks.append(struct.pack(f"<{array.ndim}q", *array.shape))
        chunks.append(_SIGNED.pack(contiguous.nbytes))
        chunks.append(contiguous.tobytes())
    size = sum(map(len, chunks))
    if size > LARGEST_FILE:
        raise ExportError("the parameters are too large for the CVM runtime", where="file 'params'",
                          why=f"{size} bytes, the runtime takes {LARGEST_FILE} at most",
                          remedy="use a smaller model")
    return b"".join(chunks)


def parse_params(data: bytes, source: str = "params") -> dict[str, np.ndarray]:
    """Arrays of a ``params`` file by name, int8 or int32 as stored, in file order.

    The runtime itself does not notice truncated files and reads uninitialised memory instead; here every
    length is compared with what is left of the file before anything of that size is allocated. Errors name ``source``,
    usually the path.

    Raises:
        InvalidFileError: gives the offset of the field that is wrong.
    """
    reader = _Reader(data, source)
    magic, _, count = reader.unpack(_HEADER, "the header")
    if magic != LIST_MAGIC:
        raise reader.error(0, f"the magic number is {magic:#x}, expected {LIST_MAGIC:#x}")
    if count > reader.remaining // _COUNT.size:
        raise reader.error(16, f"{count} names are announced, {reader.remaining} bytes are left")
    names = [reader.name() for _ in range(count)]
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise reader.error(24, f"names are repeated: {repeated[:5]}")
    start = reader.offset
    (arrays,) = reader.unpack(_COUNT, "the number of arrays")
    if arrays != count:
        raise reader.error(start, f"{arrays} arrays for {count} names")
    parameters = {name: reader.array(name) for name in names}
    if reader.remaining:
        raise reader.error(reader.offset, f"{reader.remaining} bytes follow the last array")
    return parameters


class _Reader:
    """Reads fields from bytes; every one is checked against what is left."""

    def __init__(self, data: bytes, source: str):
        self._data = memoryview(data)
        self._source = source
        self.offset = 0

    @property
    def remaining(self) -> int:
        return len(self._data) - self.offset

    def error(self, offset: int, why: str) -> InvalidFileError:
        return InvalidFileError("not a valid CVM params file", where=f"{self._source}, byte offset {offset}", why=why,
                                remedy="export the model again; the file may be truncated or no params file")

    def take(self, size: int, what: str) -> memoryview:
        if not 0 <= size <= self.remaining:
            raise self.error(self.offset, f"{what} needs {size} bytes, {self.remaining} are left")
        self.offset += size
        return self._data[self.offset - size:self.offset]

    def unpack(self, fields: struct.Struct, what: str) -> tuple:
        return fields.unpack(self.take(fields.size, what))

    def name(self) -> str:
        start = self.offset
        (length,) = self.unpack(_COUNT, "the length of a name")
        try:
            return str(self.take(length, "a name"), "utf-8")
        except UnicodeDecodeError as error:
            raise self.error(start, f"a name is not text: {error}") from error

    def array(self, name: str) -> np.ndarray:
        start = self.offset
        header = self.unpack(_ARRAY_HEADER, f"the header of array '{name}'")
        magic, _, device, _, rank, code, bits, lanes = header
        if magic != ARRAY_MAGIC:
            raise self.error(start, f"the magic number of array '{name}' is {magic:#x}, "
                                    f"expected {ARRAY_MAGIC:#x}")
        if device != CPU_DEVICE:
            raise self.error(start + 16, f"array '{name}' is for device type {device}, expected {CPU_DEVICE}")
        if not 1 <= rank <= LARGEST_RANK:
            raise self.error(start + 24, f"array '{name}' has {rank} dimensions, expected 1..{LARGEST_RANK}")
        if code != SIGNED_INTEGER or bits not in DTYPES or lanes != 1:
            raise self.error(start + 28, f"array '{name}' has type code {code}, {bits} bits, {lanes} lanes; "
                                         "expected signed integers of 8 or 32 bits")
        shape_offset = self.offset
        shape = self.unpack(struct.Struct(f"<{rank}q"), f"the shape of array '{name}'")
        if min(shape) < 1:
            raise self.error(shape_offset, f"array '{name}' has the shape {shape}")
        expected = math.prod(shape) * DTYPES[bits].itemsize
        size_offset = self.offset
        (size,) = self.unpack(_SIGNED, f"the size of array '{name}'")
        if size != expected:
            raise self.error(size_offset, f"array '{name}' has {size} bytes, "
                                          f"its shape {shape} needs {expected}")
        values = np.frombuffer(self.take(size, f"array '{name}'"), DTYPES[bits])
        return values.reshape(shape).astype(DTYPES[bits].newbyteorder("="))
