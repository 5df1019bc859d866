"""A function of a wide nonnegative integer by several small lookup tables.

``cvm_lut`` takes one table, and one table of all integers of 31 bits would be far too large. A floating-point number
needs 8 or so leading bits; so does the input of a smooth function:

    Y = max over k of T_k[round(V / 2**s_k)],    T_k[i] = f(i * 2**s_k) for 2**8 <= i < 2**12, else 0

Every V falls into the window of one or two k, all others give 0. The first window reaches down to 0 and is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import fx

from mrt_torch.errors import PrecisionError
from mrt_torch.graph.facts import describe, facts_of
from mrt_torch.quantization.context import QuantizationContext
from mrt_torch.quantization.precision import int_realize

RESOLUTION = 8      # leading bits of a value that are looked up at least
INDEX_BITS = 12     # of the largest index of a table
WIDEST_VALUE = 31   # bits of V: what a shift may read
WIDEST_RESULT = 31  # bits of an entry


class Segment(NamedTuple):
    """One table: V is shifted right by ``shift`` and looked up where the result is in ``first``..``last``."""

    shift: int
    first: int
    last: int


def segments_for(largest: int, resolution: int = RESOLUTION, index_bits: int = INDEX_BITS) -> list[Segment]:
    """Segments that cover 0..``largest``: the first is exact, each other shifts by ``index_bits - resolution`` more."""
    segments = [Segment(0, 0, min(largest, (1 << index_bits) - 1))]
    while _rounded_shift(largest, segments[-1].shift) > segments[-1].last:
        shift = segments[-1].shift + index_bits - resolution
        segments.append(Segment(shift, 1 << resolution, min(_rounded_shift(largest, shift), (1 << index_bits) - 1)))
    return segments


def wide_table(context: QuantizationContext, node: fx.Node, function: Callable[[torch.Tensor], torch.Tensor],
               name: str, resolution: int = RESOLUTION, index_bits: int = INDEX_BITS) -> fx.Node:
    """Emit ``round(f(V))`` for an integer node V of at most 31 bits and a function f of 0..2**30 - 1.

    Error: V is taken to ``resolution`` leading bits, so where |V * f'(V) / f(V)| <= e the relative error is at most
    ``e * 2**-(resolution + 1)`` - for the square root 0.1 %, for 1 / V 0.2 % - plus half a unit of the result. Below
    the second window V is exact. A table has at most ``2**index_bits`` entries; V of 31 bits takes six of them, and
    18 nodes. Equal tables are shared.

    Args:
        context: of the quantization.
        node: integers; those below 0 count as 0.
        function: f of a float64 tensor of integers; not negative, and at most 2**30 - 1 where V may come.
        name: prefix of the tables' names.
        resolution: leading bits of V that count at least.
        index_bits: bits of the largest index.

    Raises:
        PrecisionError: V has more than 31 bits, or f gives a value that is negative, not finite or too large.
    """
    node = context.narrow(node, facts_of(node).value_range.precision)
    if facts_of(node).precision > WIDEST_VALUE:
        raise PrecisionError(f"a table takes {WIDEST_VALUE} bits at most", where=describe(node),
                             why=f"its index has {facts_of(node).precision}", remedy="shift the index right first")
    result = None
    largest = max(facts_of(node).value_range.maximum, 0)
    for segment in segments_for(largest, resolution, index_bits):
        part = _look_up(context, node, segment, largest, function, name)
        result = part if result is None else context.call("broadcast_max", result, part)
    return result


def _look_up(context: QuantizationContext, node: fx.Node, segment: Segment, largest: int,
             function: Callable[[torch.Tensor], torch.Tensor], name: str) -> fx.Node:
    shift, first, last = segment
    index = node
    if shift:
        width = facts_of(node).value_range.precision
        index = context.call("cvm_right_shift", node, precision=max(width - shift + 1, 2), shift_bit=shift)
    places = torch.arange(first, last + 1, dtype=torch.float64) * 2.0 ** shift
    values = function(places)
    if not bool(torch.isfinite(values).all()) or float(values.min()) < 0 \
            or float(values.max()) > (1 << WIDEST_RESULT - 1) - 1:
        raise PrecisionError("a function leaves the range of its table", where=describe(node),
                             why=f"its values are {float(values.min())}..{float(values.max())}",
                             remedy=f"scale it to 0..{(1 << WIDEST_RESULT - 1) - 1}")
    # The lookup clamps its index to the table: what lies outside of the window reads the zeros at both ends.
    zero = torch.zeros(1, dtype=torch.int32)
    parts = [zero] * (first > 0) + [int_realize(values, WIDEST_RESULT)]
    parts += [zero] * (_rounded_shift(largest, shift) > last)
    if first > 1:
        index = context.call("broadcast_add", index, context.number(1 - first))
    return context.call("cvm_lut", index, context.table(name, torch.cat(parts)))


def _rounded_shift(value: int, shift: int) -> int:
    return value if shift == 0 else ((value >> shift - 1) + 1) >> 1
