"""Integers of single float nodes as a quantizer defines them, for those who call ``Quantizer.quantize`` themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import fx

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import describe, facts_of, source_name
from mrt_torch.quantization.channels import ChannelQuantized, rescale_channels

if TYPE_CHECKING:
    from mrt_torch.quantization.context import QuantizationContext
    from mrt_torch.quantization.quantizers import GroupConvQuant, UAQuantizer

WIDEST = 30  # unsigned, so that a sign and a bit for the zero point are left


def emit_affine(context: QuantizationContext, quantizer: UAQuantizer, x: fx.Node, bits: int, scale: float | None
                ) -> tuple[fx.Node, float, float]:
    """Integers in 0 ... 2**bits - 1, their scale and the zero point in float; see ``UAQuantizer.quantize``."""
    if not 1 <= bits <= WIDEST:
        raise InvalidArgumentError(f"an affine precision is 1 to {WIDEST} bits", where=describe(x), why=f"saw {bits}",
                                   remedy="choose fewer bits")
    steps = quantizer.get_range(bits)[1]
    if context.is_constant(x):
        tensor = context.tensor(x)
        low = float(tensor.min())
        chosen = quantizer.get_scale(bits, quantizer.sample(tensor)) if scale is None else scale
        integers, _ = quantizer.int_realize((tensor - low) * chosen, bits)
        return context.constant(source_name(x), integers, shared=False), chosen, low
    held, (low, high) = _with_channels(context, x), _ends(context, x)
    if low == high == 0 or held.value_range.magnitude == 0:
        return context.narrow(held.node, 1), 1.0 if scale is None else scale, 0.0
    chosen = steps / (high - low) if scale is None else scale
    if scale is None and len(held.scales) == 1 and (high - low) * float(held.scales) <= steps:
        chosen = float(held.scales)
    count, zero = len(held.scales), round(low * chosen)
    node, real = rescale_channels(context, held, context.channel_magnitudes(x, count),
                                  torch.full((count,), chosen, dtype=torch.float64), bits + 1,
                                  torch.full((count,), zero, dtype=torch.int64))
    if facts_of(node).value_range.minimum < 0 or facts_of(node).value_range.maximum > steps:
        node = context.call("clip", node, a_min=0, a_max=steps)
    real_scale = float(real) if count == 1 else chosen
    return node, real_scale, zero / real_scale


def emit_grouped(context: QuantizationContext, quantizer: GroupConvQuant, x: fx.Node, bits: int, scale: float | None,
                 groups: int | None) -> tuple[fx.Node, tuple[float, ...]]:
    """Integers of ``bits`` bits, and the scale of each group; see ``GroupConvQuant.quantize``."""
    axis = 0 if context.is_constant(x) else 1
    channels = shape_of(x)[axis]
    feature = quantizer.sample(context.tensor(x), groups=groups, axis=0) if axis == 0 else \
        context.calibrated.features.get(x.name)
    ranges = feature.get_channel_ranges() if feature is not None else None
    magnitudes = torch.tensor([context.threshold(x)] * channels if ranges is None else
                              [max(abs(low), abs(high)) for low, high in zip(*ranges, strict=True)])
    count = len(magnitudes) if groups is None else groups
    if channels % count or len(magnitudes) % count:
        raise InvalidArgumentError("the groups must divide the channels", where=describe(x),
                                   why=f"saw {channels} channels, calibrated in {len(magnitudes)}, and {count} groups",
                                   remedy="pass the number of groups of the convolution")
    thresholds = magnitudes.to(torch.float64).reshape(count, -1).amax(1)
    range_of_bits = quantizer.get_range(bits)[1]
    own = torch.where(thresholds > 0, range_of_bits / torch.where(thresholds > 0, thresholds, 1.0), 1.0)
    scales = own if scale is None else torch.full_like(own, scale)
    each = scales.repeat_interleave(channels // count)
    if axis == 0:
        tensor = context.tensor(x)
        integers, _ = quantizer.int_realize(tensor * each.reshape(-1, *[1] * (tensor.dim() - 1)), bits)
        return context.constant(source_name(x), integers, shared=False), tuple(scales.tolist())
    held = _with_channels(context, x)
    if held.value_range.magnitude == 0:
        return context.narrow(held.node, 1), tuple(scales.tolist())
    spread = ChannelQuantized(held.node, held.scales.expand(channels))
    node, real = rescale_channels(context, spread, context.channel_magnitudes(x, channels), each, bits)
    exact = real.reshape(count, -1)[:, 0] if len(held.scales) == 1 else scales
    return node, tuple(exact.tolist())


def _ends(context: QuantizationContext, x: fx.Node) -> tuple[float, float]:
    """Calibrated ends of an activation; of one value, from zero to it."""
    threshold, feature = context.threshold(x), context.calibrated.features.get(x.name)
    low, high = (-threshold, threshold) if feature is None else feature.get_range()
    return (min(low, 0.0), max(high, 0.0)) if low == high else (low, high)


def _with_channels(context: QuantizationContext, x: fx.Node) -> ChannelQuantized:
    held = context.held(x)
    return held if isinstance(held, ChannelQuantized) else \
        ChannelQuantized(held.node, torch.tensor([held.scale], dtype=torch.float64))
