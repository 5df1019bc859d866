"""What calibration hands to quantization."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import torch

from mrt_torch.calibration.features import AFeature, ALFeature, Feature, MMFeature, MMLFeature
from mrt_torch.calibration.sample import Sample


@dataclass(frozen=True)
class Calibrated:
    """Features by fx node name, and a sample of the data.

    Attributes:
        features: of every activation: its extremes, or what an optimizor made of them.
        operand_features: by node name and number of groups: the range, clipped by least squared error, that an
            operand of few bits keeps; a range for each group where there are several.
        sample: some examples of the input, in float, for the means that look at them; None without.
    """

    features: Mapping[str, Feature]
    operand_features: Mapping[tuple[str, int], Feature] = field(default_factory=dict)
    sample: torch.Tensor | None = None

    @classmethod
    def of(cls, given: Calibrated | Mapping[str, Feature | float]) -> Calibrated:
        """Itself; or features by name, among which a number stands for a largest magnitude."""
        if isinstance(given, Calibrated):
            return given
        return cls({name: value if isinstance(value, Feature) else AFeature(value) for name, value in given.items()})

    def without(self, names: Collection[str]) -> Calibrated:
        """The same but for the features of some nodes."""
        return replace(self, features={name: each for name, each in self.features.items() if name not in names},
                       operand_features={key: each for key, each in self.operand_features.items()
                                         if key[0] not in names})


def joined(known: Calibrated, found: Calibrated, batch_axis: int = 0) -> Calibrated:
    """What both stand for: the widest features, and the sample that all their data would have given."""
    features, operands = ({**old, **{key: widest(old[key], feature) if key in old else feature
                                     for key, feature in new.items()}}
                          for old, new in ((known.features, found.features),
                                           (known.operand_features, found.operand_features)))
    sample = Sample()
    for part in (known.sample, found.sample):
        if part is not None:
            sample.add(part, batch_axis)
    return Calibrated(features, operands, sample.tensor() if len(sample) else None)


def with_threshold(feature: Feature, threshold: float) -> Feature:
    """``feature`` with another largest magnitude: cut off beyond a smaller one, spread to a larger one."""
    wanted, known = AFeature(threshold), feature.get_threshold()
    if threshold == known:
        return feature
    if isinstance(feature, AFeature) or known == 0:
        return wanted
    def end(value: float) -> float:
        if abs(value) == known:
            return math.copysign(threshold, value)
        return value * (threshold / known) if threshold > known else min(max(value, -threshold), threshold)

    ranges = feature.get_channel_ranges()
    if ranges is None:
        return MMFeature(*map(end, feature.get_range()))
    return MMLFeature(*(list(map(end, ends)) for ends in ranges))


def widest(first: Feature, second: Feature) -> Feature:
    """A feature that stands for all that two of one tensor stand for; of different kinds, for their magnitudes."""
    pair = (first, second)
    if all(isinstance(feature, MMFeature) for feature in pair):
        return MMFeature(min(f.minimum for f in pair), max(f.maximum for f in pair))
    if all(isinstance(feature, MMLFeature) for feature in pair) and len(first.minima) == len(second.minima):
        return MMLFeature(list(map(min, first.minima, second.minima)), list(map(max, first.maxima, second.maxima)))
    if all(isinstance(feature, ALFeature) for feature in pair) and len(first.absmax) == len(second.absmax):
        return ALFeature(list(map(max, first.absmax, second.absmax)))
    return AFeature(max(feature.get_threshold() for feature in pair))
