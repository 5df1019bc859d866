"""Buffers: what was settled about a tensor's integers, and how it is written down. (MRT GEN, ``tfm_types``.)"""

from __future__ import annotations

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.serialized_value import SerializedValue, ValueRegistry, finite_number

BUFFERS = ValueRegistry("buffer")
register_buffer_type, get_buffer = BUFFERS.register, BUFFERS.read


class Buffer(SerializedValue):
    """Base of buffers."""

    def __init__(self, *values: float):
        self._values = values

    def get(self) -> float | tuple[float, ...]:
        """The value."""
        return self._values[0] if len(self._values) == 1 else self._values

    def serialize(self) -> list:
        return [self.name, *self._values]


def _scale(value: float) -> float:
    number = finite_number(value, "a buffer's value")
    if number <= 0:
        raise InvalidArgumentError("a scale is positive", why=f"saw {value}",
                                   remedy="pass the number of integer units in 1.0")
    return number


@register_buffer_type
class SBuffer(Buffer):
    """One scale: integer = round(float * scale)."""

    name = "Scale"

    def __init__(self, scale: float):
        super().__init__(_scale(scale))


@register_buffer_type
class SLBuffer(Buffer):
    """A scale for each channel."""

    name = "ScaleList"

    def __init__(self, *scales: float):
        super().__init__(*map(_scale, scales))
        if not scales:
            raise InvalidArgumentError("SLBuffer needs at least one channel",
                                       remedy="pass one scale for each channel")

    def get(self) -> tuple[float, ...]:
        return self._values


@register_buffer_type
class SZBuffer(Buffer):
    """A scale and a zero point: integer = round((float - zero point) * scale)."""

    name = "ScaleZpoint"

    def __init__(self, scale: float, zero_point: float):
        super().__init__(_scale(scale), finite_number(zero_point, "a zero point"))
