"""Operators of two tensors, element by element with broadcasting: add, sub, mul, div, maximum, minimum."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import facts_of, set_facts, source_name
from mrt_torch.graph.free_axis import free_shape
from mrt_torch.ops.division import divide
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, reverse_transpose, sink_common_transpose
from mrt_torch.ops.vector_norm import divided_by_own_norm
from mrt_torch.quantization.affine import affine_factors, affine_sum, has_affine, same_affine_scale
from mrt_torch.quantization.context import Held, QuantizationContext, Quantized

aten = torch.ops.aten
WIDEST_TERM = 30
PRODUCT_BITS = 31


class BinaryTransformer(Transformer):
    """What the operators of two tensors share."""

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """f(Transpose(A), Transpose(B)) becomes Transpose(f(A, B)); a constant is transposed back at once.

        Only for equal axes and as many of them in both, and where nothing else reads the transposes.
        """
        found = sink_common_transpose(op, op.args, editor, context)
        return op if found is None else editor.call(PERMUTE, editor.call(op.target, *found[1], **op.kwargs), found[0])


def _same_shapes(op: fx.Node) -> bool:
    return free_shape(op.args[0]) == free_shape(op.args[1])


def quantize_scale(op: fx.Node, context: QuantizationContext, bits: int) -> tuple[list[fx.Node], float]:
    """Both inputs at one scale, see ``QuantizationContext.same_scale``. (MRT's ``_quantize_scale``.)

    Beside a constant, an activation that is already finer than ``bits`` bits keeps its own scale and the constant
    takes it: nothing is rescaled, and the constant is rounded to a finer grid. So it is where the constant is exact at
    that scale, as zeros are that only broadcast: whole numbers, which a cast may read next, stay exact.
    """
    constants = [context.is_constant(node) for node in op.args]
    if any(constants) and not all(constants):
        constant, activation = op.args if constants[0] else op.args[::-1]
        node, scale = context.value(activation)
        if facts_of(node).value_range.magnitude == 0:
            scale = _scale_beside_zeros(context.tensor(constant), scale)
        precision, terms = facts_of(node).value_range.precision, context.tensor(constant) * scale
        precise = bits <= precision <= WIDEST_TERM or precision <= bits and torch.equal(terms, terms.round())
        if precise and context.threshold(constant) * scale <= precision_range(WIDEST_TERM):
            fixed = context.parameter(constant, WIDEST_TERM, scale).node
            return ([fixed, node] if constants[0] else [node, fixed]), scale
    return context.same_scale(op.args, bits)


def _scale_beside_zeros(terms: torch.Tensor, scale: float) -> float:
    """Zeros, as of a tensor that only gives its shape, have any scale: 1 beside whole numbers, such as classes."""
    return 1.0 if torch.equal(terms, terms.round()) else scale


def _scalar_operand(op: fx.Node, editor: GraphEditor) -> tuple[fx.Node, float, bool] | None:
    """The tensor, the number and whether that stands left, where one operand is a constant of one element.

    None where neither is, or where it gives the tensor more axes.
    """
    for constant, other in (op.args[::-1], op.args):
        if constant.op == "get_attr" and other.op != "get_attr" and shape_of(op) == shape_of(other):
            tensor = editor.tensor_of(constant)
            if tensor.numel() == 1:
                return other, float(tensor), constant is op.args[0]
    return None


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.add.Tensor)
class BroadcastAdd(BinaryTransformer):
    """X + B."""

    op_name = "broadcast_add"
    cvm_operators = ("elemwise_add", "broadcast_add")
    elementwise, broadcast, sign = "elemwise_add", "broadcast_add", 1

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """X + c where B is a constant of one element."""
        found = _scalar_operand(op, editor)
        return editor.call(aten.add.Scalar, found[0], found[1]) if found else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """Both at the scale of the larger threshold in 16 bits, then the integer sum.

        Error: half a unit of 16 bits for each of them. Zero points that are configured come back behind the sum.
        """
        bits = context.settings.operator_precision(self.op_name)
        name = self.elementwise if _same_shapes(op) else self.broadcast
        if has_affine(context, op.args):
            return Quantized(*affine_sum(context, op.args, bits, name, self.sign))
        nodes, scale = quantize_scale(op, context, bits)
        return Quantized(context.call(name, *nodes), scale)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.sub.Tensor)
class BroadcastSub(BroadcastAdd):
    """X - B."""

    op_name = "broadcast_sub"
    cvm_operators = ("elemwise_sub", "broadcast_sub", "broadcast_add")
    elementwise, broadcast, sign = "elemwise_sub", "broadcast_sub", -1

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """X - c, or c - X, where the other is a constant of one element."""
        found = _scalar_operand(op, editor)
        if found is None:
            return op
        return editor.call(aten.rsub.Scalar if found[2] else aten.sub.Scalar, found[0], found[1])


@register_pass("validate", "calculate_ops", "compile")
@register_transformer(aten.mul.Tensor, torch.ops.cvm.broadcast_mul.default)
class BroadcastMul(BinaryTransformer):
    """X * B."""

    op_name = "broadcast_mul"
    cvm_operators = ("broadcast_mul", "broadcast_add")

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A constant of one element becomes a scalar, which costs nothing."""
        found = _scalar_operand(op, editor)
        return editor.call(aten.mul.Scalar, found[0], found[1]) if found else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """Xq * Bq with scale s_x * s_b: 16 and 15 bits, so that the product may be shifted on all back ends.

        Error: half a unit of each factor, times the other; the product itself is exact.
        """
        left, right = affine_factors(context, op.args, context.settings.operator_precision(self.op_name), PRODUCT_BITS)
        return Quantized(context.call("broadcast_mul", left.node, right.node), left.scale * right.scale)

    def prepare_for_compile(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A product that is proven to be zero becomes a parameter of zeros."""
        if facts_of(op).value_range.magnitude:
            return op
        zeros = editor.constant(source_name(op), torch.zeros(shape_of(op), dtype=torch.int32))
        set_facts(zeros, scale=facts_of(op).scale)
        return zeros


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.div.Tensor)
class BroadcastDiv(BinaryTransformer):
    """X / B."""

    op_name = "broadcast_div"
    cvm_operators = ("broadcast_mul", "broadcast_div", "cvm_clip")
    limits = "A constant divisor that holds a zero is refused."

    def validate(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> str | None:
        if op.kwargs.get("rounding_mode") is not None:
            return f"its rounding mode is {op.kwargs['rounding_mode']}"
        if op.args[1].op == "get_attr" and not bool((editor.tensor_of(op.args[1]) != 0).all()):
            return "the constant divisor holds a zero"
        return None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """X * (1 / B) for a constant B, the reciprocal computed in float64; and X over its own norm as RMSNorm."""
        if op.args[1].op == "get_attr":
            divisor = editor.tensor_of(op.args[1])
            reciprocal = divisor.to(torch.float64).reciprocal().to(op.meta["val"].dtype)
            return editor.call(aten.mul.Tensor, op.args[0], editor.constant(f"{op.name}_reciprocal", reciprocal))
        return divided_by_own_norm(op, editor) or op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See ``divide``: one truncated division, with X in 16 bits and the quotient in 16 of its largest."""
        bits = context.settings.operator_precision(self.op_name)
        return divide(context, op.args[0], op.args[1], context.threshold(op), bits)


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.maximum.default)
class Maximum(BinaryTransformer):
    """max(X, B)."""

    op_name = "_maximum"
    cvm_operators = ("broadcast_max", "broadcast_add")

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A clip from c upwards where B is a constant c of one element."""
        found = _scalar_operand(op, editor)
        return editor.call(aten.clamp.default, found[0], found[1], None) if found else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """Both at the scale of the larger threshold in 16 bits, then the larger integer."""
        bits = context.settings.operator_precision("broadcast_add")
        if has_affine(context, op.args):
            parts, scale = same_affine_scale(context, op.args, bits)
            return Quantized(context.call("broadcast_max", *(part.restored(context) for part in parts)), scale)
        nodes, scale = quantize_scale(op, context, bits)
        return Quantized(context.call("broadcast_max", *nodes), scale)


@register_pass("validate", "calculate_ops", "quantize", "prepare_for_compile", "compile")
@register_transformer(aten.minimum.default)
class Minimum(BinaryTransformer):
    """min(X, B); gone after rewrite."""

    op_name = "_minimum"
    rewritten_into = "-max(-X, -B)"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A clip up to c where B is a constant c of one element, else -max(-X, -B): the runtime has no minimum."""
        found = _scalar_operand(op, editor)
        if found:
            return editor.call(aten.clamp.default, found[0], None, found[1])
        negated = [editor.call(aten.neg.default, node) for node in op.args]
        return editor.call(aten.neg.default, editor.call(aten.maximum.default, *negated))


@register_pass("validate", "rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.neg.default)
class Negative(Transformer):
    """-X."""

    op_name = "negative"
    cvm_operators = ("negative",)

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """See ``reverse_transpose``."""
        return reverse_transpose(op, editor=editor, **context)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Held:
        """Exact, whatever the scales of the channels."""
        held = context.held(op.args[0])
        return held._replace(node=context.call("negative", held.node))


@register_pass("validate", "rewrite", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(aten.abs.default)
class Abs(Transformer):
    """abs(X)."""

    op_name = "abs"
    cvm_operators = ("abs",)

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """See ``reverse_transpose``."""
        return reverse_transpose(op, editor=editor, **context)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """Exact."""
        node, scale = context.value(op.args[0])
        return Quantized(context.call("abs", node), scale)


class ElemwiseAdd(BroadcastAdd):
    """X + B of one shape: the class of ``aten.add.Tensor`` under the name it has in MRT."""

    op_name = "elemwise_add"
    cvm_operators = ("elemwise_add",)


class ElemwiseSub(BroadcastSub):
    """X - B of one shape: the class of ``aten.sub.Tensor`` under the name it has in MRT."""

    op_name = "elemwise_sub"
    cvm_operators = ("elemwise_sub",)


class ElemwiseMul(BroadcastMul):
    """X * B of one shape: the class of ``aten.mul.Tensor`` under the name it has in MRT."""

    op_name = "elemwise_mul"
