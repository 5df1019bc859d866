"""Features of a batch joined with those of the batches before."""

from __future__ import annotations

from collections.abc import Callable

from mrt_torch.calibration.features import AFeature, ALFeature, Feature, MMFeature, MMLFeature
from mrt_torch.errors import InvalidArgumentError

Join = Callable[[float, float], float]
MAGNITUDES, RANGES = (AFeature, ALFeature), (MMFeature, MMLFeature)


def widest(feature: Feature, history: Feature | None) -> Feature:
    """What covers both, channel by channel; ``feature`` itself without a history.

    Raises:
        InvalidArgumentError: features of different classes, or of different numbers of channels.
    """
    return feature if history is None else _joined(feature, history, min, max)


def blended(feature: Feature, history: Feature | None, c: float) -> Feature:
    """(1 - c) * history + c * feature, channel by channel; ``feature`` itself without a history.

    Raises:
        InvalidArgumentError: see ``widest``.
    """
    if history is None:
        return feature

    def blend(new: float, old: float) -> float:
        return (1 - c) * old + c * new
    return _joined(feature, history, blend, blend)


def _joined(feature: Feature, history: Feature, low: Join, high: Join) -> Feature:
    if type(feature) is not type(history) or not isinstance(feature, MAGNITUDES + RANGES):
        raise InvalidArgumentError("a feature has a history of its own class only",
                                   why=f"saw {type(feature).__name__} and {type(history).__name__}",
                                   remedy="pass the feature that get_opt returned for the batch before")
    joins = (high,) if isinstance(feature, MAGNITUDES) else (low, high)
    return type(feature)(*(_each(join, new, old) for join, new, old in zip(
        joins, feature.serialize()[1:], history.serialize()[1:], strict=True)))


def _each(join: Join, new: float | list[float], old: float | list[float]) -> float | list[float]:
    if not isinstance(new, list):
        return join(new, old)
    if len(new) != len(old):
        raise InvalidArgumentError("a feature and its history have different numbers of channels",
                                   why=f"saw {len(new)} and {len(old)}",
                                   remedy="pass the feature that get_opt returned for the batch before")
    return [join(*pair) for pair in zip(new, old, strict=True)]
