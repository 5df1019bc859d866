"""Nodes kept in float on request: a debugging aid that shows what one operator's quantization costs.

The graph that holds such islands runs in torch; it is not integer-only and cannot be exported.
"""

from __future__ import annotations

import torch
from torch import fx

from mrt_torch.cvm.interval import Interval
from mrt_torch.graph.editor import tensor_of
from mrt_torch.graph.facts import set_facts, source_name
from mrt_torch.graph.float_operators import define_float_operator
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import int_realize
from mrt_torch.quantization.precision import scale as scale_of

RESTORED_PRECISION = 16


def _dequantize(data: torch.Tensor, scale: float) -> torch.Tensor:
    return (data.to(torch.float64) / scale).to(torch.float32)


def _quantize(data: torch.Tensor, scale: float, precision: int) -> torch.Tensor:
    return int_realize(data.to(torch.float64) * scale, precision)


define_float_operator("dequantize", "(Tensor data, float scale) -> Tensor", _dequantize)
define_float_operator("quantize", "(Tensor data, float scale, int precision) -> Tensor", _quantize)


def restore_node(op: fx.Node, context: QuantizationContext) -> Quantized:
    """Inputs divided by their scales, the float operator itself, and its result in 16 bits."""
    def operand(node: fx.Node) -> fx.Node:
        if context.is_constant(node):
            return context.editor.constant(source_name(node), tensor_of(context.module, node))
        integer, scale = context.value(node)
        number, dtype = context.editor.call(torch.ops.mrt.dequantize.default, integer, scale), node.meta["val"].dtype
        if dtype.is_floating_point:
            return number
        return context.editor.call(torch.ops.aten._to_copy.default, number, dtype=dtype)  # truth values and indices

    args, kwargs = fx.map_arg((op.args, op.kwargs), operand)
    result = context.editor.call(op.target, *args, **kwargs)
    scale = scale_of(context.threshold(op), RESTORED_PRECISION)
    integer = context.editor.call(torch.ops.mrt.quantize.default, result, scale, RESTORED_PRECISION)
    set_facts(integer, precision=RESTORED_PRECISION, value_range=Interval.symmetric(RESTORED_PRECISION))
    return Quantized(integer, scale)


def float_nodes(module: fx.GraphModule) -> list[str]:
    """Names of the operators that a quantized graph keeps in float."""
    return [source_name(node) for node in module.graph.nodes
            if node.op == "call_function" and not str(node.target).startswith(("cvm.", "mrt."))]
