"""Tensors of numbers that depend on no values: zeros_like, ones_like, arange."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.float_operators import define_float_operator
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.shape import integers_of
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, transpose_before
from mrt_torch.quantization.context import QuantizationContext, Quantized

aten = torch.ops.aten


class LikeTransformer(Transformer):
    """One number in the shape of a tensor: a constant, or where the shape follows the batch, made from the tensor."""

    def number(self, op: fx.Node) -> float:
        """The number."""
        raise TypeError("LikeTransformer is abstract: a subclass gives its number")

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return None if math.isfinite(self.number(op)) else f"its number is {self.number(op)}"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A constant where the shape is fixed; it takes no more memory than its number."""
        if free_axis(op) is not None or op.args[0].op != "get_attr" and free_axis(op.args[0]) is not None:
            return op
        number = torch.tensor(self.number(op), dtype=op.meta["val"].dtype)
        return editor.constant(op.name, number.expand(shape_of(op)))

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """like(Transpose(X)) becomes Transpose(like(X))."""
        found = transpose_before(op, context)
        if found is None:
            return op
        inner = editor.call(op.target, found[0], *op.args[1:], **op.kwargs)
        return editor.call(PERMUTE, inner, found[1])

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """X clamped to 1 bit, which is 0, plus 1 or -1 at the scale 1 / abs(number): exact."""
        number = self.number(op)
        zeros = context.narrow(integers_of(context, op.args[0]).node, 1)
        if number == 0:
            return Quantized(zeros, 1.0)
        sign = context.number(1 if number > 0 else -1)
        return Quantized(context.call("broadcast_add", zeros, sign), 1 / abs(number))


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.zeros_like.default)
class ZerosLike(LikeTransformer):
    """Zeros in the shape of a tensor."""

    op_name = "zeros_like"
    cvm_operators = ("cvm_clip",)

    def number(self, op: fx.Node) -> float:
        return 0.0


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.ones_like.default, aten.full_like.default)
class OnesLike(LikeTransformer):
    """Ones, or another number (full_like), in the shape of a tensor."""

    op_name = "ones_like"
    cvm_operators = ("cvm_clip", "broadcast_add")
    limits = "refused: a number that is not finite."

    def number(self, op: fx.Node) -> float:
        return 1.0 if op.target is aten.ones_like.default else float(op.args[1])


def _arange_like(x: torch.Tensor, start: float, step: float, repeat: int, axis: int | None) -> torch.Tensor:
    count = x.numel() if axis is None else x.shape[axis]
    places = torch.arange(count, device=x.device).div(repeat, rounding_mode="floor").to(torch.float64)
    values = start + step * places
    return values.to(x.dtype).reshape(x.shape) if axis is None else values.to(x.dtype)


ARANGE_LIKE = define_float_operator(
    "arange_like", "(Tensor x, float start, float step, int repeat, int? axis) -> Tensor", _arange_like)


@register_pass("fuse_transpose", "calculate_ops", "quantize", "prepare_for_compile", "compile")
@register_transformer(aten.arange.default, aten.arange.start, aten.arange.start_step, ARANGE_LIKE)
class Arange(Transformer):
    """Numbers at equal distances, as many as asked for or as a tensor's axis is long; folded to a constant."""

    op_name = "_arange"
    rewritten_into = "a constant"
    limits = "refused: as many numbers as the batch is long."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        if op.target is not ARANGE_LIKE or not self._follows_batch(op):
            return None
        return "it counts the batch, which is free"

    @staticmethod
    def _follows_batch(op: fx.Node) -> bool:
        x, axis = op.args[0], op.args[4]
        free = free_axis(x)
        return free is not None and (axis is None or axis % len(shape_of(x)) == free)

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """The numbers themselves."""
        if op.target is not ARANGE_LIKE:
            return editor.constant(op.name, op.target(*op.args, **op.kwargs))
        if self._follows_batch(op):
            return op
        like = torch.empty(shape_of(op.args[0]), dtype=op.meta["val"].dtype, device="meta")
        values = _arange_like(torch.empty_strided(like.shape, [0] * like.dim(), dtype=like.dtype), *op.args[1:])
        return editor.constant(op.name, values)
