"""Functions of one variable by lookup table: sigmoid, tanh, exp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from mrt_torch.ops.activation import ElementwiseTransformer
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import int_realize
from mrt_torch.quantization.precision import scale as scale_of

aten = torch.ops.aten
TABLE_PRECISION = 16


def quantize_table(context: QuantizationContext, x: fx.Node, bits: int, function: Callable[[torch.Tensor], torch.Tensor],
                   name: str) -> Quantized:
    """Y = f(X) with one table entry for each integer X can be. (MRT's ``_quantize_table``.)

    X is requantized to ``bits`` bits and scale s, so |X| <= alpha; entry i holds round(f((i - alpha) / s) * t), with
    t chosen so that the largest entry fills 16 bits; the index is X + alpha. Against f of the quantized input the
    error is half a unit of 16 bits: 2**-16 of the largest value.
    """
    quantized = context.requantize(x, bits)
    alpha = quantized.value_range.magnitude
    inputs = torch.arange(-alpha, alpha + 1, dtype=torch.float64) / quantized.scale
    outputs = function(inputs)
    scale = scale_of(float(outputs.abs().max()), TABLE_PRECISION)
    table = context.constant(f"{name}_table", int_realize(outputs * scale, TABLE_PRECISION).reshape(-1, 1))
    index = context.call("broadcast_add", quantized.node, context.number(alpha)) if alpha else quantized.node
    return Quantized(context.call("cvm_lut", index, table), scale)


class Activation(ElementwiseTransformer):
    """A function quantized by table; subclasses give ``op_name`` and ``function`` (float64 in and out)."""

    op_name = "Activation"

    @staticmethod
    def function(values: torch.Tensor) -> torch.Tensor:
        """The function, element by element."""
        raise TypeError("Activation is abstract: a subclass gives its function")

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See ``quantize_table``."""
        bits = context.settings.operator_precision(self.op_name)
        return quantize_table(context, op.args[0], bits, self.function, op.name)


@register_pass("validate", "rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.sigmoid.default)
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    op_name = "sigmoid"
    function = staticmethod(torch.sigmoid)


@register_pass("validate", "rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.tanh.default)
class Tanh(Activation):
    """Hyperbolic tangent."""

    op_name = "tanh"
    function = staticmethod(torch.tanh)


@register_pass("validate", "rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.exp.default)
class Exp(Activation):
    """exp(x)."""

    op_name = "exp"
    function = staticmethod(torch.exp)
