"""Logical operators on truth values."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.facts import source_name
from mrt_torch.ops.activation import ElementwiseTransformer
from mrt_torch.ops.elementwise import BinaryTransformer
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.truth import opposite
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten
NOT = aten.logical_not.default


def as_truth(node: fx.Node, editor: GraphEditor) -> fx.Node:
    """A tensor of truth values: ``node`` itself, or where it is not 0."""
    return node if node.meta["val"].dtype is torch.bool else editor.call(aten.ne.Scalar, node, 0)


def truth_integers(context: QuantizationContext, node: fx.Node) -> fx.Node:
    """Integers 0 and 1 of a float node that holds truth values, constant or not."""
    if context.is_constant(node):
        return context.constant(source_name(node), context.tensor(node).to(torch.int64))
    return context.value(node).node


class LogicalTransformer(BinaryTransformer):
    """What the logical operators of two tensors share."""

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Operands of another type become truth values: what is not 0 is true."""
        operands = [as_truth(node, editor) for node in op.args]
        return op if operands == list(op.args) else editor.call(op.target, *operands)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """Exact: integers 0 and 1 at scale 1."""
        return Quantized(self.combine(context, *(truth_integers(context, node) for node in op.args)), 1.0)

    @staticmethod
    def combine(context: QuantizationContext, left: fx.Node, right: fx.Node) -> fx.Node:
        raise TypeError("LogicalTransformer is abstract: a subclass gives combine")


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.logical_and.default)
class LogicalAnd(LogicalTransformer):
    """A and B: the product."""

    op_name = "broadcast_logical_and"
    cvm_operators = ("broadcast_mul",)

    @staticmethod
    def combine(context: QuantizationContext, left: fx.Node, right: fx.Node) -> fx.Node:
        return context.call("broadcast_mul", left, right)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.logical_or.default)
class LogicalOr(LogicalTransformer):
    """A or B: the maximum."""

    op_name = "broadcast_logical_or"
    cvm_operators = ("broadcast_max",)

    @staticmethod
    def combine(context: QuantizationContext, left: fx.Node, right: fx.Node) -> fx.Node:
        return context.call("broadcast_max", left, right)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.logical_xor.default)
class LogicalXor(LogicalTransformer):
    """Either A or B: abs(A - B)."""

    op_name = "broadcast_logical_xor"
    cvm_operators = ("broadcast_sub", "abs")

    @staticmethod
    def combine(context: QuantizationContext, left: fx.Node, right: fx.Node) -> fx.Node:
        return context.call("abs", context.call("broadcast_sub", left, right))


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(NOT)
class LogicalNot(ElementwiseTransformer):
    """not A: 1 - A."""

    op_name = "logical_not"
    cvm_operators = ("broadcast_sub",)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """not (not A) is A; not A of numbers is A == 0."""
        source = op.args[0]
        if source.meta["val"].dtype is not torch.bool:
            return editor.call(aten.eq.Scalar, source, 0)
        return source.args[0] if source.target is NOT else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """Exact."""
        return Quantized(opposite(context, context.value(op.args[0]).node), 1.0)
