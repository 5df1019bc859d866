"""Tensors whose columns, on the last axis, have scales of their own: made, cut, stacked and brought to one scale.

A detection is a row of its class, its score and its box: of one common scale the largest coordinate would leave few
steps between 0 and 1 for the score, and classes would be whole numbers only nearly. So a concatenation along the last
axis keeps its parts (``ColumnQuantized``) where a suppression or a slice of single columns reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import describe, facts_of
from mrt_torch.quantization.held import ColumnPart, ColumnQuantized, Quantized
from mrt_torch.quantization.precision import get_bit
from mrt_torch.quantization.precision import scale as scale_of
from mrt_torch.quantization.requantize import check_shared_scale

if TYPE_CHECKING:
    from mrt_torch.quantization.context import QuantizationContext

WIDEST_COLUMN = 30  # bits of a column: a sum of two still has 31
OUTPUT_BITS = 28    # of rows that are returned whole
CONSTANT_BITS = 16
RESCALED_BITS = 16  # of a column that is brought to the scale of another
MARGIN = 4.0        # beyond the calibrated magnitude, before a column that is rescaled saturates


def columns_of(context: QuantizationContext, float_node: fx.Node) -> tuple[ColumnPart, ...]:
    """The parts that hold an activation or a constant; one part where it has one scale."""
    if context.is_constant(float_node):
        tensor = context.tensor(float_node)
        whole = bool((tensor == tensor.round()).all()) and float(tensor.abs().max()) < 2 ** (CONSTANT_BITS - 1)
        quantized = context.parameter(float_node, CONSTANT_BITS, 1.0 if whole else None)
        return (ColumnPart(quantized, context.threshold(float_node)),)
    held = context.stored(float_node)
    if isinstance(held, ColumnQuantized):
        return held.parts
    return (ColumnPart(context.value(float_node), context.threshold(float_node)),)


def held_of(context: QuantizationContext, parts: Sequence[ColumnPart]) -> Quantized | ColumnQuantized:
    """What holds these parts side by side; neighbours of one scale are joined, which is exact."""
    groups: list[list[ColumnPart]] = []
    for part in parts:
        if groups and groups[-1][0].quantized.scale == part.quantized.scale:
            groups[-1].append(part)
        else:
            groups.append([part])
    merged = tuple(_joined(context, group) for group in groups)
    return merged[0].quantized if len(merged) == 1 else ColumnQuantized(merged)


def moved(held: ColumnQuantized, move: Callable[[fx.Node, int], fx.Node]) -> ColumnQuantized:
    """The columns after an operator that moves whole rows: ``move`` emits it for a node of some columns."""
    return ColumnQuantized(tuple(
        ColumnPart(Quantized(move(part.quantized.node, part.extent), part.quantized.scale), part.threshold)
        for part in held.parts))


def selected(context: QuantizationContext, parts: Sequence[ColumnPart], begin: int, end: int) -> list[ColumnPart]:
    """The parts of columns ``begin`` to ``end``."""
    found, first = [], 0
    for part in parts:
        low, high = max(begin - first, 0), min(end - first, part.extent)
        if low < high:
            found.append(part if (low, high) == (0, part.extent) else _sliced(context, part, low, high))
        first += part.extent
    return found


def stacked(context: QuantizationContext, tensors: Sequence[Sequence[ColumnPart]], axis: int, bits: int,
            where: fx.Node) -> tuple[ColumnPart, ...]:
    """Tensors of the same columns one after another along another axis than the last.

    Columns of one scale in all of them are joined as they are; others are brought to the coarsest of their scales, or
    to that of the largest magnitude in ``bits`` bits where that is finer.
    """
    edges = {0}
    for parts in tensors:
        total = 0
        for part in parts:
            total += part.extent
            edges.add(total)
    found = []
    for begin, end in pairwise(sorted(edges)):
        group = [selected(context, parts, begin, end)[0] for parts in tensors]
        threshold = max(part.threshold for part in group)
        alike = _at_scale(context, group, shared_scale(group, bits), where)
        node = context.call("concatenate", [quantized.node for quantized in alike], axis=axis)
        found.append(ColumnPart(Quantized(node, alike[0].scale), threshold))
    return tuple(found)


def shared_scale(parts: Sequence[ColumnPart], bits: int) -> float:
    """The scale that all parts have, or the coarsest: at least that of the largest magnitude in ``bits`` bits, and at
    most that in 30 bits, beyond which nothing could be rescaled.
    """
    scales = {part.quantized.scale for part in parts}
    if len(scales) == 1:
        return scales.pop()
    alive = [part for part in parts if part.threshold > 0]
    if not alive:
        return min(scales)
    largest = max(part.threshold for part in alive)
    coarsest = max(min(part.quantized.scale for part in alive), scale_of(largest, bits))
    return min(coarsest, scale_of(largest, WIDEST_COLUMN))


def one_scale(context: QuantizationContext, parts: Sequence[ColumnPart], bits: int, where: fx.Node) -> ColumnPart:
    """Columns as one part at their shared scale; see ``shared_scale``."""
    alike = _at_scale(context, parts, shared_scale(parts, bits), where)
    return _joined(context, [ColumnPart(quantized, part.threshold)
                             for quantized, part in zip(alike, parts, strict=True)])


def uniform_columns(context: QuantizationContext, held: ColumnQuantized, bits: int, scale: float) -> Quantized:
    """All columns at one ``scale`` within ``bits`` bits, in one node."""
    nodes = [context.rescale(part.quantized, part.threshold, bits, scale).node for part in held.parts]
    return Quantized(context.call("concatenate", nodes, axis=len(shape_of(nodes[0])) - 1), scale)


def output_of_columns(context: QuantizationContext, float_node: fx.Node, bits: int | None) -> Quantized:
    """An output, which has one scale: it fills ``bits`` bits; without, the finest of the columns', within 28 bits."""
    held, widest = context.stored(float_node), bits or OUTPUT_BITS
    scale = scale_of(context.threshold(float_node), widest)
    return uniform_columns(context, held, widest, scale if bits else min(float(held.scales.max()), scale))


