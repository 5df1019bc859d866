"""Quotients of integers: the CVM's ``broadcast_div`` truncates, so the dividend is made as large as 31 bits allow."""

from __future__ import annotations

import math

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import get_bit, int_realize

LARGEST_DIVIDEND = 2 ** 30 - 1
PRODUCT_BITS = 32
QUOTIENT_UNITS = 2 ** 16      # in the largest quotient
WIDEST_DIVISOR = 31
SMALLEST_THRESHOLD = 1e-30    # of a quotient or divisor; below, it counts as zero


def divide(context: QuantizationContext, x: fx.Node, divisor: fx.Node, threshold: float, bits: int) -> Quantized:
    """``Y = trunc(X * P / B)`` for float nodes x and divisor, of which x may be a constant; ``Y = 0`` where B is 0.

    X has ``bits`` bits, a constant 31. The scale of Y is s_x * P / s_b, 2**16 over the largest quotient that
    calibration saw. P fills X * P to 32 bits, and B is rounded to the scale that goes with it, unless its own is
    coarser: P is smaller then. A quotient of twice the largest saturates.

    Error: less than a unit of Y, 2**-16 of the largest quotient, and of y itself half a unit of X over X and half a
    unit of B over B. B has about 15 bits where the quotient is largest, and more elsewhere.

    Args:
        context: of the quantization.
        x: dividend, an activation or a parameter.
        divisor: an activation.
        threshold: largest quotient that calibration saw.
        bits: of the dividend where it is an activation, at most 24.
    """
    constant = context.is_constant(x)
    dividend, b = context.threshold(x), context.value(divisor)
    if min(threshold, dividend, context.threshold(divisor)) < SMALLEST_THRESHOLD:
        return _zero(context, x, b)
    if constant:
        scale, most = LARGEST_DIVIDEND / dividend, 1
    else:
        quantized = context.requantize(x, bits)
        scale, most = quantized.scale, precision_range(PRODUCT_BITS - quantized.precision)
    finest = scale * most * threshold / QUOTIENT_UNITS  # of B, if P is as large as can be
    if b.scale > finest:
        wanted = min(get_bit(context.threshold(divisor) * finest) + 1, WIDEST_DIVISOR)
        b = context.requantize(divisor, wanted, finest)
        factor = most
    elif constant:
        scale, factor = min(scale, QUOTIENT_UNITS * b.scale / threshold), 1
    else:
        factor = min(max(math.ceil(QUOTIENT_UNITS * b.scale / (threshold * scale)), 1), most)
    if constant:
        node = context.constant(f"{x.name}_dividend", int_realize(context.tensor(x) * scale, 31))
    else:
        node = quantized.node
        if factor > 1:
            node = context.call("broadcast_mul", node, context.number(factor))
    quotient = context.call("broadcast_div", node, b.node)
    scale = scale * factor / b.scale
    return Quantized(context.narrow(quotient, min(get_bit(threshold * scale) + 1, 32)), scale)


def _zero(context: QuantizationContext, x: fx.Node, b: Quantized) -> Quantized:
    """Zeros in the shape of the quotient."""
    if context.is_constant(x):
        shaped = context.constant(f"{x.name}_zeros", torch.zeros_like(context.tensor(x), dtype=torch.int32))
    else:
        shaped = context.narrow(context.value(x).node, 1)
    return Quantized(context.call("broadcast_mul", context.narrow(b.node, 1), shaped), 1.0)
