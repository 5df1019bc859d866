"""The binary layout of MXNet parameter files, read with every length checked before it is believed.

Little-endian: uint64 0x112, uint64 reserved, uint64 count, the arrays, uint64 count of names, each name as
uint64 length and UTF-8 text. An array is, by its first uint32 (src/ndarray/ndarray.cc of MXNet 1.9):

    0xF993faca (V3, NumPy shapes)   int32 storage type, int32 ndim, int64 dims, device, int32 dtype, values
    0xF993fac9 (V2)                 the same
    0xF993fac8 (V1)                 int32 ndim, int64 dims, device, int32 dtype, values
    ndim (before V1)                uint32 dims, device, int32 dtype, values

The device is two int32 that say nothing of the values. Where there is no array (V3: ndim or a dim is -1;
else: ndim is 0), the entry ends after the dims.
"""

from __future__ import annotations

import struct
from math import prod
from typing import BinaryIO, NoReturn

import numpy as np

from bridges.mxnet.symbol import show
from mrt_torch.errors import InvalidFileError

LIST_MAGIC = 0x112
V1_MAGIC, V2_MAGIC, V3_MAGIC = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
# By MXNet's type flag (3rdparty/mshadow/mshadow/base.h).
DTYPES = tuple(np.dtype(name) for name in
               ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?", "<i2", "<u2", "<u4", "<u8"))
BFLOAT16_FLAG = 12
SPARSE_STORAGE = {1: "row_sparse", 2: "csr"}
MOST_DIMENSIONS = 32  # of NumPy 1

# Every array and name costs Python objects of some hundred bytes beyond its bytes in the file. These limits,
# far above any network, keep the memory below three times the file's size plus 64 MiB for hostile files too.
MOST_ARRAYS = 2**15
LONGEST_NAME = 512  # bytes
_MOST_ELEMENTS = 2**59
_ALIGNMENT = 16  # bytes; no dtype needs more


class ParamsReader:
    """Reads one file front to back.

    Args:
        stream: the open file.
        size: its length in bytes; nothing larger than what is left of it is ever allocated.
        source: its name in errors.
    """

    def __init__(self, stream: BinaryIO, size: int, source: str):
        self._stream = stream
        self._size = size
        self._source = source
        self._offset = 0
        self._entry = "the header"
        self._pool = np.empty(0, np.uint8)
        self._pool_used = 0

    def read(self) -> dict[str, np.ndarray]:
        """Return all arrays by name.

        Raises:
            InvalidFileError: something is missing, left over, or not of the layout.
        """
        magic, _, count = self._unpack("<3Q")
        if magic != LIST_MAGIC:
            self._fail(f"the file starts with {magic:#x} instead of {LIST_MAGIC:#x}",
                       "give a file that mx.nd.save made, or one that ends in .params")
        if count > MOST_ARRAYS:
            self._fail(f"{count} arrays are announced; {MOST_ARRAYS} is the limit")
        # One block for all values: the system needs three times as long to provide many of some megabytes.
        self._pool = np.empty(self._size + count * _ALIGNMENT, np.uint8)
        arrays = []
        for index in range(count):
            self._entry = f"array {index} of {count}"
            arrays.append(self._read_array())
        self._entry = "the list of names"
        names = self._read_names(count)
        self._entry = "the end"
        if self._offset != self._size:
            self._fail(f"{self._size - self._offset} bytes are left over")
        for name, array in zip(names, arrays, strict=True):
            if array is None:
                self._entry = f"the parameter {show(name)}"
                self._fail("it holds no array", "give the parameter a value, or remove it, and save again")
        return dict(zip(names, arrays, strict=True))

    def _read_names(self, count: int) -> list[str]:
        (name_count,) = self._unpack("<Q")
        if name_count == 0 and count:
            self._fail(f"the {count} arrays have no names",
                       "save a dictionary of names and arrays: mx.nd.save(path, {name: array})")
        if name_count != count:
            self._fail(f"there are {name_count} names for {count} arrays")
        names: dict[str, None] = {}
        for index in range(count):
            self._entry = f"name {index} of {count}"
            (length,) = self._unpack("<Q")
            if length > LONGEST_NAME:
                self._fail(f"the name is {length} bytes long; {LONGEST_NAME} is the limit")
            encoded = self._take(length)
            try:
                name = encoded.decode("utf-8")
            except UnicodeDecodeError:
                self._fail(f"the name {show(encoded)} is not UTF-8")
            if name in names:
                self._fail(f"the name {show(name)} stands twice")
            names[name] = None
        return list(names)

    def _read_array(self) -> np.ndarray | None:
        (magic,) = self._unpack("<I")
        if magic in (V2_MAGIC, V3_MAGIC):
            (storage,) = self._unpack("<i")
            if storage in SPARSE_STORAGE:
                self._fail(f"it is sparse ({SPARSE_STORAGE[storage]})",
                           "convert it with array.tostype('default') in MXNet and save again")
            if storage != 0:
                self._fail(f"the storage type is {storage}; 0 (dense) is expected")
        shape = self._read_shape(magic)
        if shape is None:
            return None
        _, _, flag = self._unpack("<3i")
        if not 0 <= flag <= BFLOAT16_FLAG:
            self._fail(f"the type flag is {flag}; 0 to {BFLOAT16_FLAG} are known")
        if flag < BFLOAT16_FLAG:
            return self._read_values(shape, DTYPES[flag])
        # A bfloat16 is the upper half of a float32.
        widened = self._read_values(shape, np.dtype("<u2")).astype("<u4")
        return np.left_shift(widened, np.uint32(16), out=widened).view("<f4")

    def _read_shape(self, magic: int) -> tuple[int, ...] | None:
        if magic in (V1_MAGIC, V2_MAGIC, V3_MAGIC):
            (rank,) = self._unpack("<i")
            dim_code = "q"
        else:
            rank, dim_code = magic, "I"
        if rank == (-1 if magic == V3_MAGIC else 0):
            return None
        if not 0 <= rank <= MOST_DIMENSIONS:
            self._fail(f"{rank} is neither a number of dimensions up to {MOST_DIMENSIONS} nor the mark of a "
                       "known format")
        shape = self._unpack(f"<{rank}{dim_code}")
        if magic == V3_MAGIC and -1 in shape and min(shape) == -1:
            return None
        least = 0 if magic == V3_MAGIC else 1  # without NumPy shapes, 0 stands for an unknown extent
        if any(dim < least for dim in shape):
            self._fail(f"the shape is {shape}; extents of at least {least} are expected")
        return shape

    def _read_values(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        size = prod(shape) * dtype.itemsize
        self._require(size, f"the values, of shape {shape} and dtype {dtype}, take")
        if prod(max(dim, 1) for dim in shape) > _MOST_ELEMENTS:  # possible beside an extent of 0
            self._fail(f"the shape {shape} is beyond what NumPy can address")
        values = self._pool[self._pool_used:self._pool_used + size]
        if self._stream.readinto(values) != size:
            self._fail("the file became shorter while it was read")
        self._offset += size
        self._pool_used += size + -size % _ALIGNMENT
        if dtype == np.bool_ and size and values.max() > 1:
            self._fail(f"a truth value is {values.max()}; 0 and 1 are expected")
        return values.view(dtype).reshape(shape)

    def _unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))

    def _take(self, count: int) -> bytes:
        self._require(count, "the next field takes")
        taken = self._stream.read(count)
        if len(taken) != count:
            self._fail("the file became shorter while it was read")
        self._offset += count
        return taken

    def _require(self, count: int, what: str) -> None:
        if count > self._size - self._offset:
            self._fail(f"the file is truncated: {what} {count} bytes, {self._size - self._offset} are left",
                       "fetch the file again")

    def _fail(self, why: str, remedy: str = "save the parameters again with MXNet") -> NoReturn:
        where = f"{self._source}, {self._entry}, byte {self._offset}"
        raise InvalidFileError("MXNet parameters cannot be read", where=where, why=why, remedy=remedy)
