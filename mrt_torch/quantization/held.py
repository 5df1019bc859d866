"""What the integers of a quantized graph mean: how a float value is held."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import fx

from mrt_torch.cvm import Interval
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.quantization.channels import ChannelQuantized


class Quantized(NamedTuple):
    """An integer node and what its integers mean: float value = integer / scale.

    The scale belongs to the value, not to the node: a multiplication by a constant only changes the scale, so two
    float values may share one integer node.
    """

    node: fx.Node
    scale: float

    @property
    def precision(self) -> int:
        """Bits that the runtime infers."""
        return facts_of(self.node).precision

    @property
    def value_range(self) -> Interval:
        """Proven range of the integers."""
        return facts_of(self.node).value_range


class ColumnPart(NamedTuple):
    """Neighbouring columns of one scale: an integer node (..., columns), and the largest magnitude of their floats."""

    quantized: Quantized
    threshold: float

    @property
    def extent(self) -> int:
        """How many columns they are."""
        return shape_of(self.quantized.node)[-1]


class ColumnQuantized(NamedTuple):
    """A tensor whose columns, on its last axis, have scales of their own, as the rows of detections: class, score, box.

    Its parts lie side by side on the last axis and are not joined to one node unless a reader needs that; see
    ``mrt_torch.quantization.columns``.
    """

    parts: tuple[ColumnPart, ...]

    @property
    def scales(self) -> torch.Tensor:
        """The scale of each column, (columns,) float64."""
        return torch.tensor([part.quantized.scale for part in self.parts for _ in range(part.extent)],
                            dtype=torch.float64)


Held = Quantized | ChannelQuantized  # what an operator that knows no columns sees
AnyHeld = Held | ColumnQuantized


def proven_magnitude(held: AnyHeld) -> float:
    """The largest float magnitude that the proven range of the integers allows."""
    if isinstance(held, ColumnQuantized):
        return max(proven_magnitude(part.quantized) for part in held.parts)
    scale = held.scale if isinstance(held, Quantized) else float(held.scales.min())
    return held.value_range.magnitude / scale
