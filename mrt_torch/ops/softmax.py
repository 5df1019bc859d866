"""Softmax and its logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import fx

from mrt_torch.errors import PrecisionError
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe, facts_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.ops.long_sum import long_sum
from mrt_torch.ops.reduction import reduce_integers
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import PERMUTE, transpose_before
from mrt_torch.ops.wide_logits import narrowed_logits
from mrt_torch.ops.wide_table import wide_table
from mrt_torch.quantization.affine import affine
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import get_bit, int_realize

aten = torch.ops.aten
Emitted = TypeVar("Emitted")
EXPONENTIAL_BITS = 30     # of exp(0), so that half a sum can be added in 31
TERM_BITS = 22            # of the exponentials that are summed
INDEX_STEPS = 128         # units in a logit of 1: half of one moves a share by 0.4 %
NARROWEST_LOGIT, WIDEST_LOGIT = 8, 24
LOGARITHM_BITS = 16       # of the logits of a logarithm, at least
REFERENCE_LENGTH = 64     # for which softmax_lambd is meant
LONGEST_TABLE = 2 ** 16


class Exponentials(NamedTuple):
    """exp of logits less the largest of their axis, and the sum.

    Attributes:
        values: ``round(exp(x - max) * 2**29)``, 30 bits.
        total: their sum over the axis, in units of ``2**shift``.
        shift: see total.
    """

    values: fx.Node
    total: fx.Node
    shift: int


def logit_precision(threshold: float, chosen: int | None = None) -> int:
    """Bits of logits: those the user chose, else 8 to 24, as many as make a unit 1 / 128."""
    return chosen or min(max(get_bit(threshold * INDEX_STEPS), NARROWEST_LOGIT), WIDEST_LOGIT)


def exponentials(context: QuantizationContext, logits: Quantized, axis: int, name: str, kept: fx.Node | None = None
                 ) -> tuple[Exponentials, fx.Node]:
    """Exponentials of integer logits by table, and the logits less their largest.

        d = X - max(X) in -2R..0;  e = table[max(round(d / 2**c) + alpha, 0)]

    table[i] = round(exp((i - alpha) * 2**c / s) * 2**29), and 0 for i = 0 where the table is cut. It is where
    ``softmax_lambd`` below the largest is reached; n logits at the cut weigh as much together as one that is log(n)
    above it, so the cut is lowered by log(n / 64) for axes longer than 64. c is 0 unless the table would exceed 2**16
    entries.

    Args:
        context: of the quantization.
        logits: X, of scale s.
        axis: that is summed over.
        name: prefix of the table's name.
        kept: integers 0 or 1; exponentials where it is 0 count as 0.

    Raises:
        PrecisionError: the axis is so long that its sum does not fit 32 bits.
    """
    length = shape_of(logits.node)[axis]
    spread = logits.value_range.maximum - logits.value_range.minimum
    depth = context.settings.softmax_lambd + max(math.log(length / REFERENCE_LENGTH), 0.0)
    reach = max(min(math.floor(depth * logits.scale), spread), 1)
    coarse = max(math.ceil(math.log2((reach + 1) / LONGEST_TABLE)), 0)
    alpha = max(reach >> coarse, 1)
    table = (torch.arange(-alpha, 1, dtype=torch.float64) * (2.0 ** coarse / logits.scale)).exp()
    table = int_realize(table * 2.0 ** (EXPONENTIAL_BITS - 1), EXPONENTIAL_BITS)
    if reach < spread:
        table[0] = 0
    largest = reduce_integers(context, "max", logits.node, [axis], True)
    differences = context.call("broadcast_sub", logits.node, largest)
    index = differences
    if coarse:
        index = context.narrow(index, facts_of(index).value_range.precision)
        index = context.call("cvm_right_shift", index, precision=facts_of(index).precision, shift_bit=coarse)
    index = context.call("broadcast_add", index, context.number(alpha))
    values = context.call("cvm_lut", index, context.table(f"{name}_table", table))
    if kept is not None:
        values = context.narrow(context.call("broadcast_mul", values, kept), EXPONENTIAL_BITS)
    dropped = EXPONENTIAL_BITS - TERM_BITS
    terms = context.call("cvm_right_shift", values, precision=TERM_BITS, shift_bit=dropped)
    total, shift = long_sum(context, terms, axis)
    return Exponentials(values, total, dropped + shift), differences


def softmax_of_integers(context: QuantizationContext, logits: Quantized, axis: int, name: str,
                        kept: fx.Node | None = None) -> Quantized:
    """``exp(x) / sum(exp(x))`` of integer logits by one rounded division.

        S = round(sum(round(e / 2**8)) / 2**(t - 8));  Y = floor((e + floor(S / 2 + 1/2)) / S)

    with e from ``exponentials`` and the scale 2**t of Y, t = (29 + log2(n)) / 2: a share of 1 / n then has as many
    units as S has where one logit stands out. (The original clipped the index to 8 bits and was off by 22 to 43 % for
    small logits.) Error in the L2 norm against the softmax of X: 0.3 % at most by cutting the table, and 0.1 % each by
    rounding S and Y for n up to 4096, a fourfold of that for 65536. Against the softmax of the floats comes half a
    unit of X, 0.4 % of a share where X has the 1 / 128 of ``logit_precision``.

    Args:
        context: of the quantization.
        logits: X.
        axis: along which the shares sum up to 1.
        name: prefix of the table's name.
        kept: integers 0 or 1 that say which elements count; where none does, the result is 0.
    """
    (values, total, shift), _ = exponentials(context, logits, axis, name, kept)
    wanted = (EXPONENTIAL_BITS - 1 + math.floor(math.log2(shape_of(logits.node)[axis]))) // 2
    total = context.narrow(total, facts_of(total).value_range.precision)
    if wanted > shift:
        width = max(facts_of(total).precision - (wanted - shift) + 1, 2)
        total = context.call("cvm_right_shift", total, precision=width, shift_bit=wanted - shift)
    scale = 2.0 ** max(wanted, shift)
    half = context.call("cvm_right_shift", total, precision=facts_of(total).precision, shift_bit=1)
    raised = context.call("broadcast_add", values, half)
    quotient = context.call("broadcast_div", raised, total)
    return Quantized(context.narrow(quotient, get_bit(scale * 1.01 + 1)), scale)


class SoftmaxTransformer(Transformer):
    """What softmax and its logarithm share."""

    input_precision: ClassVar[int | None] = None  # the settings take one for it; without, ``logit_precision`` chooses
    limits = "The batch axis, which is free, is refused, and so is a result that is no float."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        if len(op.args) > 2 and op.args[2] is not None and not op.args[2].is_floating_point:
            return f"its result type {op.args[2]} is not a float"
        along_batch = free_axis(op.args[0]) == op.args[1] % len(shape_of(op))
        return "it runs along the batch axis, which is free" if along_batch else None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * (2 + 2 * length of the axis)."""
        return super().calculate_ops(op) * (2 + 2 * shape_of(op)[op.args[1]])

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """f(Transpose(X), axis) becomes Transpose(f(X, perm[axis])), where nothing else reads the transpose."""
        found = transpose_before(op, context)
        if found is None:
            return op
        axis = found[1][op.args[1] % len(shape_of(op))]
        return editor.call(PERMUTE, editor.call(op.target, found[0], axis, *op.args[2:]), found[1])


