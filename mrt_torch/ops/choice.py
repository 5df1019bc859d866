"""Where: a choice between two tensors, or a tensor and a number, element by element."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import bits_for, precision_range
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops.logic import as_truth, truth_integers
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, sink_common_transpose
from mrt_torch.ops.truth import snapped_number
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.discrete import reads_through_movement
from mrt_torch.quantization.precision import scale as scale_of

aten = torch.ops.aten
CHOICE_BITS = 16
WIDEST = 28           # a difference, its product with 0 or 1, and a sum add four bits
WIDEST_MASKED = 30    # the product with 0 or 1 alone adds two
MASK_RATIO = 2 ** 12  # a number this far above the tensor beside it is a mask
LARGEST_FLOAT = 2.0 ** 100  # observers measure in float32, and what follows may still add or multiply
SOFTMAX = (aten.softmax.int, aten._softmax.default, aten.log_softmax.int)
LIKE = {aten.zeros_like.default: lambda node: 0.0, aten.ones_like.default: lambda node: 1.0,
        aten.full_like.default: lambda node: float(node.args[1])}
WHERE, WHERE_NUMBER, NUMBER_WHERE = aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf


def uniform_number(node: fx.Node, editor: GraphEditor) -> float | None:
    """The number that every element of a tensor is: of a constant, or of sums and products over 0 * X or ones_like."""
    if node.op == "get_attr":
        tensor = editor.tensor_of(node)
        first = tensor.reshape(-1)[:1]
        return float(first) if tensor.numel() and bool((tensor == first).all()) else None
    steps, value = [], None
    while value is None and node.target in (aten.mul.Scalar, aten.add.Scalar, *LIKE):
        if node.target in LIKE:
            value = LIKE[node.target](node)
        elif node.target is aten.mul.Scalar and node.args[1] == 0:
            value = 0.0
        else:
            steps.append((node.target, node.args[1]))
            node = node.args[0]
    if value is None:
        return None
    for target, number in reversed(steps):
        value = value * number if target is aten.mul.Scalar else value + number
    return value


class Choice(Transformer):
    """What the forms of where share."""

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """where(Transpose(C), Transpose(A), ...) becomes Transpose(where(C, A, ...)); see ``sink_common_transpose``."""
        found = sink_common_transpose(op, [node for node in op.args if isinstance(node, fx.Node)], editor, context)
        if found is None:
            return op
        inner = iter(found[1])
        arguments = [next(inner) if isinstance(node, fx.Node) else node for node in op.args]
        return editor.call(PERMUTE, editor.call(op.target, *arguments), found[0])

    @staticmethod
    def decided(op: fx.Node, editor: GraphEditor) -> fx.Node | float | None:
        """The choice that a condition of one constant truth value makes, if that alone gives the result's shape."""
        condition, *choices = op.args
        number = uniform_number(condition, editor) if condition.op == "get_attr" else None
        choice = None if number is None else choices[0 if number else 1]
        return choice if isinstance(choice, fx.Node) and shape_of(choice) == shape_of(op) else None


