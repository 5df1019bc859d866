"""Weights with a zero point for each output channel: W = q + z, so that a range that is not symmetric fills its bits.

    Y = X * (q + z) = X * q + z * (X * ones)

X * ones is the sum of the integers that a filter covers: one more output channel for each group. What zero points of X
add to it, (zeros of X) * (q + z), is a constant and part of the offset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import shape_of
from mrt_torch.quantization.channels import along_channels

if TYPE_CHECKING:
    from mrt_torch.quantization.context import QuantizationContext

# X * q with its offset, and z * (X * ones): each leaves the sum of both a bit, and the product of z and X * ones fits
# 32 bits as the runtime counts them.
WIDEST_TERM = 30


@dataclass(frozen=True)
class AffineWeights:
    """Zero points of weights at any scales (O,): z = round(middle * scale), ties to even.

    Attributes:
        middles: of the range of each output channel's weights, (O,) float64; 0 for a symmetric one.
        covered: largest magnitude of X * ones.
    """

    middles: torch.Tensor
    covered: int

    @property
    def is_any(self) -> bool:
        """Whether a channel has a zero point."""
        return bool(self.middles.any())

    def zeros(self, scales: torch.Tensor) -> torch.Tensor:
        """z, (O,) float64."""
        return (self.middles * scales).round()

    def centred(self, weights: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """What is left to q of the weights (O, ...), in float."""
        return weights - _beside(self.zeros(scales) / scales, weights) if self.is_any else weights

    def whole(self, kernel: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """q + z, float64."""
        return kernel.to(torch.float64) + _beside(self.zeros(scales), kernel)

    def excess(self, scales: torch.Tensor, products: torch.Tensor, reserve: int) -> torch.Tensor:
        """By which factor the terms exceed what is proven to fit 32 bits, (O,); 0 without zero points.

        Args:
            scales: of the weights.
            products: largest magnitude of X * q.
            reserve: bits of the offset.
        """
        if not self.is_any:
            return torch.zeros_like(self.middles)
        largest = torch.maximum(products + precision_range(reserve), self.zeros(scales).abs() * self.covered)
        return largest / precision_range(WIDEST_TERM)


def _beside(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return values.reshape([-1] + [1] * (weights.dim() - 1))


def add_weight_zeros(context: QuantizationContext, total: fx.Node, zeros: torch.Tensor, name: str,
                     shape: Sequence[int], groups: int, covered: Callable[[fx.Node], fx.Node]) -> fx.Node:
    """``total`` and z * (X * ones).

    Args:
        context: that of the quantization.
        total: X * q.
        zeros: z, (O,) int64.
        name: prefix of the names of the constants.
        shape: of one filter.
        groups: of the weighted sum.
        covered: makes X * ones from the ones, which are a weight of ``groups`` output channels.
    """
    ones = context.constant(f"{name}_ones", torch.ones(groups, *shape, dtype=torch.int32), shared=False)
    sums = covered(ones)
    outputs = shape_of(total)[1]
    if groups > 1 and outputs > groups:
        sums = context.call("repeat", sums, repeats=outputs // groups, axis=1)
    equal = bool((zeros == zeros[0]).all())
    factor = context.number(int(zeros[0])) if equal else \
        context.constant(f"{name}_zeros", along_channels(zeros, len(shape_of(total))))
    product = context.call("broadcast_mul", sums, factor)
    return context.call("elemwise_add" if shape_of(product) == shape_of(total) else "broadcast_add", total, product)