def _at_scale(context: QuantizationContext, parts: Sequence[ColumnPart], scale: float, where: fx.Node
              ) -> list[Quantized]:
    """Each part at ``scale``: as it is where it has it, else rescaled with room for what lies beyond its magnitude.

    Error: 2**-15 of the magnitude by rounding to 16 bits, and 2**-14 of the value by the rounding of the fraction.
    """
    found = []
    for quantized, threshold in parts:
        if quantized.scale != scale:
            reach = threshold * MARGIN
            surplus = min(quantized.value_range.precision, get_bit(reach * quantized.scale)) - RESCALED_BITS
            if surplus > 0:  # by a shift, so that the fraction has 14 bits
                quantized = context.rescale(quantized, reach, RESCALED_BITS, quantized.scale / 2 ** surplus)
            quantized = context.rescale(quantized, reach, min(get_bit(reach * scale) + 1, WIDEST_COLUMN), scale)
            check_shared_scale(quantized.scale, scale, quantized.value_range.magnitude, describe(where))
        found.append(Quantized(quantized.node, scale))
    return found


def _joined(context: QuantizationContext, parts: Sequence[ColumnPart]) -> ColumnPart:
    if len(parts) == 1:
        return parts[0]
    nodes = [part.quantized.node for part in parts]
    node = context.call("concatenate", nodes, axis=len(shape_of(nodes[0])) - 1)
    return ColumnPart(Quantized(node, parts[0].quantized.scale), max(part.threshold for part in parts))


def _sliced(context: QuantizationContext, part: ColumnPart, begin: int, end: int) -> ColumnPart:
    node, scale = part.quantized
    return ColumnPart(Quantized(context.slice_axis(node, len(shape_of(node)) - 1, begin, end), scale), part.threshold)


def within(context: QuantizationContext, part: ColumnPart, bits: int, largest_scale: float) -> ColumnPart:
    """The part, rescaled where it is wider than ``bits`` bits, or its scale beyond ``largest_scale``."""
    quantized, threshold = part
    wanted = min(quantized.scale, largest_scale, scale_of(max(threshold, 1 / largest_scale), bits))
    if facts_of(quantized.node).value_range.precision <= bits and quantized.scale <= largest_scale:
        return part
    return ColumnPart(context.rescale(quantized, threshold, bits, wanted), threshold)
