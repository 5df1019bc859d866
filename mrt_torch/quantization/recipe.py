"""Recipes: which means a quantization uses against the loss of accuracy, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.quantization.rounding import METHODS


@dataclass(frozen=True)
class Recipe:
    """Means against the loss of accuracy. All of them keep the graph to the same operators of 8 bits.

    Attributes:
        weights_by_channel: a scale for each output channel of a convolution or dense layer, else one for the tensor.
        inputs_by_group: a scale for each group of a grouped convolution's input, which its weights absorb.
        zero_points: 8-bit operands are x - z, so that a tensor whose range is not symmetric fills its 8 bits; the
            correction is folded, as a constant for each output channel, or a map where a convolution is zero-padded.
        equalization: channels of very unequal ranges between two layers are scaled, which the float graph does not see.
        bias_correction: biases are adjusted until the mean of every output channel on the calibration sample is that
            of the float graph.
        rounding: of weights: "nearest", "compensated" (each weight's error is carried to those not yet rounded) or
            "searched" (that, improved weight by weight).
        extra_operations: the share of the network's multiply-accumulates that operands of more than 8 bits, as two
            parts, may cost in addition.
    """

    weights_by_channel: bool = True
    inputs_by_group: bool = True
    zero_points: bool = True
    equalization: bool = True
    bias_correction: bool = True
    rounding: str = "nearest"
    extra_operations: float = 0.0

    def __post_init__(self):
        for name in ("weights_by_channel", "inputs_by_group", "zero_points", "equalization", "bias_correction"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidArgumentError(f"{name} is True or False", where="Recipe",
                                           why=f"saw {getattr(self, name)!r}", remedy="pass a bool")
        if self.rounding not in METHODS:
            raise InvalidArgumentError(f"there is no rounding '{self.rounding}'", where="Recipe",
                                       remedy=f"choose one of {', '.join(METHODS)}")
        share = self.extra_operations
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < math.inf:
            raise InvalidArgumentError("extra_operations is a share of at least 0", where="Recipe",
                                       why=f"saw {share!r}", remedy="pass a number such as 0.25")

    def to_json(self) -> dict:
        """A JSON object whose items are the arguments."""
        return asdict(self)


RECIPES: Mapping[str, Recipe] = MappingProxyType({
    "default": Recipe(),
    "best": Recipe(rounding="compensated", extra_operations=0.25),
    "original": Recipe(weights_by_channel=False, inputs_by_group=False, zero_points=False, equalization=False,
                       bias_correction=False),
})


def recipe_named(name: str) -> Recipe:
    """``default``: all that is free at run time; ``best``: operands of more bits, and a search; ``original``: MRT's.

    Raises:
        InvalidArgumentError: there is no such recipe.
    """
    if not isinstance(name, str) or name not in RECIPES:
        raise InvalidArgumentError(f"there is no recipe '{name}'", remedy=f"choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
