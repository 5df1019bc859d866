"""Functions of one variable by lookup table: sigmoid, tanh, exp, elu."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import fx

from mrt_torch.ops.activation import ElementwiseTransformer
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import get_bit, int_realize
from mrt_torch.quantization.precision import scale as scale_of

aten = torch.ops.aten
TABLE_PRECISION = 16


def quantize_table(context: QuantizationContext, x: fx.Node, bits: int,
                   function: Callable[[torch.Tensor], torch.Tensor], name: str) -> Quantized:
    """Y = f(X) with one table entry for each integer X can be. (MRT's ``_quantize_table``.)

    X is requantized to ``bits`` bits and scale s, so |X| <= alpha; entry i holds round(f((i - alpha) / s) * t), with
    t chosen so that the largest entry fills 16 bits; the index is X + alpha. Against f of the quantized input the
    error is half a unit of 16 bits: 2**-16 of the largest value.
    """
    quantized = context.requantize(x, bits)
    # Values that calibration never came near would set the scale of the whole table.
    reached = get_bit(context.threshold(x) * quantized.scale)
    quantized = Quantized(context.narrow(quantized.node, min(bits, reached)), quantized.scale)
    alpha = quantized.value_range.magnitude
    inputs = torch.arange(-alpha, alpha + 1, dtype=torch.float64) / quantized.scale
    outputs = function(inputs)
    scale = scale_of(float(outputs.abs().max()), TABLE_PRECISION)
    table = context.constant(f"{name}_table", int_realize(outputs * scale, TABLE_PRECISION).reshape(-1, 1))
    index = context.call("broadcast_add", quantized.node, context.number(alpha)) if alpha else quantized.node
    return Quantized(context.call("cvm_lut", index, table), scale)


class Activation(ElementwiseTransformer):
    """A function quantized by table.

    A subclass gives ``op_name`` and ``function``, or ``function_of`` where the function depends on the node's
    arguments. ``input_precision`` holds for operators the settings have no default for.
    """

    op_name = "Activation"
    input_precision: ClassVar[int] = 12

    @staticmethod
    def function(values: torch.Tensor) -> torch.Tensor:
        """The function, element by element, of a float64 tensor."""
        raise TypeError("Activation is abstract: a subclass gives its function")

    def function_of(self, op: fx.Node) -> Callable[[torch.Tensor], torch.Tensor]:
        """The function that a node computes, with the node's arguments filled in."""
        return self.function

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See ``quantize_table``."""
        bits = context.settings.operator_precision(self.op_name, self.input_precision)
        return quantize_table(context, op.args[0], bits, self.function_of(op), op.name)


@register_pass("validate", "rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.sigmoid.default)
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    op_name = "sigmoid"
    function = staticmethod(torch.sigmoid)


@register_pass("validate", "rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.tanh.default)
class Tanh(Activation):
    """Hyperbolic tangent."""

    op_name = "tanh"
    function = staticmethod(torch.tanh)


@register_pass("validate", "rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.exp.default)
class Exp(Activation):
    """exp(x)."""

    op_name = "exp"
    function = staticmethod(torch.exp)


@register_pass("rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.elu.default)
class Elu(Activation):
    """scale * x where x > 0, scale * alpha * (exp(input_scale * x) - 1) elsewhere: also SELU and CELU."""

    op_name = "elu"

    @staticmethod
    def parameters(op: fx.Node) -> tuple[float, ...]:
        """alpha, scale and input_scale; 1 where the node leaves them out."""
        given = tuple(map(float, op.args[1:]))
        return given + (1.0,) * (3 - len(given))

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        parameters = self.parameters(op)
        return None if all(map(math.isfinite, parameters)) else f"its parameters are {parameters}"

    def function_of(self, op: fx.Node) -> Callable[[torch.Tensor], torch.Tensor]:
        parameters = self.parameters(op)
        return lambda values: aten.elu.default(values, *parameters)
