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

    def get_range(self) -> tuple[float, float]:
        """Smallest and largest value the feature stands for; symmetric unless a class knows better."""
        threshold = self.get_threshold()
        return -threshold, threshold

    def get_channel_ranges(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Smallest and largest value of each channel; None where the feature is one of the whole tensor."""
        return None

    def scaled(self, factor: float) -> Feature:
        """The feature of the tensor times a finite ``factor`` of at least 0."""
        raise TypeError(f"{type(self).__name__} does not define scaled")


def _factor(value: float) -> float:
    number = finite_number(value, "a factor")
    if number < 0:
        raise InvalidArgumentError("a feature is scaled by a factor of at least 0", why=f"saw {value}",
                                   remedy="pass the new threshold divided by the old one")
    return number


def _magnitude(value: float) -> float:
    number = finite_number(value, "a feature")
    if number < 0:
        raise InvalidArgumentError("a magnitude is at least 0", why=f"saw {value}",
                                   remedy="pass the largest absolute value")
    return number


def _range(minimum: float, maximum: float) -> tuple[float, float]:
    low, high = finite_number(minimum, "a feature"), finite_number(maximum, "a feature")
    if low > high:
        raise InvalidArgumentError("the minimum exceeds the maximum", why=f"saw {minimum} and {maximum}",
                                   remedy="pass the smaller value first")
    return low, high


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

    def scaled(self, factor: float) -> AFeature:
        return type(self)(self.absmax * _factor(factor))

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

    def get_channel_ranges(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return tuple(-value for value in self.absmax), self.absmax

    def scaled(self, factor: float) -> ALFeature:
        return type(self)([value * _factor(factor) for value in self.absmax])

    def serialize(self) -> list:
        return [self.name, list(self.absmax)]


@register_feature
class MMFeature(Feature):
    """Smallest and largest value of a tensor: for affine quantization."""

    name = "MinMax"

    def __init__(self, minimum: float, maximum: float):
        self.minimum, self.maximum = _range(minimum, maximum)

    def get(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    def get_threshold(self) -> float:
        return max(abs(self.minimum), abs(self.maximum))

    def get_range(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    def scaled(self, factor: float) -> MMFeature:
        return type(self)(self.minimum * _factor(factor), self.maximum * _factor(factor))

    def serialize(self) -> list:
        return [self.name, self.minimum, self.maximum]


@register_feature
class MMLFeature(Feature):
    """Smallest and largest value of each channel: for a scale and a zero point a channel."""

    name = "MinMaxList"

    def __init__(self, minima: Sequence[float], maxima: Sequence[float]):
        if len(minima) != len(maxima) or not len(minima):
            raise InvalidArgumentError("MMLFeature takes as many minima as maxima, at least one",
                                       why=f"saw {len(minima)} and {len(maxima)}",
                                       remedy="pass two lists with one value for each channel")
        self.minima, self.maxima = zip(*map(_range, minima, maxima), strict=True)

    def get(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.minima, self.maxima

    def get_threshold(self) -> float:
        return max(map(abs, (*self.minima, *self.maxima)))

    def get_range(self) -> tuple[float, float]:
        return min(self.minima), max(self.maxima)

    def get_channel_ranges(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.minima, self.maxima

    def scaled(self, factor: float) -> MMLFeature:
        return type(self)(*([value * _factor(factor) for value in values] for values in self.get()))

    def serialize(self) -> list:
        return [self.name, list(self.minima), list(self.maxima)]