@register_pass("rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.softmax.int)
class Softmax(SoftmaxTransformer):
    """exp(x) / sum(exp(x)) over one axis."""

    op_name = "softmax"
    cvm_operators = ("max", "broadcast_sub", "broadcast_add", "cvm_lut", "cvm_right_shift", "sum", "reshape",
                     "broadcast_div", "cvm_clip")

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See ``softmax_of_integers``, and ``narrowed_logits`` for sums with a huge term."""
        x, axis = op.args[0], op.args[1] % len(shape_of(op))
        logits = narrowed_logits(context, x, axis)
        if logits is None:
            bits = logit_precision(context.threshold(x), context.settings.chosen_precision(self.op_name))
            logits = Quantized(*affine(context, x, bits, anchored=False)[:2])  # softmax(x + c) is softmax(x)
        return checked_length(op, axis, lambda: softmax_of_integers(context, logits, axis, op.name))


@register_pass("rewrite", "prepare_for_compile", "compile")
@register_transformer(aten.log_softmax.int)
class LogSoftmax(SoftmaxTransformer):
    """x - log(sum(exp(x))) over one axis."""

    op_name = "log_softmax"
    cvm_operators = ("max", "broadcast_sub", "broadcast_add", "cvm_lut", "cvm_right_shift", "sum", "reshape",
                     "broadcast_max")

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """``Y = d - round(log(S * 2**t / 2**29) * s)`` with d, S and t from ``exponentials``, at the scale s of X.

        X has 16 bits, or as many more as make a unit 1 / 128. Error: a unit for each of X, of its largest and of the
        logarithm, which is looked up by ``wide_table`` to 0.2 % of the sum, and what the table is cut by, 0.3 % of it:
        0.005 in a value of 1 and above.
        """
        x, axis = op.args[0], op.args[1] % len(shape_of(op))
        chosen = context.settings.chosen_precision(self.op_name)
        bits = chosen or max(logit_precision(context.threshold(x)), LOGARITHM_BITS)
        logits = Quantized(*affine(context, x, bits, anchored=False)[:2])  # log_softmax(x + c) is log_softmax(x)
        (_, total, shift), differences = checked_length(op, axis, lambda: exponentials(context, logits, axis, op.name))
        unit = 2.0 ** (shift - EXPONENTIAL_BITS + 1)
        logarithm = wide_table(context, total, lambda v: ((v * unit).clamp(min=1).log() * logits.scale),
                               f"{op.name}_logarithm")
        return Quantized(context.call("broadcast_sub", differences, logarithm), logits.scale)


def checked_length(op: fx.Node, axis: int, emit: Callable[[], Emitted]) -> Emitted:
    """What ``emit`` gives; an axis too long is refused in the words of the operator."""
    try:
        return emit()
    except PrecisionError as error:
        raise PrecisionError("a softmax is too long for 32 bits", where=describe(op),
                             why=f"its axis has {shape_of(op)[axis]} elements: {error.what}",
                             remedy="split the model before the softmax") from error
