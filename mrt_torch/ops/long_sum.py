"""Sums of more terms than 32 bits hold: partial sums are rounded, not the terms."""

from __future__ import annotations

from torch import fx

from mrt_torch.errors import PrecisionError
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import describe, facts_of
from mrt_torch.graph.free_axis import free_shape
from mrt_torch.ops.reduction import reduce_integers
from mrt_torch.quantization.context import QuantizationContext

MOST_AXES = 6
SHIFTED_BITS = 31
LARGEST_SHIFT = 30


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    small = [d for d in range(1, int(number ** 0.5) + 1) if number % d == 0]
    return small + [number // d for d in reversed(small) if d * d != number]


def long_sum(context: QuantizationContext, node: fx.Node, axis: int, bits: int = SHIFTED_BITS) -> tuple[fx.Node, int]:
    """``sum(X) / 2**t`` over one axis, which is kept with extent 1, in at most ``bits`` bits; and t.

    Where the sum fits, t is 0 and it is exact. Elsewhere the axis of n terms is cut into n1 runs of n2, the most that
    fit 31 bits, and their sums are rounded:

        Y = sum over n1 of floor(sum over n2 of X / 2**t + 1/2)

    so that the error is n1 / 2 units of 2**t at most, where terms rounded one by one would be n2 times as far off.
    n2 divides n; for a prime n it is 1.

    Raises:
        PrecisionError: no shift makes the sum fit.
    """
    count, width = shape_of(node)[axis], facts_of(node).precision
    if width + count.bit_length() <= bits:
        return reduce_integers(context, "sum", node, [axis], True), 0
    fitting = [d for d in divisors(count) if width + d.bit_length() <= SHIFTED_BITS]
    run = fitting[-1] if fitting and len(shape_of(node)) < MOST_AXES else 1
    if run > 1:
        shape = free_shape(node)
        node = context.call("reshape", node, shape=[*shape[:axis], count // run, run, *shape[axis + 1:]])
        node = reduce_integers(context, "sum", node, [axis + 1], False)
    node = context.narrow(node, SHIFTED_BITS)
    width = facts_of(node).precision
    shift = width + (count // run).bit_length() - bits
    if shift > 0:
        if shift > min(LARGEST_SHIFT, width - 2):
            raise PrecisionError("a sum cannot fit 32 bits", where=describe(node), why=f"it has {count} terms",
                                 remedy="lower the precision of its terms, or split the model here")
        node = context.call("cvm_right_shift", node, precision=width - shift, shift_bit=shift)
    return reduce_integers(context, "sum", node, [axis], True), max(shift, 0)
