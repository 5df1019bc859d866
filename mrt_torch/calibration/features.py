"""Features: what calibration settles on for a tensor, and how it is written down. (MRT GEN, ``tfm_types``.)"""

from __future__ import annotations

from collections.abc import Sequence

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.serialized_value import SerializedValue, ValueRegistry, finite_number

FEATURES = ValueRegistry("feature")
register_feature, get_feature = FEATURES.register, FEATURES.read


class Feature(SerializedValue):
    """Base of features."""

    def get(self) -> float | tuple[float, ...]:
        """The value."""
        raise TypeError(f"{type(self).__name__} does not define get")

    def get_threshold(self) -> float:
        """Largest magnitude the feature stands for."""
        raise TypeError(f"{type(self).__name__} does not define get_threshold")


def _magnitude(value: float) -> float:
    number = finite_number(value, "a feature")
    if number < 0:
        raise InvalidArgumentError("a magnitude is at least 0", why=f"saw {value}",
                                   remedy="pass the largest absolute value")
    return number


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
            raise InvalidArgumentError("ALFeature needs at least one channel",
                                       remedy="pass a list with one magnitude for each channel")

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
        self.minimum, self.maximum = finite_number(minimum, "a feature"), finite_number(maximum, "a feature")
        if self.minimum > self.maximum:
            raise InvalidArgumentError("the minimum exceeds the maximum", why=f"saw {minimum} and {maximum}",
                                       remedy="pass the smaller value first")

    def get(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    def get_threshold(self) -> float:
        return max(abs(self.minimum), abs(self.maximum))

    def serialize(self) -> list:
        return [self.name, self.minimum, self.maximum]
