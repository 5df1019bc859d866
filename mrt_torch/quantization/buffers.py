"""Buffers: what was settled about a tensor's integers, and how it is written down. (MRT GEN, ``tfm_types``.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mrt_torch.errors import InvalidArgumentError

BUFFERS: dict[str, type[Buffer]] = {}


def register_buffer_type(cls: type[Buffer]) -> type[Buffer]:
    """Class decorator: make a buffer readable from its serialized list by ``cls.name``."""
    if cls.name in BUFFERS:
        raise InvalidArgumentError(f"a buffer called '{cls.name}' is registered already")
    BUFFERS[cls.name] = cls
    return cls


def get_buffer(serialized: Sequence) -> Buffer:
    """The buffer a serialized list stands for: ``[name, value, ...]``."""
    name, *values = serialized
    if name not in BUFFERS:
        raise InvalidArgumentError(f"no buffer is called '{name}'", remedy=f"known are {', '.join(BUFFERS)}")
    return BUFFERS[name](*values)


class Buffer:
    """Base of buffers; immutable, equal when their lists are."""

    name: ClassVar[str]

    def __init__(self, *values: float | Sequence[float]):
        self._values = values

    def get(self) -> float | tuple[float, ...]:
        """The value."""
        return self._values[0] if len(self._values) == 1 else tuple(self._values)

    def serialize(self) -> list:
        """A list that JSON can hold; ``get_buffer`` reads it back."""
        return [self.name, *self._values]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.serialize() == self.serialize()

    def __hash__(self) -> int:
        return hash(repr(self.serialize()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._values))})"


@register_buffer_type
class SBuffer(Buffer):
    """One scale: integer = round(float * scale)."""

    name = "Scale"

    def __init__(self, scale: float):
        super().__init__(float(scale))


@register_buffer_type
class SLBuffer(Buffer):
    """A scale for each channel."""

    name = "ScaleList"

    def __init__(self, *scales: float):
        super().__init__(*(float(scale) for scale in scales))

    def get(self) -> tuple[float, ...]:
        return tuple(self._values)


@register_buffer_type
class SZBuffer(Buffer):
    """A scale and a zero point: integer = round((float - zero point) * scale)."""

    name = "ScaleZpoint"

    def __init__(self, scale: float, zero_point: float):
        super().__init__(float(scale), float(zero_point))
