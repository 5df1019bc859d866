"""Structure-level damage of binary parameter files: whole arrays and names are exchanged, the lengths stay right."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

from tests.hostile.byte_mutation import extreme
from tests.hostile.layouts import Layout

NAMES = (b"", b"arg:", b"aux:", b"data", b"arg:data", b"\xff\xfe", b"\0", b"x" * 600, "ä".encode(), b"arg:arg:a",
         b"a b", b"self")
SPECIAL = {4: (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\0\0\x80\xff", b"\1\0\0\0", b"\0\0\0\x80"),
           1: (b"\x80", b"\x7f", b"\xff")}


def mutate_params(content: bytes, random: Random, layout: Layout,
                  pack: Callable[[list[bytes], list[bytes]], bytes]) -> bytes:
    """An intact file after one change of its arrays, names or values."""
    arrays, names = list(layout.arrays), list(layout.names)
    first, second = random.randrange(len(arrays)), random.randrange(len(arrays))
    kind = random.randrange(9)
    if kind == 0:  # two parameters change places
        arrays[first], arrays[second] = arrays[second], arrays[first]
    elif kind == 1:  # one is missing
        del arrays[first], names[first]
    elif kind == 2:  # one stands twice, under the same name or another
        arrays.append(arrays[first])
        names.append(random.choice((names[first], names[first] + b"_", names[first].removeprefix(b"arg:"))))
    elif kind == 3:  # a name is another
        names[first] = random.choice((*NAMES, names[first].upper(), names[first].replace(b"arg:", b"aux:")))
    elif kind == 4:  # counts of names and arrays differ
        del random.choice((arrays, names))[first]
    elif kind == 5:  # values are NaN, infinite or extreme
        return _with_value(content, random, *layout.values[first])
    elif kind == 6:  # an array is cut or longer, its header is not
        count = random.randint(1, 8)
        arrays[first] = random.choice((arrays[first][:-count], arrays[first] + bytes(count)))
    elif kind == 7:  # an integer of a header is extreme
        arrays[first] = _with_header(arrays[first], random)
    else:  # many arrays
        count = random.choice((50, 1000))
        arrays += [arrays[first]] * count if len(arrays[first]) < 300 else []
        names += [names[first] + str(number).encode() for number in range(len(arrays) - len(names))]
    return pack(arrays, names)


def _with_value(content: bytes, random: Random, begin: int, size: int) -> bytes:
    special = random.choice(SPECIAL[4 if size % 4 == 0 else 1])
    count = size // len(special)
    if not count:
        return content
    position = begin + len(special) * random.randrange(count)
    repeats = random.choice((1, (begin + size - position) // len(special)))
    return content[:position] + special * repeats + content[position + len(special) * repeats:]


def _with_header(array: bytes, random: Random) -> bytes:
    width = random.choice((4, 4, 8))
    position = 4 * random.randrange(0, min(len(array) - width, 64) // 4 + 1)
    near = struct.unpack_from("<i", array, position)[0] + random.choice((-1, 1))
    field = random.choice((extreme(width, random), (near % 2 ** (8 * width)).to_bytes(width, "little")))
    return array[:position] + field + array[position + width:]
