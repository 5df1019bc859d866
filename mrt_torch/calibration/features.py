"""Features: what calibration settles on for a tensor, and how it is written down. (MRT GEN, ``tfm_types``.)"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from mrt_torch.errors import InvalidArgumentError

FEATURES: dict[str, type[Feature]] = {}


def register_feature(cls: type[Feature]) -> type[Feature]:
    """Class decorator: make a feature readable from its serialized list by ``cls.name``.

    Raises:
        InvalidArgumentError: the name is taken.
    """
    if cls.name in FEATURES:
        raise InvalidArgumentError(f"a feature called '{cls.name}' is registered already")
    FEATURES[cls.name] = cls
    return cls


def get_feature(serialized: Sequence) -> Feature:
    """The feature a serialized list stands for: ``[name, value, ...]``.

    Raises:
        InvalidArgumentError: unknown name.
    """
    name, *values = serialized
    if name not in FEATURES:
        raise InvalidArgumentError(f"no feature is called '{name}'", remedy=f"known are {', '.join(FEATURES)}")
    return FEATURES[name](*values)


class Feature:
    """Base of features; immutable, equal when their lists are."""

    name: ClassVar[str]

    def get(self) -> float | tuple[float, ...]:
        """The value."""
        raise TypeError(f"{type(self).__name__} does not define get")

    def get_threshold(self) -> float:
        """Largest magnitude the feature stands for."""
        raise TypeError(f"{type(self).__name__} does not define get_threshold")

    def serialize(self) -> list:
        """A list that JSON can hold; ``get_feature`` reads it back."""
        raise TypeError(f"{type(self).__name__} does not define serialize")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.serialize() == self.serialize()

    def __hash__(self) -> int:
        return hash(repr(self.serialize()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.serialize()[1:]))})"


def _finite(value: float) -> float:
    value = float(value)
    if not math.isfinite(value):
        raise InvalidArgumentError("a feature is a finite number", why=f"saw {value}")
    return value


def _magnitude(value: float) -> float:
    if not _finite(value) >= 0:
        raise InvalidArgumentError("a magnitude is at least 0", why=f"saw {value}")
    return float(value)


@register_feature
class AFeature(Feature):
    """Largest magnitude of a tensor: for symmetric quantization."""

    name = "Absmax"

    def __init__(self, absmax: float):
        self.absmax = _magnitude(absmax)

    def get(self) -> float:
        return self.absmax

    def get_threshold(self) -> float:
        return self.absmax

    def serialize(self) -> list:
        return [self.name, self.absmax]


@register_feature
class ALFeature(Feature):
    """Largest magnitude of each channel."""

    name = "AbsmaxList"

    def __init__(self, absmax: Sequence[float]):
        self.absmax = tuple(_magnitude(value) for value in absmax)
        if not self.absmax:
            raise InvalidArgumentError("ALFeature needs at least one channel")

    def get(self) -> tuple[float, ...]:
        return self.absmax

    def get_threshold(self) -> float:
        return max(self.absmax)

    def serialize(self) -> list:
        return [self.name, list(self.absmax)]


@register_feature
class MMFeature(Feature):
    """Smallest and largest value of a tensor: for affine quantization."""

    name = "MinMax"

    def __init__(self, minimum: float, maximum: float):
        self.minimum, self.maximum = _finite(minimum), _finite(maximum)
        if self.minimum > self.maximum:
            raise InvalidArgumentError("the minimum exceeds the maximum", why=f"saw {minimum} and {maximum}")

    def get(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    def get_threshold(self) -> float:
        return max(abs(self.minimum), abs(self.maximum))

    def serialize(self) -> list:
        return [self.name, self.minimum, self.maximum]
