"""What shares a scale: the output channels of a weight, the groups of an operand; as configured, or by the recipe."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import fx

from mrt_torch.calibration.raw_features import AFFINE, GROUPED
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import describe

if TYPE_CHECKING:
    from mrt_torch.quantization.context import QuantizationContext

CHANNEL, LAYER, GROUP = "channel", "layer", "group"


def weight_granularity(context: QuantizationContext, weight: fx.Node) -> str:
    """What has a scale of its own in a weight: "channel" (each output channel), "group", or "layer" (the tensor).

    A weight that is configured layer-wise has one scale; one that is group-wise, or quantized by GroupConv, has one for
    each group; others have what the recipe says.
    """
    configured = context.settings.configuration.get(weight.name, {})
    granularity = configured.get("gn_info", {}).get("gn_type")
    if granularity == "group-wise" or granularity is None and configured.get("quant_type") == GROUPED:
        return GROUP
    if granularity == "layer-wise":
        return LAYER
    return CHANNEL if context.recipe.weights_by_channel else LAYER


def channels_of_a_scale(context: QuantizationContext, op: fx.Node, weight: fx.Node) -> int:
    """How many output channels in a row share a scale of the weight of ``op``.

    Raises:
        InvalidArgumentError: the configured groups do not divide the output channels.
    """
    outputs, per_group = shape_of(weight)[:2]
    granularity = weight_granularity(context, weight)
    if granularity != GROUP:
        return 1 if granularity == CHANNEL else outputs
    groups = _configured_groups(context, weight) or shape_of(op.args[0])[1] // per_group
    if outputs % groups:
        raise InvalidArgumentError("the groups of a weight must divide its output channels", where=describe(weight),
                                   why=f"saw {outputs} channels and {groups} groups",
                                   remedy="set num_groups to the number of groups of the convolution")
    return outputs // groups


def operand_groups(context: QuantizationContext, x: fx.Node, groups: int) -> int:
    """How many groups of channels of an operand have a scale, where a weighted sum of ``groups`` groups reads it.

    An activation that is configured group-wise, or quantized by GroupConv, has as many as the sum can tell apart;
    one that is configured UniformSymmetric or UniformAffine has one, and others follow the recipe.

    Raises:
        InvalidArgumentError: neither of the configured and the sum's number of groups divides the other.
    """
    quantizer = context.settings.configuration.get(x.name, {}).get("quant_type")
    wanted = _configured_groups(context, x)
    if wanted is None:
        apart = quantizer == GROUPED or quantizer is None and context.recipe.inputs_by_group
        return groups if apart and context.operand_range(x, groups) is not None else 1
    if wanted % groups and groups % wanted:
        raise InvalidArgumentError("the groups of an input must be those of the convolution", where=describe(x),
                                   why=f"it is configured with {wanted}, a convolution of {groups} groups reads it",
                                   remedy=f"set num_groups to {groups}")
    found = math.gcd(wanted, groups)
    return found if context.operand_range(x, found) is not None else 1


def is_chosen(context: QuantizationContext, x: fx.Node) -> bool:
    """Whether the user, or a configured quantizer or optimizor, chose the range of an activation."""
    configured = context.settings.configuration.get(x.name, {})
    return x.name in context.settings.chosen_ranges or not {"quant_type", "opt_info"}.isdisjoint(configured)


def _configured_groups(context: QuantizationContext, node: fx.Node) -> int | None:
    return context.settings.configuration.get(node.name, {}).get("gn_info", {}).get("num_groups")


def shared_maximum(values: torch.Tensor, count: int) -> torch.Tensor:
    """The largest of each ``count`` values in a row, in place of each of them: (O,) to (O,)."""
    return values.reshape(-1, count).amax(1).repeat_interleave(count)


class WeightRange(NamedTuple):
    """Weights (O, ...) float64, and for each output channel the middle of their range and half its width, (O,).

    Middles are 0 for a symmetric weight.
    """

    weights: torch.Tensor
    middles: torch.Tensor
    halves: torch.Tensor


def weight_range(context: QuantizationContext, weight: fx.Node, count: int) -> WeightRange:
    """The range that integers must hold, shared by ``count`` channels in a row, after clipping to what is set for it.

    A UniformAffine weight has the middle between its extremes; where these are equal it is symmetric.
    """
    weights = context.tensor(weight)
    feature = context.calibrated.features.get(weight.name)
    if feature is not None:
        ranges = feature.get_channel_ranges()
        if ranges is None or len(weights) % len(ranges[0]):
            ranges = tuple((end,) for end in feature.get_range())
        low, high = (torch.tensor(ends, dtype=torch.float64).repeat_interleave(len(weights) // len(ends))
                     .reshape([-1] + [1] * (weights.dim() - 1)) for ends in ranges)
        weights = weights.clamp(low, high)
    rows = weights.flatten(1)
    if context.quantizer(weight) != AFFINE:
        return WeightRange(weights, torch.zeros(len(rows), dtype=torch.float64),
                           shared_maximum(rows.abs().amax(1), count))
    highs, lows = shared_maximum(rows.amax(1), count), -shared_maximum(-rows.amin(1), count)
    spread = highs > lows
    return WeightRange(weights, torch.where(spread, (lows + highs) / 2, torch.zeros_like(lows)),
                       torch.where(spread, (highs - lows) / 2, highs.abs()))