@register_pass("validate", "calculate_ops", "prepare_for_compile", "compile")
@register_transformer(WHERE)
class Where(Choice):
    """A where C, else B."""

    op_name = "where"
    cvm_operators = ("broadcast_mul", "where", "broadcast_sub", "broadcast_add", "cvm_clip")

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A number where a choice holds one number only; a truth value as the condition; a choice that is decided."""
        chosen = self.decided(op, editor)
        if chosen is not None:
            return chosen
        condition, x, y = op.args
        if condition.meta["val"].dtype is not torch.bool:
            return editor.call(WHERE, as_truth(condition, editor), x, y)
        for choice, other, target in ((y, x, WHERE_NUMBER), (x, y, NUMBER_WHERE)):
            broadcast = torch.broadcast_shapes(shape_of(condition), shape_of(other))
            same_type = other.meta["val"].dtype == op.meta["val"].dtype
            if other.op != "get_attr" and broadcast == shape_of(op) and same_type:
                number = uniform_number(choice, editor)
                if number is not None:
                    number = number if op.meta["val"].is_floating_point() else int(number)
                    arguments = (other, number) if target is WHERE_NUMBER else (number, other)
                    return editor.call(target, condition, *arguments)
        return op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """Both choices at one scale: as they are where they share one, else at that of the larger in 16 bits.

            where(C * K, A, B)             tensors of one shape, K a power of two
            B + C * (A - B)                otherwise, clamped to the bits of A and B, which loses nothing

        The runtime gives ``where`` the bits of its condition: K makes them as many as those of A and B. Error: half a
        unit of 16 bits of the larger choice, none where nothing is rescaled.
        """
        condition = truth_integers(context, op.args[0])
        (x, y), scale = _at_one_scale(context, op.args[1:])
        bits = max(facts_of(x).precision, facts_of(y).precision)
        if {shape_of(x), shape_of(y), shape_of(condition)} == {shape_of(op)}:
            missing = bits - facts_of(condition).precision
            if missing > 0:
                factor = context.number(1 << max(missing - 2, 0))
                condition = context.call("broadcast_mul", condition, factor)
            return Quantized(context.call("where", condition, x, y), scale)
        difference = context.call("broadcast_sub", x, y)
        mixed = context.call("broadcast_add", context.call("broadcast_mul", condition, difference), y)
        hull = max(facts_of(x).value_range.precision, facts_of(y).value_range.precision)
        return Quantized(context.narrow(mixed, hull), scale)


def _at_one_scale(context: QuantizationContext, choices: tuple[fx.Node, fx.Node]) -> tuple[list[fx.Node], float]:
    if not any(context.is_constant(node) for node in choices):
        values = [context.value(node) for node in choices]
        zeros = [value.value_range.magnitude == 0 for value in values]
        if any(zeros):  # they have any scale
            values = [Quantized(value.node, values[zeros.index(False) if False in zeros else 0].scale)
                      for value in values]
        if values[0].scale == values[1].scale and all(v.value_range.precision <= WIDEST for v in values):
            return [context.narrow(node, WIDEST) for node, _ in values], values[0].scale
    return context.same_scale(choices, context.settings.operator_precision("where", CHOICE_BITS))


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(WHERE_NUMBER)
class WhereNumber(Choice):
    """X where C, else a number: also masked_fill."""

    op_name = "where"
    cvm_operators = ("broadcast_sub", "broadcast_mul", "broadcast_add")
    limits = "A number more than 4096 times above the tensor stands for a mask: it saturates."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return "its number is NaN" if any(_is_nan(argument) for argument in op.args) else None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A truth value as the condition; a large float for an infinite number; a choice that is decided."""
        chosen = self.decided(op, editor)
        if chosen is not None:
            return chosen
        condition, x, number = op.args
        truth = as_truth(condition, editor)
        floats = op.meta["val"].is_floating_point()
        largest = min(torch.finfo(op.meta["val"].dtype).max, LARGEST_FLOAT) if floats else math.inf
        finite = min(max(number, -largest), largest)
        return op if truth is condition and finite == number else editor.call(WHERE_NUMBER, truth, x, finite)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """C * (X - n) + n with n = round(c * s).

        X keeps its integers, multiplied by a power of two where n would be too coarse: n is within 2**-16 of the
        larger of both, or half a unit of X where 28 bits do not reach further. A number more than 4096 times above X
        and the reach of a softmax (``softmax_lambd``), or below them where only softmaxes read the result, is a mask:
        it becomes the smallest that keeps its element last, so that what it masks keeps its bits.
        """
        condition, x = truth_integers(context, op.args[0]), op.args[1]
        number = _mask(op, x, float(op.args[2]), context)
        (node, scale), integer = _beside(context, x, number)
        shifted = context.call("broadcast_sub", node, context.number(integer)) if integer else node
        chosen = context.call("broadcast_mul", condition, shifted)
        return Quantized(context.call("broadcast_add", chosen, context.number(integer)) if integer else chosen, scale)


@register_pass("calculate_ops")
@register_transformer(NUMBER_WHERE)
class NumberWhere(WhereNumber):
    """A number where C, else X; gone after rewrite."""

    cvm_operators = ()
    rewritten_into = "where(not C, X, c)"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        chosen = self.decided(op, editor)
        if chosen is not None:
            return chosen
        condition, number, x = op.args
        return editor.call(WHERE_NUMBER, editor.call(aten.logical_not.default, as_truth(condition, editor)), x, number)


def _is_nan(argument: Any) -> bool:
    return isinstance(argument, float) and math.isnan(argument)


def _mask(op: fx.Node, x: fx.Node, number: float, context: QuantizationContext) -> float:
    """The number, or where it is a mask the one nearest to zero that masks as well."""
    reach = context.threshold(x) + context.settings.softmax_lambd
    readers = reads_through_movement(op)
    masks = number < 0 and bool(readers) and all(reader.target in SOFTMAX for reader in readers)
    return math.copysign(reach, number) if abs(number) > reach * (1 if masks else MASK_RATIO) else number


def _beside(context: QuantizationContext, x: fx.Node, number: float) -> tuple[Quantized, int]:
    """X at a scale that suits the number too, and the number as an integer there."""
    threshold, top = context.threshold(x), precision_range(WIDEST if number else WIDEST_MASKED)
    if context.is_constant(x):
        quantized = context.parameter(x, WIDEST, scale_of(max(threshold, abs(number)), CHOICE_BITS))
    else:
        quantized = context.value(x)
        largest = max(quantized.value_range.magnitude, math.ceil(abs(number) * quantized.scale))
        if largest > top:
            scale = min(scale_of(threshold, CHOICE_BITS), top / max(abs(number), threshold))
            quantized = context.requantize(x, CHOICE_BITS, scale)
        elif snapped_number(number * quantized.scale) % 1:
            factor = 1 << max(CHOICE_BITS + 2 - bits_for(largest), 0)
            if factor > 1:
                quantized = Quantized(context.call("broadcast_mul", quantized.node, context.number(factor)),
                                      quantized.scale * factor)
    scaled = abs(number) * quantized.scale
    return quantized, int(math.copysign(min(math.floor(scaled + 0.5), top), number))
