"""Texts of CVM operator attributes: ``"(1, 2)"``, ``"True"``, ``"None"`` to Python values and back.

The grammar is the deployed runtime's: integers in decimal, booleans ``true/false/1/0`` in any letter case,
tuples ``(1, 2)``, ``[1, 2]``, ``(1,)``, ``(1L, 2L)``, a bare ``1`` or ``()``, an optional integer ``None``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mrt_torch.errors import InvalidFileError

# A trailing L is how Python 2 wrote a long integer; it may stand in tuples.
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_LONG = re.compile(r"([+-]?[0-9]{1,20})L?")
_TUPLE = re.compile(r"[(\[](.*)[)\]]", re.DOTALL)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_MISSING = object()


@dataclass(frozen=True)
class Field:
    """How one attribute is read: its parser, the runtime's default, and whether the torch schema has it."""

    parse: Callable[[str], Any]
    default: Any = _MISSING
    in_schema: bool = True


def parse_integer(text: str) -> int:
    """A number: 32 bits in the runtime."""
    if not _INTEGER.fullmatch(text.strip()):
        raise ValueError("expected a decimal integer")
    return _within(int(text), 31)


def _within(value: int, bits: int) -> int:
    if not -2 ** bits <= value < 2 ** bits:
        raise ValueError(f"expected an integer of {bits + 1} bits")
    return value


def parse_boolean(text: str) -> bool:
    if text.strip().lower() not in _BOOLEANS:
        raise ValueError("expected true, false, 1 or 0")
    return _BOOLEANS[text.strip().lower()]


def parse_integers(text: str) -> list[int]:
    match = _TUPLE.fullmatch(text.strip())
    if match is None:
        return [parse_integer(text)]
    items = [item.strip() for item in match.group(1).split(",")]
    if items[-1] == "":  # "()" and "(1,)"
        items.pop()
    return [_parse_item(item) for item in items]


def _parse_item(text: str) -> int:
    """An item of a tuple: 64 bits in the runtime."""
    match = _LONG.fullmatch(text)
    if match is None:
        raise ValueError("expected decimal integers")
    return _within(int(match.group(1)), 63)


def parse_optional_integer(text: str) -> int | None:
    return None if text.strip() == "None" else parse_integer(text)


def integer(default: Any = _MISSING) -> Field:
    return Field(parse_integer, default)


def boolean(default: Any = _MISSING) -> Field:
    return Field(parse_boolean, default)


def integers(default: Any = _MISSING) -> Field:
    return Field(parse_integers, default)


def optional_integer(default: Any = _MISSING) -> Field:
    return Field(parse_optional_integer, default)


def unused(field: Field) -> Field:
    """A field that is checked but says nothing that shapes or the operator do not say."""
    return Field(field.parse, field.default, in_schema=False)


def fixed(value: Any) -> Field:
    """An integer or boolean that has one supported value, the runtime's default."""
    parse = parse_boolean if isinstance(value, bool) else parse_integer

    def parse_fixed(text: str) -> Any:
        if parse(text) != value:
            raise ValueError(f"expected {value}")
        return value
    return Field(parse_fixed, value, in_schema=False)


def literal(*allowed: str) -> Field:
    """A field with only one supported meaning; the first spelling is the runtime's default."""
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"expected {' or '.join(map(repr, allowed))}")
        return text
    return Field(parse, allowed[0], in_schema=False)


def reader(operator: str, **fields: Field) -> Callable[[Mapping[str, str]], dict[str, Any]]:
    """A function from CVM ``op_attrs`` of ``operator`` to the keyword arguments of its torch schema.

    The function raises InvalidFileError for an unknown, missing or malformed attribute. Names of the form
    ``__name__`` are skipped, as the runtime does.
    """
    def read(attributes: Mapping[str, str]) -> dict[str, Any]:
        for name in attributes:
            if name not in fields and not (name.startswith("__") and name.endswith("__")):
                raise InvalidFileError(f"CVM operator '{operator}' has no attribute '{name}'",
                                       why=f"its attributes are {', '.join(fields) or 'none'}",
                                       remedy="export the model again, without it")
        values = {name: _read_field(operator, name, field, attributes) for name, field in fields.items()}
        return {name: value for name, value in values.items() if fields[name].in_schema}
    return read


def _read_field(operator: str, name: str, field: Field, attributes: Mapping[str, str]) -> Any:
    if name not in attributes:
        if field.default is _MISSING:
            raise InvalidFileError(f"CVM operator '{operator}' lacks its attribute '{name}'",
                                   why="the runtime has no default for it",
                                   remedy="export the model again, with every required attribute")
        return list(field.default) if isinstance(field.default, tuple) else field.default
    text = attributes[name]
    if not isinstance(text, str):
        raise InvalidFileError(f"attribute '{name}' of CVM operator '{operator}' is not a string",
                               why=f"saw {text!r}",
                               remedy="export the model again; every attribute value is a string")
    try:
        return field.parse(text)
    except ValueError as error:
        raise InvalidFileError(f"attribute '{name}' of CVM operator '{operator}' is malformed",
                               why=f"saw {text!r}, {error}",
                               remedy="export the model again; every attribute value is a string") from error


def write(**values: Any) -> dict[str, str]:
    """CVM ``op_attrs`` of Python values; lists and tuples become ``"(1, 2)"``."""
    return {name: str(tuple(value)) if isinstance(value, (list, tuple)) else str(value)
            for name, value in values.items()}
