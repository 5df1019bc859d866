"""Values of a configuration: from their text, or from the types of TOML. Nothing is evaluated."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline.value_types import (
    BOOL,
    DEVICE,
    FLOAT,
    INT,
    JSON,
    PATH,
    STR,
    TUPLE,
    described,
    element_of,
    levels_of,
)

INVALID, INTEGERS_ONLY = "Not a valid value", "Only support integer value"
LEVELS_DIFFER, DEVICES_ONLY = "Dict level not consistent", "Only support `gpu`, `cpu` and null value"
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


def refusal(what: str, where: str, value: Any, remedy: str, reason: str = "") -> InvalidArgumentError:
    """The error for a value of an option: the documented message, the option, the value and what to write."""
    return InvalidArgumentError(what, where=where, why=f"saw {value!r:.200}" + (f": {reason}" if reason else ""),
                                remedy=remedy)


def parse_value(text: str, dtype: str, where: str) -> Any:
    """The value that a text stands for.

    Lists are split at commas and lines, maps also at ``:``, but for those in brackets or double quotes; empty entries,
    such as that after a last comma, do not count.

    Args:
        text: what the file says.
        dtype: of ``value_types``.
        where: names the option, for messages.

    Raises:
        InvalidArgumentError: the text is none of that type; with the message that MRT documents for it.
    """
    element, levels = element_of(dtype), levels_of(dtype)
    if element is not None:
        return tuple(parse_value(entry, element, where) for entry in _entries(text))
    if levels is not None:
        return _nested((_parsed_entry(entry, levels, where) for entry in _entries(text)), where)
    return _reader(_FROM_TEXT, dtype, where)(text.strip(), where)


def native_value(value: Any, dtype: str, where: str) -> Any:
    """The value of a TOML document as the type of an option; arguments and errors as for ``parse_value``."""
    element, levels = element_of(dtype), levels_of(dtype)
    if element is not None:
        return tuple(native_value(entry, element, where) for entry in (value if isinstance(value, list) else [value]))
    if levels is not None:
        return _nested(_native_entries(value, levels, where), where)
    return _reader(_FROM_NATIVE, dtype, where)(value, where)


def _reader(readers: Mapping[str, Callable], dtype: str, where: str) -> Callable[[Any, str], Any]:
    if dtype not in readers:
        raise InvalidArgumentError(f"there is no type of values '{dtype}'", where=where,
                                   remedy=f"choose from {', '.join(readers)}, ARRAY and PAIR of them")
    return readers[dtype]


def _entries(text: str) -> list[str]:
    return [entry for entry in _split(text, ",\n") if entry]


def _split(text: str, separators: str) -> list[str]:
    """The stripped parts between separators outside of brackets and quotes; between all where those do not match."""
    parts, start, closing, quoted = [], 0, [], False
    for index, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif character in _BRACKETS:
            closing.append(_BRACKETS[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character in separators and not closing:
            parts.append(text[start:index].strip())
            start = index + 1
    if closing or quoted:
        return [part.strip() for part in re.split(f"[{separators}]", text)]
    return [*parts, text[start:].strip()]


def _parsed_entry(entry: str, levels: list[str], where: str) -> list[Any]:
    """The value of each level of one entry of a map."""
    parts = _split(entry, ":")
    if len(parts) != len(levels) or not all(parts):
        raise _levels_differ(entry, levels, where)
    return [parse_value(part, level, where) for part, level in zip(parts, levels, strict=True)]


def _native_entries(value: Any, levels: list[str], where: str) -> Iterable[list[Any]]:
    if len(levels) == 1:
        yield [native_value(value, levels[0], where)]
        return
    if not isinstance(value, dict):
        raise _levels_differ(value, levels, where)
    for key, below in value.items():
        for entry in _native_entries(below, levels[1:], where):
            yield [parse_value(key, levels[0], where), *entry]


def _levels_differ(entry: Any, levels: list[str], where: str) -> InvalidArgumentError:
    return refusal(LEVELS_DIFFER, where, entry, f"write every entry as {': '.join(map(described, levels))}")


def _nested(entries: Iterable[list[Any]], where: str) -> dict[Any, Any]:
    """Nested maps of entries (key, ..., value)."""
    found: dict[Any, Any] = {}
    for *keys, last, value in entries:
        level = found
        for key in keys:
            level = level.setdefault(key, {})
        if last in level:
            raise refusal(f"Duplicate key `{[*keys, last]}`", where, value, "keep one of the two entries")
        level[last] = value
    return found


def _text(text: Any, where: str) -> str:
    if isinstance(text, int) and not isinstance(text, bool):
        return str(text)
    if not isinstance(text, str) or "\0" in text:
        raise refusal(INVALID, where, text, "write a text")
    return text


def _integer(text: str, where: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise refusal(INTEGERS_ONLY, where, text, "write digits, such as 16")
    return int(text)


def _number(text: str, where: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise refusal(INVALID, where, text, "write a number, such as 2.5 or 1e-3")
    return _finite(float(text), where)


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise refusal(INVALID, where, value, "write a finite number")
    return value


def _truth(text: str, where: str) -> bool:
    if text.lower() not in _TRUTH:
        raise refusal(INVALID, where, text, "write True or False")
    return _TRUTH[text.lower()]


def _integers(text: str, where: str) -> tuple[int, ...]:
    inner = text[1:-1] if text[:1] in _BRACKETS and text[-1:] == _BRACKETS[text[:1]] else text
    parts = [part.strip() for part in inner.strip().removesuffix(",").split(",")]
    if not all(_INTEGER.fullmatch(part) for part in parts):
        raise refusal(INVALID, where, text, "write integers between commas, such as (-1, 3, 224, 224)")
    return tuple(map(int, parts))


def _path(text: str, where: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(_text(text, where))))


def _device(text: str, where: str) -> str:
    if text not in ("", "cpu", "gpu"):
        raise refusal(DEVICES_ONLY, where, text, "write cpu, or gpu with its Device_ids")
    return text


def _native(kinds: type | tuple[type, ...], message: str, remedy: str, convert: Callable[[Any], Any] = lambda v: v
            ) -> Callable[[Any, str], Any]:
    """A reader of values of some types; bool is an int only where it is named."""
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise refusal(message, where, value, remedy)
        return convert(value)
    return read


def _native_number(value: Any, where: str) -> float:
    number = _native((int, float), INVALID, "write a number, such as 2.5")(value, where)
    return _finite(float(number) if abs(number) < 1e308 else math.inf, where)


def _native_integers(value: Any, where: str) -> tuple[int, ...]:
    read = _native(int, INVALID, "write integers, such as [-1, 3, 224, 224]")
    return tuple(read(entry, where) for entry in _native(list, INVALID, "write a list of integers")(value, where))


_FROM_TEXT: dict[str, Callable[[str, str], Any]] = {
    STR: _text, INT: _integer, FLOAT: _number, BOOL: _truth, TUPLE: _integers, PATH: _path, DEVICE: _device,
    JSON: _text}
_FROM_NATIVE: dict[str, Callable[[Any, str], Any]] = {
    STR: _text, INT: _native(int, INTEGERS_ONLY, "write an integer, such as 16"), FLOAT: _native_number,
    BOOL: _native(bool, INVALID, "write true or false"), TUPLE: _native_integers,
    PATH: _native(str, INVALID, "write a text"), DEVICE: _device, JSON: lambda value, where: value}
