"""Operands of convolutions and dense layers: 8-bit integers with scales and zero points that fill them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import fx

from mrt_torch.calibration.raw_features import AFFINE
from mrt_torch.cvm.interval import bits_for, precision_range
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.quantization.channels import ChannelQuantized, rescale_channels
from mrt_torch.quantization.context import Quantized
from mrt_torch.quantization.discrete import is_discrete
from mrt_torch.quantization.granularity import is_chosen, operand_groups
from mrt_torch.quantization.requantize import PRODUCT_BITS

if TYPE_CHECKING:
    from mrt_torch.quantization.context import QuantizationContext

# A zero point that widens the scale by less than this share is not worth the correction it needs.
SMALLEST_GAIN = 1.125
# New data reaches beyond what calibration met, the farther the fewer values of a group it met: by a half where they
# were a thousand, by a tenth from a hundred thousand on. A wide operand has room for more.
LARGEST_MARGIN, SMALLEST_MARGIN, WIDE_MARGIN = 1.5, 1.1, 2.0
FEW_VALUES, MANY_VALUES = 1e3, 1e5
PART_BITS = 8               # what the runtime multiplies
ROUNDING = 1.03             # weights may be rounded up, all of them
LARGEST_PART_SHIFT = 7      # so that the lower part of a saturated value fits 8 bits
# Groups whose integers are next to nothing beside those of the largest one would take the bits of its fraction.
LARGEST_SPREAD = 2.0 ** 8
LARGEST_OFFSET = 2.0 ** 9   # of a range, in its spans: farther away, the integers that are rescaled are too coarse


class Operand(NamedTuple):
    """Integers q of float values x = (q + zeros) / scales, one scale and zero point for each group of channels.

    Attributes:
        parts: ``((node, shift), ...)``: 8-bit integers whose sum, each times 2**shift, is q.
        scales: (G,) float64.
        zeros: (G,) int64; all 0 for a symmetric operand.
        magnitude: largest abs(q) that the parts can make.
    """

    parts: tuple[tuple[fx.Node, int], ...]
    scales: torch.Tensor
    zeros: torch.Tensor
    magnitude: int


def operand(context: QuantizationContext, x: fx.Node, bits: int, groups: int = 1, affine: bool = True) -> Operand:
    """``x`` in ``bits`` bits as a weighted sum of ``groups`` groups of its channels takes it.

    One of more than 8 bits is cut in two parts, because the runtime multiplies 8: q = high * 2**k + low with
    high = round(q / 2**k), half up, clamped. Each costs the weighted sum once.

    With s = (2**bits - 2) / (high - low) and z = round((low + high) / 2 * s), ties to even, the integers are
    round(x * s) - z, clamped. low and high are what calibration chose for this operand, or the extremes it met, never
    beyond what is proven; s is never finer than the scale at hand. A symmetric one, with z = 0, is taken where
    calibration gave magnitudes only, where the zero point would gain less than an eighth, for the graph's inputs, and
    where the recipe or the caller wants none.
    """
    groups = operand_groups(context, x, groups)
    affine = affine and context.quantizer(x) == AFFINE
    key = (x, bits, groups, affine)
    if key not in context.operands:
        context.operands[key] = _operand(context, *key)
    return context.operands[key]


def _operand(context: QuantizationContext, x: fx.Node, bits: int, groups: int, affine: bool) -> Operand:
    plain = context.is_constant(x) or x.op == "placeholder" or is_discrete(x) or groups == 1 and not affine
    known = None if plain else _range(context, x, bits, groups)
    if known is None or not any(bool(values.any()) for values in known):
        return _symmetric(context, x, bits)
    held = context.held(x)
    if isinstance(held, Quantized):
        if held.value_range.precision <= bits and groups == 1 or held.value_range.magnitude == 0:
            return _symmetric(context, x, bits)
        held = ChannelQuantized(held.node, torch.tensor([held.scale], dtype=torch.float64))
    by_group = held.scales.reshape(groups if len(held.scales) > 1 else 1, -1)
    coarsest, proven = by_group.amin(1), held.value_range
    lows, highs = (values.clamp(proven.minimum / coarsest, proven.maximum / coarsest) for values in known)
    scales, zeros = _scales_and_zeros(lows, highs, by_group.amax(1), bits, affine)
    channels = shape_of(x)[1]
    if len(held.scales) == 1 and groups > 1:
        held = ChannelQuantized(held.node, held.scales.expand(channels))
    repeats = len(held.scales) // len(scales)
    node, real = rescale_channels(context, held, context.channel_magnitudes(x, len(held.scales)),
                                  scales.repeat_interleave(repeats), bits, zeros.repeat_interleave(repeats),
                                  margin_of(context, x, bits, groups))
    return _in_parts(context, node, bits, real if len(real) == len(scales) else scales, zeros)


def _range(context: QuantizationContext, x: fx.Node, bits: int, groups: int
           ) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Calibrated range of each group with its margin; a wide operand need not cut anything off for its resolution."""
    wide = bits > PART_BITS
    known = context.operand_range(x, groups, clipped=not wide)
    if known is None:
        return None
    lows, highs = known
    margin = 1.0 if is_chosen(context, x) else margin_of(context, x, bits, groups)
    slack = [(margin - 1) * torch.minimum(ends.abs(), highs - lows) for ends in known]  # outwards, also beside zero
    return lows - slack[0], highs + slack[1]


