"""Logits with a term that spreads far wider than the other, such as a mask of 0 and -10000 that no rule recognised.

At one scale such a term takes all the bits of the sum. A softmax needs neither the level of a term, because it divides
by the sum, nor what is far below the largest, whose exponential is 0. So before they are added,

    B' = max(B - max(B), -C) along the axis of the softmax,  C = 2 * |A| + softmax_lambd

with |A| the threshold of the other term: nothing within softmax_lambd of the largest sum is changed but by one number
for the whole axis, whatever B is.
"""

from __future__ import annotations

import math

import torch
from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops.reduction import reduce_integers
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import int_realize
from mrt_torch.quantization.precision import scale as scale_of

aten = torch.ops.aten
SUM_BITS = 16
COARSE = 512.0  # a sum of 16 bits resolves 1 / 64 up to this threshold
DEPTH_OF_LENGTH = 2.0  # log(n / 64) for the longest axes, see ``softmax.exponentials``


def narrowed_logits(context: QuantizationContext, logits: fx.Node, axis: int) -> Quantized | None:
    """``A + B'`` in 16 bits for a sum or difference A + B whose B alone exceeds 512; None for other logits.

    Error: half a unit of 16 bits of |A| + C for each of them.

    Args:
        context: of the quantization.
        logits: float node that a softmax reads.
        axis: of the softmax, not negative.
    """
    if logits.target not in (aten.add.Tensor, aten.sub.Tensor) or context.threshold(logits) <= COARSE:
        return None
    signs = (1, -1 if logits.target is aten.sub.Tensor else 1)
    (narrow, sign), (wide, wide_sign) = sorted(zip(logits.args, signs, strict=True),
                                               key=lambda term: context.threshold(term[0]))
    threshold = context.threshold(narrow)
    if threshold > COARSE or context.is_constant(narrow):
        return None
    reach = 2 * threshold + context.settings.softmax_lambd + DEPTH_OF_LENGTH + 1
    scale = scale_of(threshold + reach, SUM_BITS)
    node = context.requantize(narrow, SUM_BITS, scale).node
    node = node if sign > 0 else context.call("negative", node)
    own_axis = axis - len(shape_of(logits)) + len(shape_of(wide))
    if own_axis < 0 or shape_of(wide)[own_axis] == 1:  # the same number for the whole axis
        return Quantized(node, scale)
    spread = _spread(context, wide, wide_sign, own_axis, reach, scale)
    return Quantized(context.call("broadcast_add", node, spread), scale)


def _spread(context: QuantizationContext, wide: fx.Node, sign: int, axis: int, reach: float, scale: float) -> fx.Node:
    """B' at ``scale``."""
    if context.is_constant(wide):
        tensor = sign * context.tensor(wide)
        tensor = (tensor - tensor.amax(axis, keepdim=True)).clamp(min=-reach)
        return context.constant(f"{wide.name}_spread", int_realize(tensor * scale, SUM_BITS))
    node, own = context.value(wide)
    node = node if sign > 0 else context.call("negative", node)
    below = context.call("broadcast_sub", node, reduce_integers(context, "max", node, [axis], True))
    limit = math.ceil(reach * own)
    if facts_of(below).value_range.minimum < -limit:
        below = context.call("clip", below, a_min=-limit, a_max=0)
    return context.rescale(Quantized(below, own), limit / own, SUM_BITS, scale).node
