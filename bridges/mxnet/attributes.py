"""Typed reading of the attribute strings of an MXNet node."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from mrt_torch.errors import InvalidFileError

_TRUE, _FALSE = ("True", "true", "1"), ("False", "false", "0")  # what dmlc's parameter parser accepts
_INTEGER = re.compile(r"[+-]?\d{1,19}L?", re.ASCII)  # Python 2 wrote long integers with an L
_REAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?f?|[+-]?(inf|infinity)", re.ASCII | re.IGNORECASE)


class Attributes:
    """The parameters of one node, parsed on request.

    A method without ``default`` asks for a required parameter. Parameters nobody asks for are ignored: tuning
    hints such as ``workspace``, and user attributes such as ``__lr_mult__``.

    Every method raises InvalidFileError, naming node, attribute and value, when the text is malformed or a
    required parameter is missing.
    """

    _REQUIRED: Any = object()

    def __init__(self, operator: str, name: str, texts: Mapping[str, str]):
        self._where = f"node '{name}' ({operator})"
        self._texts = texts

    def __contains__(self, attribute: str) -> bool:
        return attribute in self._texts

    def integer(self, attribute: str, default: Any = _REQUIRED) -> int:
        """An integer; None is returned only when it is the default."""
        return self._read(attribute, default, "an integer", _parse_integer)

    def optional_integer(self, attribute: str, default: int | None = None) -> int | None:
        """An integer or None."""
        return self._read(attribute, default, "an integer or None", _or_none(_parse_integer))

    def real(self, attribute: str, default: Any = _REQUIRED) -> float:
        """A number that is not NaN."""
        return self._read(attribute, default, "a number", _parse_real)

    def optional_real(self, attribute: str, default: float | None = None) -> float | None:
        """A number or None."""
        return self._read(attribute, default, "a number or None", _or_none(_parse_real))

    def reals(self, attribute: str, default: Any = _REQUIRED) -> tuple[float, ...]:
        """A tuple of numbers; a single number gives a tuple of one."""
        return self._read(attribute, default, "a tuple of numbers", _parse_reals)

    def boolean(self, attribute: str, default: Any = _REQUIRED) -> bool:
        """True or False."""
        return self._read(attribute, default, "True or False", _parse_boolean)

    def optional_boolean(self, attribute: str, default: bool | None = None) -> bool | None:
        """True, False or None."""
        return self._read(attribute, default, "True, False or None", _or_none(_parse_boolean))

    def integers(self, attribute: str, default: Any = _REQUIRED) -> tuple[int, ...]:
        """A tuple of integers; a single integer gives a tuple of one."""
        return self._read(attribute, default, "a tuple of integers", _parse_integers)

    def optional_integers(self, attribute: str,
                          default: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
        """A tuple of integers or None."""
        return self._read(attribute, default, "a tuple of integers or None", _or_none(_parse_integers))

    def bounds(self, attribute: str, default: Any = _REQUIRED) -> tuple[int | None, ...]:
        """A tuple of integers or None, as slices have them."""
        return self._read(attribute, default, "a tuple of integers or None", _parse_bounds)

    def choice(self, attribute: str, choices: Collection[str], default: Any = _REQUIRED) -> str:
        """One of the words MXNet knows for the parameter."""
        def parse(text: str) -> str:
            if text not in choices:
                raise ValueError
            return text
        return self._read(attribute, default, f"one of {', '.join(choices)}", parse)

    def _read(self, attribute: str, default: Any, expected: str, parse: Any) -> Any:
        text = self._texts.get(attribute)
        if text is None:
            if default is Attributes._REQUIRED:
                self._fail(attribute, f"the attribute is missing; it must be {expected}")
            return default
        try:
            return parse(text.strip())
        except ValueError:
            self._fail(attribute, f"its value is '{text:.80}'; it must be {expected}")

    def _fail(self, attribute: str, why: str) -> NoReturn:
        raise InvalidFileError(f"attribute '{attribute}' of an MXNet node cannot be read", where=self._where,
                               why=why, remedy="save the symbol again with MXNet, or correct the file")


def _parse_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError
    return int(text.rstrip("L"))


def _parse_real(text: str) -> float:
    if not _REAL.fullmatch(text):
        raise ValueError
    number = float(text if "inf" in text.lower() else text.rstrip("fF"))
    if math.isinf(number) and "inf" not in text.lower():
        raise ValueError
    return number


def _parse_boolean(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError


def _parse_integers(text: str) -> tuple[int, ...]:
    if _INTEGER.fullmatch(text):
        return (_parse_integer(text),)
    return tuple(_parse_integer(item) for item in _items(text))


def _parse_reals(text: str) -> tuple[float, ...]:
    if _REAL.fullmatch(text):
        return (_parse_real(text),)
    return tuple(_parse_real(item) for item in _items(text))


def _parse_bounds(text: str) -> tuple[int | None, ...]:
    parse = _or_none(_parse_integer)
    if text == "None" or _INTEGER.fullmatch(text):
        return (parse(text),)
    return tuple(parse(item) for item in _items(text))


def _items(text: str) -> list[str]:
    if len(text) < 2 or text[0] + text[-1] not in ("()", "[]"):
        raise ValueError
    items = [item.strip() for item in text[1:-1].split(",")]
    return items[:-1] if items[-1] == "" else items  # (), (1,) and [1, ]


def _or_none(parse: Any) -> Any:
    return lambda text: None if text == "None" else parse(text)
