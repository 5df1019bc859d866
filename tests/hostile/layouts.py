"""Where the integers, arrays and names of intact binary files stand, so that mutations can aim at them."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod

import numpy as np

from tests.bridges.mxnet.packed_params import CPU, pack
from tests.hostile.byte_mutation import Field

MXNET_MAGICS = {"V1": 0xF993FAC8, "V2": 0xF993FAC9, "V3": 0xF993FACA}
MXNET_SIZES = (4, 8, 2, 1, 4, 1, 8, 1, 2, 2, 4, 8, 2)  # bytes of an element by type flag
CVM_PACKED_HEADER = struct.Struct("<QQiiiBBH")


@dataclass(frozen=True)
class Layout:
    """A params file taken apart.

    Attributes:
        fields: its integers.
        arrays: bytes of each array with its header.
        values: where the values of each array stand.
        names: bytes of each name.
    """

    fields: tuple[Field, ...]
    arrays: tuple[bytes, ...]
    values: tuple[tuple[int, int], ...]
    names: tuple[bytes, ...]


class _Walker:
    def __init__(self, content: bytes, offset: int = 0):
        self.content, self.offset, self.fields = content, offset, []

    def integer(self, width: int) -> int:
        self.fields.append((self.offset, width))
        self.offset += width
        return int.from_bytes(self.content[self.offset - width:self.offset], "little", signed=width < 8)

    def skip(self, size: int) -> bytes:
        self.offset += size
        return self.content[self.offset - size:self.offset]


def mxnet_layout(content: bytes) -> Layout:
    """Layout of an intact MXNet parameter file."""
    walker = _Walker(content)
    count = [walker.integer(8) for _ in range(3)][-1]
    arrays, values = [], []
    for _ in range(count):
        begin = walker.offset
        magic = walker.integer(4) % 2 ** 32
        rank, width = magic, 4
        if magic in MXNET_MAGICS.values():
            if magic != MXNET_MAGICS["V1"]:
                walker.integer(4)
            rank, width = walker.integer(4), 8
        shape = [walker.integer(width) for _ in range(rank)]
        flag = [walker.integer(4) for _ in range(3)][-1]
        values.append((walker.offset, prod(shape) * MXNET_SIZES[flag]))
        walker.skip(prod(shape) * MXNET_SIZES[flag])
        arrays.append(content[begin:walker.offset])
    names = [walker.skip(walker.integer(8)) for _ in range(walker.integer(8))]
    return Layout(tuple(walker.fields), tuple(arrays), tuple(values), tuple(names))


def cvm_layout(content: bytes) -> Layout:
    """Layout of an intact CVM ``params`` file."""
    walker = _Walker(content)
    count = [walker.integer(8) for _ in range(3)][-1]
    names = [walker.skip(walker.integer(8)) for _ in range(count)]
    walker.integer(8)
    arrays, values = [], []
    for _ in range(count):
        begin = walker.offset
        rank = [walker.integer(width) for width in (8, 8, 4, 4, 4, 1, 1, 2)][4]
        for _ in range(rank):
            walker.integer(8)
        size = walker.integer(8)
        values.append((walker.offset, size))
        walker.skip(size)
        arrays.append(content[begin:walker.offset])
    return Layout(tuple(walker.fields), tuple(arrays), tuple(values), tuple(names))


def pack_mxnet(arrays: list[bytes], names: list[bytes]) -> bytes:
    """An MXNet parameter file."""
    return pack(arrays, names)


def pack_cvm(arrays: list[bytes], names: list[bytes]) -> bytes:
    """A CVM ``params`` file."""
    return b"".join([struct.pack("<3Q", 0xF7E58D4F05049CB7, 0, len(names)),
                     *(struct.pack("<Q", len(name)) + name for name in names),
                     struct.pack("<Q", len(arrays)), *arrays])


def mxnet_file(params: dict[str, np.ndarray], version: str) -> bytes:
    """float32 parameters in the format ``legacy``, ``V1``, ``V2`` or ``V3``."""
    packed = []
    for array in params.values():
        header = struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape)
        if version != "legacy":
            storage = b"" if version == "V1" else struct.pack("<i", 0)
            header = (struct.pack("<I", MXNET_MAGICS[version]) + storage
                      + struct.pack(f"<i{array.ndim}q", array.ndim, *array.shape))
        packed.append(header + CPU + struct.pack("<i", 0) + array.astype("<f4").tobytes())
    return pack(packed, [name.encode() for name in params])


def split_safetensors(content: bytes) -> tuple[str, bytes]:
    """JSON header and data of an intact safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    json.loads(content[8:8 + length])
    return content[8:8 + length].decode(), content[8 + length:]


def join_safetensors(header: str, data: bytes) -> bytes:
    """A safetensors file."""
    encoded = header.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(encoded)) + encoded + data
