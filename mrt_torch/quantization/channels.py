"""Tensors whose channels have scales of their own, and how they are brought to other scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import fx

from mrt_torch.cvm import Interval, bits_for
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of, source_name
from mrt_torch.quantization.precision import get_bit
from mrt_torch.quantization.requantize import PRODUCT_BITS
from mrt_torch.quantization.vector_rescaling import VectorRescaling, choose_vector_rescaling

if TYPE_CHECKING:
    from mrt_torch.quantization.context import QuantizationContext

SMALLEST_VALUE = 0.5  # what calibration met of a channel is zero where it rounds to zero


class ChannelQuantized(NamedTuple):
    """An integer node whose channels, on axis 1, have scales of their own: float value = integer / scales[channel].

    ``scales`` is (C,) float64. Convolutions and dense layers give it: their weights have a scale for each output.
    """

    node: fx.Node
    scales: torch.Tensor

    @property
    def precision(self) -> int:
        """Bits that the runtime infers."""
        return facts_of(self.node).precision

    @property
    def value_range(self) -> Interval:
        """Proven range of the integers."""
        return facts_of(self.node).value_range


def along_channels(values: torch.Tensor, rank: int) -> torch.Tensor:
    """(C,) as (1, C, 1, ...) for a tensor of ``rank`` axes."""
    return values.reshape([1, -1] + [1] * (rank - 2))


def rescale_channels(context: QuantizationContext, held: ChannelQuantized, magnitudes: torch.Tensor,
                     targets: torch.Tensor, bits: int, zeros: torch.Tensor | None = None, headroom: float = 1.0
                     ) -> tuple[fx.Node, torch.Tensor]:
    """The integers ``round(x * target) - zero`` in ``bits`` bits, and the exact scales they have.

    Args:
        context: that of the quantization.
        held: the tensor, with scales for each channel or for all of them (1,).
        magnitudes: largest float magnitude of each channel in calibration, as ``held``.
        targets: scales of the result, (C,) float64, or (1,) where ``held`` has one.
        bits: precision of the result.
        zeros: (C,) or (1,) int64; none without.
        headroom: how many times the largest magnitude the integers keep; farther out values may saturate.

    Returns:
        The node, and its scales as ``targets``: they differ from those by the rounding of the fractions.
    """
    reach = magnitudes * held.scales
    width = min(held.value_range.precision, get_bit(float(reach.max()) * headroom))
    ratios = targets / held.scales
    alive = reach >= SMALLEST_VALUE
    if bool(alive.any()):
        # A channel that was always zero, whose scale is arbitrary, must not take the bits of the others.
        ratios = torch.minimum(ratios, ratios[alive].max())
    zeros = torch.zeros(len(ratios), dtype=torch.int64) if zeros is None else zeros
    rescaling = choose_vector_rescaling(ratios, max(width, 2), bits, context.settings.shift_bits, zeros)
    return _emit(context, held.node, rescaling, bits), held.scales * rescaling.ratios


def _emit(context: QuantizationContext, node: fx.Node, rescaling: VectorRescaling, bits: int) -> fx.Node:
    rank = len(shape_of(node))
    if rescaling.pre_shift:
        node = context.call("cvm_right_shift", context.narrow(node, PRODUCT_BITS), precision=rescaling.width,
                            shift_bit=rescaling.pre_shift)
    if bool((rescaling.fracs != 1).any()):
        if facts_of(node).precision + bits_for(int(rescaling.fracs.max())) > PRODUCT_BITS:
            node = context.narrow(node, rescaling.width)
        fracs = _operand(context, rescaling.fracs, rank, f"{source_name(node)}_frac")
        node = context.call("broadcast_mul", node, fracs)
    if bool((rescaling.offsets != 0).any()):
        if facts_of(node).precision > PRODUCT_BITS - 1:
            node = context.narrow(node, PRODUCT_BITS - 1)
        zeros = _operand(context, rescaling.offsets, rank, f"{source_name(node)}_zero")
        node = context.call("broadcast_sub", node, zeros)
    if rescaling.shift:
        return context.call("cvm_right_shift", context.narrow(node, PRODUCT_BITS), precision=bits,
                            shift_bit=rescaling.shift)
    return context.narrow(node, bits)


def _operand(context: QuantizationContext, values: torch.Tensor, rank: int, name: str) -> fx.Node:
    """A constant for each channel; one number where they are equal."""
    if bool((values == values[0]).all()):
        return context.number(int(values[0]))
    return context.constant(name, along_channels(values, rank))
