"""Activations and parameters with a zero point, for operators that do not multiply 8 bits: x = (q + z) / scale.

q = clamp(round(x * scale) - z) has ``bits`` bits, so q + z, which is exact, has one more: a tensor whose range is not
symmetric gains up to that bit. Only nodes that are configured UniformAffine have it. An operator adds z where it costs
least: z1 + z2 behind a sum of two, count * z behind a sum, nothing before a softmax, which is the same for x + c.

Operators that are not named below take at most ``bits`` bits of x itself; with a zero point to be added again they
would get no finer scale than a symmetric one, so that is what ``QuantizationContext.requantize`` gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import fx

from mrt_torch.calibration.features import AFeature
from mrt_torch.calibration.raw_features import AFFINE
from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.quantization.channels import ChannelQuantized, rescale_channels
from mrt_torch.quantization.discrete import is_discrete
from mrt_torch.quantization.operands import SMALLEST_GAIN
from mrt_torch.quantization.precision import get_bit, int_realize
from mrt_torch.quantization.precision import scale as scale_of

if TYPE_CHECKING:
    from mrt_torch.quantization.context import QuantizationContext


class Affine(NamedTuple):
    """Integers q of float values x = (q + zero) / scale."""

    node: fx.Node
    scale: float
    zero: int

    def restored(self, context: QuantizationContext) -> fx.Node:
        """q + zero."""
        return with_zero(context, self.node, self.zero)


def with_zero(context: QuantizationContext, node: fx.Node, zero: int) -> fx.Node:
    """``node + zero``, exact."""
    return context.call("broadcast_add", node, context.number(zero)) if zero else node


def is_affine(context: QuantizationContext, x: fx.Node) -> bool:
    """Whether a node has a zero point outside of weighted sums: it is configured UniformAffine.

    Inputs of the graph, and what is whole by nature, have none.
    """
    configured = context.settings.configuration.get(x.name, {}).get("quant_type")
    return configured == AFFINE and x.op != "placeholder" and not is_discrete(x)


def has_affine(context: QuantizationContext, terms: Sequence[fx.Node]) -> bool:
    """Whether one of several activations is ``is_affine``. Beside a constant they keep what they have, or nearly so."""
    return any(is_affine(context, x) for x in terms) and not any(map(context.is_constant, terms))


def affine(context: QuantizationContext, x: fx.Node, bits: int, scale: float | None = None, anchored: bool = True
           ) -> Affine:
    """``x`` in ``bits`` bits at about ``scale``; with the scale of ``affine_scale``, or as it is, without.

    Symmetric, with a zero point of 0, where the node is not ``is_affine``, fits already, or gains little.

    Args:
        anchored: whether the range is taken to hold 0, so that x * scale has no more than ``bits + 1`` bits.
    """
    ends = _range(context, x, anchored)
    own = affine_scale(context, x, bits, anchored)
    if ends is None or scale is None and _fits(context, x, bits) or not _is_worth_it(*ends):
        quantized = context.requantize(x, bits, scale)
        return Affine(quantized.node, quantized.scale, 0)
    scale = own if scale is None else scale
    low, high = ends
    zero = round((low + high) / 2 * scale)
    if context.is_constant(x):
        values = int_realize(context.tensor(x) * scale, 32).clamp(zero - precision_range(bits),
                                                                 zero + precision_range(bits))
        return Affine(context.constant(source_name(x), values), scale, 0)
    return _rescaled(context, x, bits, scale, zero)


def affine_scale(context: QuantizationContext, x: fx.Node, bits: int, anchored: bool = True) -> float:
    """(2**bits - 2) / (high - low), or that of the largest magnitude where there is no zero point."""
    ends = _range(context, x, anchored)
    if ends is None or not _is_worth_it(*ends):
        return scale_of(context.threshold(x), bits)
    return 2 * precision_range(bits) / (ends[1] - ends[0])


def same_affine_scale(context: QuantizationContext, nodes: Sequence[fx.Node], bits: int) -> tuple[list[Affine], float]:
    """All nodes at the coarsest of their scales in ``bits`` bits; see ``QuantizationContext.same_scale``."""
    magnitudes = [context.threshold(node) for node in nodes]
    scales = [affine_scale(context, node, bits) for node, magnitude in zip(nodes, magnitudes, strict=True) if magnitude]
    scale = min(scales, default=1.0)
    return [affine(context, node, bits, scale) for node in nodes], scale


def _rescaled(context: QuantizationContext, x: fx.Node, bits: int, scale: float, zero: int) -> Affine:
    held = context.held(x)
    if not isinstance(held, ChannelQuantized):
        held = ChannelQuantized(held.node, torch.tensor([held.scale], dtype=torch.float64))
    count = len(held.scales)
    targets = torch.full((count,), scale, dtype=torch.float64)
    node, real = rescale_channels(context, held, context.channel_magnitudes(x, count), targets, bits,
                                  torch.full((count,), zero, dtype=torch.int64))
    return Affine(node, float(real) if count == 1 else scale, zero)


def _range(context: QuantizationContext, x: fx.Node, anchored: bool) -> tuple[float, float] | None:
    """Ends of the values, within what is proven of them; None without a zero point, or without two ends."""
    if not is_affine(context, x):
        return None
    if context.is_constant(x):
        low, high = map(float, torch.aminmax(context.tensor(x)))
    else:
        feature, held = context.calibrated.features.get(x.name), context.held(x)
        if feature is None or isinstance(feature, AFeature) or context.threshold(x) == 0:
            return None
        low, high = feature.get_range()
        if not isinstance(held, ChannelQuantized):
            proven = held.value_range
            low, high = (min(max(end, proven.minimum / held.scale), proven.maximum / held.scale) for end in (low, high))
    if anchored or low == high:
        low, high = min(low, 0.0), max(high, 0.0)
    return (low, high) if low < high else None


def _is_worth_it(low: float, high: float) -> bool:
    return 2 * max(abs(low), abs(high)) >= SMALLEST_GAIN * (high - low)


def _fits(context: QuantizationContext, x: fx.Node, bits: int) -> bool:
    """Whether the integers as they stand have so few bits that nothing is to be gained."""
    if context.is_constant(x):
        return False
    held = context.held(x)
    if isinstance(held, ChannelQuantized):
        return False
    return min(held.value_range.precision, get_bit(context.threshold(x) * held.scale)) <= bits


def affine_sum(context: QuantizationContext, terms: Sequence[fx.Node], bits: int, operator: str, sign: int
               ) -> tuple[fx.Node, float]:
    """``terms[0] + sign * terms[1]`` by ``operator``, their zero points as one constant behind it; and its scale."""
    parts, scale = same_affine_scale(context, terms, bits)
    node = context.call(operator, *(part.node for part in parts))
    return with_zero(context, node, parts[0].zero + sign * parts[1].zero), scale


def affine_concatenation(context: QuantizationContext, terms: Sequence[fx.Node], bits: int, axis: int
                         ) -> tuple[fx.Node, float]:
    """The terms side by side, each with its zero point, as one constant along ``axis`` behind it; and its scale."""
    parts, scale = same_affine_scale(context, terms, bits)
    node = context.call("concatenate", [part.node for part in parts], axis=axis)
    zeros = torch.tensor([part.zero for part in parts])
    if bool((zeros == zeros[0]).all()):
        return with_zero(context, node, int(zeros[0])), scale
    extents = torch.tensor([shape_of(part.node)[axis] for part in parts])
    shape = [-1 if position == axis else 1 for position in range(len(shape_of(node)))]
    constant = context.constant(f"{source_name(node)}_zeros", zeros.repeat_interleave(extents).reshape(shape))
    return context.call("broadcast_add", node, constant), scale


def affine_factors(context: QuantizationContext, factors: Sequence[fx.Node], bits: int, product_bits: int
                   ) -> list[Affine]:
    """Two factors with their zero points added, so narrow that their product has ``product_bits`` bits at most."""
    widths = [bits, min(bits, product_bits - bits)]
    if all(is_affine(context, factor) for factor in factors):
        widths[0] = min(bits, product_bits - widths[1] - 1)
    found = [affine(context, factor, width) for factor, width in zip(factors, widths, strict=True)]
    return [Affine(part.restored(context), part.scale, 0) for part in found]
