"""Parameter files packed by hand from the layout in MXNet's source (src/ndarray/ndarray.cc)."""

from __future__ import annotations

import struct

CPU = struct.pack("<2i", 1, 0)


def pack(arrays: list[bytes], names: list[bytes]) -> bytes:
    """A file of packed arrays."""
    return b"".join([struct.pack("<3Q", 0x112, 0, len(arrays)), *arrays, struct.pack("<Q", len(names)),
                     *(struct.pack("<Q", len(name)) + name for name in names)])


def pack_dense(shape: tuple[int, ...], flag: int, values: bytes, magic: int = 0xF993FAC9,
               storage: int = 0) -> bytes:
    """A V2 or V3 array."""
    header = struct.pack(f"<Iii{len(shape)}q", magic, storage, len(shape), *shape)
    return header + CPU + struct.pack("<i", flag) + values