def margin_of(context: QuantizationContext, x: fx.Node, bits: int, groups: int) -> float:
    """How far new data may reach, over what calibration met: 2 for wide operands.

    For others 1.5 - 0.2 * log10(n / 1000), from 1.1 to 1.5, where n values of each group were met.
    """
    if bits > PART_BITS:
        return WIDE_MARGIN
    free = free_axis(x)
    elements = math.prod(extent for axis, extent in enumerate(shape_of(x)) if axis != free) // groups
    share = math.log(max(elements * context.examples, 1) / FEW_VALUES) / math.log(MANY_VALUES / FEW_VALUES)
    return LARGEST_MARGIN - (LARGEST_MARGIN - SMALLEST_MARGIN) * min(max(share, 0.0), 1.0)


def _symmetric(context: QuantizationContext, x: fx.Node, bits: int) -> Operand:
    quantized = context.requantize(x, bits)
    scale = torch.tensor([quantized.scale], dtype=torch.float64)
    return _in_parts(context, quantized.node, quantized.value_range.precision, scale, torch.zeros(1, dtype=torch.int64))


def _in_parts(context: QuantizationContext, node: fx.Node, bits: int, scales: torch.Tensor, zeros: torch.Tensor
              ) -> Operand:
    shift = bits - PART_BITS
    if shift <= 0:
        return Operand(((node, 0),), scales, zeros, facts_of(node).value_range.magnitude)
    high = context.call("cvm_right_shift", node, precision=PART_BITS, shift_bit=shift)
    low = context.call("broadcast_sub", node, context.call("broadcast_mul", high, context.number(1 << shift)))
    low = context.narrow(low, PART_BITS)
    magnitude = (facts_of(high).value_range.magnitude << shift) + facts_of(low).value_range.magnitude
    return Operand(((high, shift), (low, 0)), scales, zeros, magnitude)


def widest_operand(weights: torch.Tensor, precision: int) -> int:
    """Most bits of an operand beside ``weights`` (O, ...) of ``precision`` bits that the sum of two parts fits.

    The upper part's sum is multiplied by 2**k, for which the runtime takes k + 2 bits, and one for adding the lower.
    """
    rows = weights.flatten(1).abs()
    taps = (rows.sum(1) / rows.amax(1).clamp(min=1e-300)).max() * precision_range(precision)
    products = bits_for(int(taps * ROUNDING * precision_range(PART_BITS)))
    return PART_BITS + max(min(LARGEST_PART_SHIFT, PRODUCT_BITS - 2 - products), 0)


def _scales_and_zeros(lows: torch.Tensor, highs: torch.Tensor, finest: torch.Tensor, bits: int, affine: bool
                      ) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales, at most ``finest``, and zero points of the ranges; a range of one value is taken as symmetric."""
    magnitudes = torch.maximum(lows.abs(), highs.abs())
    spans = highs - lows
    symmetric = (2 * magnitudes < SMALLEST_GAIN * spans) | (spans <= 0) | (not affine)
    spans = torch.where(symmetric, 2 * magnitudes, torch.maximum(spans, magnitudes / LARGEST_OFFSET))
    ratios = 2 * precision_range(bits) / spans / finest
    scales = ratios.clamp(max=min(float(ratios.min()) * LARGEST_SPREAD, 1.0)) * finest
    zeros = torch.where(symmetric, torch.zeros_like(scales), ((lows + highs) / 2 * scales).round())
    return scales, zeros.to(torch.int64)
