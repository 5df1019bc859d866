"""MRT's requantization helpers under their documented names, over a QuantizationContext. (MRT, ``tfm_utils``.)"""

from __future__ import annotations

from torch import fx

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.facts import describe
from mrt_torch.quantization.context import QuantizationContext, Quantized

Requantized = tuple[fx.Node, int, float]


def requant(node: fx.Node, oprec: int, oscale: float | None = None, *, context: QuantizationContext) -> Requantized:
    """Integer node, bits and scale of a float node in at most ``oprec`` bits, at about ``oscale`` where given."""
    return _unpacked(context.requantize(node, oprec, oscale))


def requant_operator(node: fx.Node, oprec: int, oscale: float | None = None, *, context: QuantizationContext
                     ) -> Requantized:
    """``requant`` of an activation: a multiplication and a rounding shift, or nothing where it fits already.

    Raises:
        InvalidArgumentError: the node is a parameter.
    """
    if context.is_constant(node):
        raise InvalidArgumentError("requant_operator takes an activation", where=describe(node),
                                   remedy="use requant_parameter, or requant for either")
    return requant(node, oprec, oscale, context=context)


def requant_parameter(node: fx.Node, oprec: int, oscale: float | None = None, *, context: QuantizationContext
                      ) -> Requantized:
    """``requant`` of a parameter: round(w * scale), ties away from zero, clamped.

    Raises:
        InvalidArgumentError: the node is no parameter.
    """
    if not context.is_constant(node):
        raise InvalidArgumentError("requant_parameter takes a parameter", where=describe(node),
                                   remedy="use requant_operator, or requant for either")
    return _unpacked(context.parameter(node, oprec, oscale))


def realize(node: fx.Node, shift_bits: int, prec: int, *, context: QuantizationContext) -> fx.Node:
    """clamp(round(x / 2**shift_bits)) of an integer node to ``prec`` bits; ties go to plus infinity.

    A negative shift multiplies by ``2**-shift_bits``: the runtime's CPU back end cannot shift left.
    """
    if shift_bits > 0:
        return context.call("cvm_right_shift", node, precision=prec, shift_bit=shift_bits)
    if shift_bits < 0:
        node = context.call("broadcast_mul", node, context.number(1 << -shift_bits))
    return context.narrow(node, prec)


def _unpacked(quantized: Quantized) -> Requantized:
    return quantized.node, quantized.precision, quantized.scale
