"""Rows divided by their root mean square, in 32-bit integers: the core of all normalizations by computed statistics.

Rows of a tensor differ in size, and so do their elements; 32 bits do not hold the squares of one that holds all. So
every row gets an exponent of its own, by a division that fills 16 bits with its largest element (block floating
point), and the square root is looked up with the same relative precision everywhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops.long_sum import long_sum
from mrt_torch.ops.reduction import reduce_integers
from mrt_torch.ops.wide_table import wide_table
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import get_bit, get_bit_cnt

WIDEST_INPUT = 20       # bits of a row's elements
DIFFERENCE_BITS = 31    # what a shift may read
ELEMENT_BITS = 16       # of elements in units of their row
FINE_ELEMENT_BITS = 20  # the same where eps keeps the units large
FINE_FLOOR = 2 ** 22    # sqrt(eps), as an integer, from which on it does
SQUARED_BITS = 12       # of the elements that are squared
SUM_BITS = 30           # of the sum of squares, so that eps times the length can be added
PRODUCT_BITS = 31       # of an element times the numerator
RESULT_BITS = 17        # of the largest result
MOST_ROOT_BITS = 6
LARGEST_FLOOR = 2 ** 30 - 1
NEGLIGIBLE = 16         # where sqrt(eps) exceeds all elements by this factor, they do not count beside it


class Blocks(NamedTuple):
    """Rows in which every row has a unit of its own.

    Attributes:
        elements: of ``bits`` bits, in units of M.
        bits: see elements.
        divisor: M, positive where the row is not zero.
        squares: sum of the squares of the elements, in units of ``4**shift``, in 30 bits.
        shift: see squares; a multiple of one half.
    """

    elements: fx.Node
    bits: int
    divisor: fx.Node
    squares: fx.Node
    shift: float


def normalize_rows(context: QuantizationContext, x: Quantized, thresholds: tuple[float, float], epsilon: float,
                   centred: bool, name: str) -> Quantized:
    """``y = (x - m) / sqrt(mean((x - m)**2) + eps)`` over the last axis, with m the mean, or 0 where not ``centred``.

    For rows of n integers X with scale s, and k so large that D fills 31 bits:

        D = k*X - k*m                           exact up to n = 511, or for fewer bits, see ``centred_rows``
        M = ceil(max(max|D|, E) / 2**15)        E = sqrt(eps)*k*s
        d = trunc(D / M)                        16 bits
        V = sum(round(d / 2**4)**2) + round(n*(E / (M * 2**4))**2)
        Y = trunc(d * (2**15 - 1) / round(2**f * sqrt(V)))          sqrt by ``wide_table``

    and y = Y / scale with scale = 2**4 * (2**15 - 1) / (2**f * sqrt(n)), f such that the largest y has about 17 bits.
    A row that is constant gives 0. Where E is 2**22 or more, d has 20 bits in place of 16, and the 15 and 4 above are
    19 and 8. Where it is 16 times all that calibration saw, y = D / E.

    Error in the L2 norm of a row: 0.1 % from the square root, and a unit of d, 2**-14 of the row's largest element at
    most, for each element: below 0.3 % where no element exceeds the root mean square 32-fold, and below 1 % where one
    exceeds it 64-fold. To that comes the rounding of X to 20 bits: half a unit against the deviation of the row.

    Args:
        context: of the quantization.
        x: integers of at most 20 bits.
        thresholds: largest magnitudes of x and y that calibration saw.
        epsilon: eps, 0 or more.
        centred: whether the mean is subtracted.
        name: prefix of the tables' names.
    """
    count = shape_of(x.node)[-1]
    differences, factor = centred_rows(context, x.node) if centred else filled(context, x.node)
    floor = math.sqrt(epsilon) * factor * x.scale
    if floor > NEGLIGIBLE * (2 if centred else 1) * thresholds[0] * x.scale * factor:
        return Quantized(differences, floor)
    if floor > LARGEST_FLOOR:
        shift = math.ceil(math.log2(floor / LARGEST_FLOOR))
        width = facts_of(differences).precision - shift
        differences = context.call("cvm_right_shift", differences, precision=max(width, 2), shift_bit=shift)
        floor /= 2 ** shift
    blocks = block_rows(context, differences, math.ceil(floor))
    squares = blocks.squares
    if floor:
        squares = context.call("broadcast_add", squares, _floor_square(context, blocks, floor, count))
    return _quotient(context, blocks, squares, count, thresholds[1], name)


def filled(context: QuantizationContext, node: fx.Node) -> tuple[fx.Node, int]:
    """``k*X`` in at most 31 bits, k a power of two; and k."""
    factor = 1 << max(DIFFERENCE_BITS - facts_of(node).precision - 2, 0)
    return scaled_by(context, node, factor), factor


def centred_rows(context: QuantizationContext, node: fx.Node) -> tuple[fx.Node, int]:
    """``k*X - k*mean(X)`` along the last axis in at most 31 bits; and k.

    Where the bits of X and of n are 29 together, k = n * 2**j and ``k*mean = sum(X) * 2**j``: exact. For longer rows
    k = 2**j, and the mean is rounded by a unit of 2**-j, j = 8 for X of 20 bits:

        q = trunc(S / n),  r = S - n*q,  k*mean = q * 2**(t + j) + trunc(r * 2**a / n) * 2**(t + j - a)

    with ``S = sum(X) / 2**t`` from ``long_sum``, and a as large as 31 bits allow.
    """
    axis, count, width = len(shape_of(node)) - 1, shape_of(node)[-1], facts_of(node).precision
    exact = width + get_bit_cnt(count) <= DIFFERENCE_BITS - 2
    terms = count if exact else 1
    spare = max(DIFFERENCE_BITS - width - 2 - get_bit_cnt(terms), 0)
    factor = terms << spare
    scaled = scaled_by(context, node, factor)
    if exact:
        mean = _times(context, reduce_integers(context, "sum", node, [axis], True), 1 << spare)
    else:
        mean = _rounded_mean(context, *long_sum(context, node, axis), count, spare)
    mean = context.narrow(mean, facts_of(mean).value_range.precision)
    return context.narrow(context.call("broadcast_sub", scaled, mean), DIFFERENCE_BITS), factor


def scaled_by(context: QuantizationContext, node: fx.Node, factor: int) -> fx.Node:
    """A product with a constant; the node itself for 1."""
    return node if factor == 1 else context.call("broadcast_mul", node, context.number(factor))


def _times(context: QuantizationContext, node: fx.Node, factor: int) -> fx.Node:
    """The same in the bits that are proven, which costs a clip: for one element a row."""
    product = scaled_by(context, node, factor)
    return context.narrow(product, facts_of(product).value_range.precision)


def _rounded_mean(context: QuantizationContext, total: fx.Node, shift: int, count: int, spare: int) -> fx.Node:
    number, point = context.number(count), shift + spare
    total = context.narrow(total, facts_of(total).value_range.precision)
    whole = context.call("broadcast_div", total, number)
    whole = context.narrow(whole, facts_of(whole).value_range.precision)
    rest = context.call("broadcast_sub", total, context.call("broadcast_mul", whole, number))
    rest = context.narrow(rest, get_bit_cnt(count) + 1)
    fine = min(point, max(DIFFERENCE_BITS - 3 - get_bit_cnt(count), 0))
    part = context.call("broadcast_div", _times(context, rest, 1 << fine), number)
    part = _times(context, context.narrow(part, facts_of(part).value_range.precision), 1 << point - fine)
    return context.call("broadcast_add", _times(context, whole, 1 << point), part)


def block_rows(context: QuantizationContext, node: fx.Node, least: int) -> Blocks:
    """Rows of at most 31 bits along the last axis as elements of 16 bits with a unit M of their own.

        M = ceil(max(max|D|, least) / 2**15),  d = trunc(D / M)

    Rows that fit 16 bits are exact. With ``least`` of 2**22 or more elements have 20 bits.
    """
    axis, bits = len(shape_of(node)) - 1, ELEMENT_BITS if least < FINE_FLOOR else FINE_ELEMENT_BITS
    largest = reduce_integers(context, "max", context.call("abs", node), [axis], True)
    if least:
        largest = context.call("broadcast_max", largest, context.number(least))
    # The shift rounds to nearest, ties up: adding half a unit less one makes it round up.
    raised = context.call("broadcast_add", largest, context.number((1 << bits - 2) - 1))
    raised = context.narrow(raised, DIFFERENCE_BITS)
    divisor = context.call("cvm_right_shift", raised, precision=DIFFERENCE_BITS + 2 - bits, shift_bit=bits - 1)
    elements = context.narrow(context.call("broadcast_div", node, divisor), bits)
    dropped = bits - SQUARED_BITS
    narrow = context.call("cvm_right_shift", elements, precision=SQUARED_BITS, shift_bit=dropped)
    squares, shift = long_sum(context, context.call("broadcast_mul", narrow, narrow), axis, SUM_BITS)
    return Blocks(elements, bits, divisor, squares, dropped + shift / 2)


def _floor_square(context: QuantizationContext, blocks: Blocks, floor: float, count: int) -> fx.Node:
    """``n * (E / M)**2`` in the unit of the squares; E / M takes 15 bits, of which some are behind the point."""
    quotient_bits = math.log2(max(min(floor, 2.0 ** (blocks.bits - 1)), 2.0 ** -15))
    point = min(int(15 - quotient_bits), int(math.log2(LARGEST_FLOOR / floor)))
    dividend = context.number(max(round(math.ldexp(floor, point)), 1))
    quotient = context.narrow(context.call("broadcast_div", dividend, blocks.divisor), 16)
    square = context.narrow(context.call("broadcast_mul", quotient, quotient), DIFFERENCE_BITS)
    ratio = count * 2.0 ** (-2 * (point + blocks.shift))
    return context.rescale(Quantized(square, 1.0), float(facts_of(square).value_range.magnitude), SUM_BITS, ratio).node


def _quotient(context: QuantizationContext, blocks: Blocks, squares: fx.Node, count: int, threshold: float,
              name: str) -> Quantized:
    """The elements over the square root of the squares."""
    dividend = (1 << PRODUCT_BITS - blocks.bits) - 1
    finest = 2.0 ** blocks.shift * dividend / math.sqrt(count)
    root_bits = get_bit(max(threshold, 1e-6) * finest) - RESULT_BITS
    root_bits = min(max(root_bits, 0), MOST_ROOT_BITS)
    root = wide_table(context, squares, lambda v: 2.0 ** root_bits * v.sqrt(), f"{name}_root")
    scaled = context.call("broadcast_mul", blocks.elements, context.number(dividend))
    quotient = context.call("broadcast_div", scaled, root)
    scale = finest / 2.0 ** root_bits
    return Quantized(context.narrow(quotient, get_bit(math.sqrt(count) * scale * 1.02 + 1)), scale)
