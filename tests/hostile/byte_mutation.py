"""Byte-level damage: what a broken disk, a broken download or an attacker makes of a file."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

Field = tuple[int, int]  # offset and length in bytes of a little-endian integer

TOKENS = (b'"', b"[", b"]", b"{", b"}", b",", b":", b"-", b"\\", b"null", b"true", b"1e999", b"\\u0000", b"\xff", b"\0",
          b"9" * 30, b"[" * 300, b"NaN", b"\xef\xbb\xbf")
LONGEST_INSERTION = 64


def mutate_bytes(content: bytes, random: Random, other: bytes = b"", fields: Sequence[Field] = ()) -> bytes:
    """``content`` after one to three mutations.

    Args:
        content: the intact file.
        random: decides everything.
        other: another intact file of the format, to splice with.
        fields: integer fields of the layout; half of the mutations aim at them where there are any.
    """
    for _ in range(random.choice((1, 1, 2, 3))):
        if fields and random.random() < 0.5:
            content = overwrite_field(content, random, fields)
        else:
            content = random.choice(MUTATIONS)(content, random, other)
    return content


def flip(content: bytes, random: Random, other: bytes) -> bytes:
    """One bit, or one byte, is another."""
    if not content:
        return content
    changed = bytearray(content)
    position = random.randrange(len(content))
    changed[position] ^= random.choice((1 << random.randrange(8), random.randrange(1, 256)))
    return bytes(changed)


def insert(content: bytes, random: Random, other: bytes) -> bytes:
    """Random bytes, or a piece of syntax, come in between."""
    position = random.randint(0, len(content))
    noise = bytes(random.randrange(256) for _ in range(random.randint(1, LONGEST_INSERTION)))
    return content[:position] + random.choice((noise, random.choice(TOKENS))) + content[position:]


def delete(content: bytes, random: Random, other: bytes) -> bytes:
    """A stretch is lost."""
    begin = random.randint(0, len(content))
    return content[:begin] + content[begin + _length(len(content), random):]


def truncate(content: bytes, random: Random, other: bytes) -> bytes:
    """The end is lost."""
    return content[:random.randint(0, max(len(content) - 1, 0))]


def duplicate(content: bytes, random: Random, other: bytes) -> bytes:
    """A stretch stands twice, or the whole file does."""
    if random.random() < 0.05:
        return content + content
    begin = random.randint(0, len(content))
    end = begin + _length(len(content), random)
    return content[:end] + content[begin:]


def splice(content: bytes, random: Random, other: bytes) -> bytes:
    """The beginning of this file, the end of another."""
    other = other or content
    return content[:random.randint(0, len(content))] + other[random.randint(0, len(other)):]


def overwrite(content: bytes, random: Random, other: bytes) -> bytes:
    """An integer anywhere is set to an extreme value."""
    width = random.choice((1, 2, 4, 8))
    if len(content) < width:
        return content
    last = len(content) - width
    begin = random.choice((random.randint(0, last), random.randint(0, min(last, 64))))
    return content[:begin] + extreme(width, random) + content[begin + width:]


def overwrite_field(content: bytes, random: Random, fields: Sequence[Field]) -> bytes:
    """An integer field is set to an extreme value, or to one near its own."""
    begin, width = random.choice(fields)
    if begin + width > len(content):
        return content
    if random.random() < 0.4:
        value = int.from_bytes(content[begin:begin + width], "little") + random.choice((-2, -1, 1, 2, 7))
        field = (value % 256 ** width).to_bytes(width, "little")
    else:
        field = extreme(width, random)
    return content[:begin] + field + content[begin + width:]


def extreme(width: int, random: Random) -> bytes:
    """A little-endian integer at or next to a limit of its width, or a power of two."""
    bits = 8 * width
    power = 1 << random.randrange(bits)
    value = random.choice((0, 1, -1, -2, 2 ** (bits - 1) - 1, 2 ** (bits - 1), 2 ** bits - 8, power, -power))
    return (value % 2 ** bits).to_bytes(width, "little")


def _length(size: int, random: Random) -> int:
    return random.choice((1, random.randint(1, 16), random.randint(0, max(size // 4, 1))))


MUTATIONS = (flip, flip, insert, delete, truncate, duplicate, splice, overwrite)
