"""The k largest or smallest elements along an axis: topk, sort and argsort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import bits_for
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.float_operators import define_float_operator
from mrt_torch.graph.free_axis import free_axis, free_shape
from mrt_torch.ops.extremes import along_axis, largest_and_index
from mrt_torch.ops.reduction import reduce_integers
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.truth import greater, is_zero
from mrt_torch.quantization.context import QuantizationContext, Quantized

MOST_ROUNDS = 64
LONGEST_RANKED = 256
TERM_BITS = 28
SCHEMA = "(Tensor x, int k, int dim, bool largest) -> Tensor"


def _order(x: torch.Tensor, k: int, dim: int, largest: bool) -> tuple[torch.Tensor, torch.Tensor]:
    values, indices = torch.sort(x, dim=dim, descending=largest, stable=True)
    return values.narrow(dim, 0, k), indices.narrow(dim, 0, k)


def _mask(x: torch.Tensor, k: int, dim: int, largest: bool) -> torch.Tensor:
    return torch.zeros_like(x, dtype=torch.bool).scatter(dim, _order(x, k, dim, largest)[1], True)


TOPK_VALUES = define_float_operator("topk_values", SCHEMA, lambda *a: _order(*a)[0].clone())
TOPK_INDICES = define_float_operator("topk_indices", SCHEMA, lambda *a: _order(*a)[1].clone())
TOPK_MASK = define_float_operator("topk_mask", SCHEMA, _mask)


class Ordering(Transformer):
    """What the k values, their indices and their mask share: x, k, axis, and whether the largest are wanted.

    Equal elements are taken in the order of their indices, as MXNet and torch do where they define it.

    Two ways, both exact for the integers. By rank, where the axis has at most 4 k elements, and 256 at most:

        rank(i) = sum over j of (X(j) > X(i) - (j < i))     hot(r, i) = (rank(i) == r)

    and in k rounds elsewhere: the largest and the index of the first that is as large, see ``largest_and_index``;
    hot = (arange == index) takes it out, X becomes X - hot * (2 * R + 1) for the range R of X. Then y(r) is the sum
    over i of hot(r, i) * X(i), or of hot(r, i) * i.
    """

    cvm_operators = ("reshape", "broadcast_sub", "broadcast_greater", "sum", "max", "abs", "broadcast_mul",
                     "negative", "transpose", "concatenate")
    limits = "k is 64 at most, unless the axis has at most 256 elements; the batch axis cannot be ordered."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        x, k, axis, _ = arguments(op)
        length = shape_of(x)[axis]
        if free_axis(x) == axis:
            return "it orders the batch axis, which is free"
        if k > MOST_ROUNDS and length > LONGEST_RANKED:
            return f"it takes {k} of {length} elements; {MOST_ROUNDS} are the most from an axis above {LONGEST_RANKED}"
        return f"x has {len(shape_of(x))} axes; 5 are the most" if len(shape_of(x)) > 5 else None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """k passes over the input."""
        x, k, *_ = arguments(op)
        count = k
        for extent in shape_of(x):
            count *= extent
        return count

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """Exact for the integers; values keep their scale, indices and masks have the scale 1.

        In k rounds X has at most 28 bits less those of 2 k + 1; one that has more is rounded to as many first.
        """
        x, k, axis, largest = arguments(op)
        length = shape_of(x)[axis]
        quantized = context.value(x)
        ranked = length <= min(4 * k, LONGEST_RANKED)
        room = TERM_BITS - (bits_for(length) if ranked else bits_for(2 * k + 1))
        if quantized.value_range.precision > room:
            quantized = context.requantize(x, room)
        node = quantized.node if largest else context.call("negative", quantized.node)
        make = self.by_rank if ranked else self.by_rounds
        return self.finished(context, make(context, node, k, axis), quantized.scale, largest)

    def by_rank(self, context: QuantizationContext, node: fx.Node, k: int, axis: int) -> fx.Node:
        rank, last = len(shape_of(node)), len(shape_of(node)) - 1
        order = [a for a in range(rank) if a != axis] + [axis]
        moved = node if axis == last else context.call("transpose", node, axes=order)
        length, shape = shape_of(moved)[last], free_shape(moved)
        row = context.call("reshape", moved, shape=[*shape[:-1], 1, length])
        column = context.call("reshape", moved, shape=[*shape, 1])
        before = context.constant(f"before_{length}", torch.ones(length, length, dtype=torch.int64).tril(-1))
        beaten = greater(context, row, context.call("broadcast_sub", column, before))
        ranks = reduce_integers(context, "sum", beaten, [last + 1], False)
        result = self.from_ranks(context, ranks, row, k)
        back = [order.index(a) for a in range(rank)]
        return result if axis == last else context.call("transpose", result, axes=back)

    @staticmethod
    def hot(context: QuantizationContext, ranks: fx.Node, k: int) -> fx.Node:
        """(..., k, L): 1 where the element has the rank."""
        shape = free_shape(ranks)
        row = context.call("reshape", ranks, shape=[*shape[:-1], 1, shape[-1]])
        wanted = context.constant(f"ranks_{k}", torch.arange(k).reshape(-1, 1))
        return is_zero(context, context.call("broadcast_sub", row, wanted))

    @staticmethod
    def summed(context: QuantizationContext, terms: fx.Node, bits: int) -> fx.Node:
        """The one term of each row that is not 0."""
        return context.narrow(reduce_integers(context, "sum", terms, [len(shape_of(terms)) - 1], False), bits)

    def by_rounds(self, context: QuantizationContext, node: fx.Node, k: int, axis: int) -> fx.Node:
        rank, length = len(shape_of(node)), shape_of(node)[axis]
        below = context.number(2 * facts_of(node).value_range.magnitude + 1)
        places = context.constant(f"places_{length}", along_axis(torch.arange(length), axis, rank))
        rounds = []
        for left in reversed(range(k)):
            value, index = largest_and_index(context, node, axis, True)
            hot = is_zero(context, context.call("broadcast_sub", places, index))
            rounds.append((value, index, hot))
            if left:
                node = context.call("broadcast_sub", node, context.call("broadcast_mul", hot, below))
        return self.from_rounds(context, rounds, axis)

    def from_ranks(self, context: QuantizationContext, ranks: fx.Node, row: fx.Node, k: int) -> fx.Node:
        """The result from the ranks (..., L) and the elements (..., 1, L)."""
        raise TypeError("Ordering is abstract: a subclass gives from_ranks")

    def from_rounds(self, context: QuantizationContext, rounds: Sequence[tuple[fx.Node, fx.Node, fx.Node]],
                    axis: int) -> fx.Node:
        """The result from value, index and hot elements of each round."""
        raise TypeError("Ordering is abstract: a subclass gives from_rounds")

    def finished(self, context: QuantizationContext, node: fx.Node, scale: float, largest: bool) -> Quantized:
        return Quantized(node, 1.0)


def arguments(op: fx.Node) -> tuple[fx.Node, int, int, bool]:
    """x, k, the axis from 0, and whether the largest are wanted."""
    x, k, axis, largest = op.args
    return x, k, axis % len(shape_of(x)), bool(largest)


def _joined(context: QuantizationContext, parts: list[fx.Node], axis: int) -> fx.Node:
    return parts[0] if len(parts) == 1 else context.call("concatenate", parts, axis=axis)


@register_pass("rewrite", "fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(TOPK_VALUES)
class TopkValues(Ordering):
    """The k largest or smallest elements, in order."""

    op_name = "topk"

    def from_ranks(self, context: QuantizationContext, ranks: fx.Node, row: fx.Node, k: int) -> fx.Node:
        terms = context.call("broadcast_mul", self.hot(context, ranks, k), row)
        return self.summed(context, terms, facts_of(row).value_range.precision)

    def from_rounds(self, context: QuantizationContext, rounds: Sequence[tuple[fx.Node, fx.Node, fx.Node]],
                    axis: int) -> fx.Node:
        bits = facts_of(rounds[0][0]).value_range.precision
        return context.narrow(_joined(context, [value for value, _, _ in rounds], axis), bits)

    def finished(self, context: QuantizationContext, node: fx.Node, scale: float, largest: bool) -> Quantized:
        return Quantized(node if largest else context.call("negative", node), scale)


@register_pass("rewrite", "fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(TOPK_INDICES)
class TopkIndices(Ordering):
    """Their indices."""

    op_name = "topk"

    def from_ranks(self, context: QuantizationContext, ranks: fx.Node, row: fx.Node, k: int) -> fx.Node:
        length = shape_of(row)[-1]
        places = context.constant(f"places_{length}", torch.arange(length))
        terms = context.call("broadcast_mul", self.hot(context, ranks, k), places)
        return self.summed(context, terms, bits_for(length - 1))

    def from_rounds(self, context: QuantizationContext, rounds: Sequence[tuple[fx.Node, fx.Node, fx.Node]],
                    axis: int) -> fx.Node:
        return _joined(context, [index for _, index, _ in rounds], axis)


@register_pass("rewrite", "fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(TOPK_MASK)
class TopkMask(Ordering):
    """1 where an element is among them."""

    op_name = "topk"

    def from_ranks(self, context: QuantizationContext, ranks: fx.Node, row: fx.Node, k: int) -> fx.Node:
        return greater(context, context.number(k), ranks)

    def from_rounds(self, context: QuantizationContext, rounds: Sequence[tuple[fx.Node, fx.Node, fx.Node]],
                    axis: int) -> fx.Node:
        mask = rounds[0][2]
        for _, _, hot in rounds[1:]:
            mask = context.call("broadcast_add", mask, hot)
        return context.narrow(mask, 2)
