"""Columns of scales of their own. Oracle: the float values of each column, integer / scale, before and after."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import Interval
from mrt_torch.cvm.interval import precision_range
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import set_facts
from mrt_torch.quantization import QuantizationContext, QuantizationSettings, Quantized
from mrt_torch.quantization.columns import columns_of, held_of, one_scale, selected, shared_scale, stacked, within
from mrt_torch.quantization.held import ColumnPart, ColumnQuantized, proven_magnitude
from mrt_torch.quantization.requantize import Rescaling
from tests.mrt_torch.ops.graphs import CheckedRun, aten, operators

ROWS = 3


class Columns:
    """A context of an integer graph whose inputs are parts of these widths, bits and scales.

    The float graph has a node "where", for messages.
    """

    def __init__(self, *parts: tuple[int, int, float], requantization=None):
        editor = GraphEditor(empty_graph_module())
        self.where = editor.call(aten.relu.default, editor.input("data", (1, 2)), name="where")
        rule = {} if requantization is None else {"requantization": requantization}
        self.context = QuantizationContext(editor.module, {}, QuantizationSettings(), **rule)
        self.parts = [self._part(f"part{index}", *part) for index, part in enumerate(parts)]

    def _part(self, name: str, extent: int, bits: int, scale: float) -> ColumnPart:
        node = self.context.editor.input(name, (1, ROWS, extent), torch.int32)
        set_facts(node, precision=bits, value_range=Interval.symmetric(bits))
        return ColumnPart(Quantized(node, scale), precision_range(bits) / scale)

    def integers(self, seed: int = 0) -> list[torch.Tensor]:
        """Random integers of each part, the largest among them."""
        generator = torch.Generator().manual_seed(seed)
        found = []
        for part in self.parts:
            top = part.quantized.value_range.maximum
            values = torch.randint(-top, top + 1, (1, ROWS, part.extent), generator=generator, dtype=torch.int32)
            values[0, 0, 0] = top
            found.append(values)
        return found

    def run(self, found: list[Quantized], integers: list[torch.Tensor]) -> list[torch.Tensor]:
        """Float values of integer nodes; every node is held against its facts."""
        editor = self.context.editor
        editor.output([quantized.node for quantized in found])
        editor.module.recompile()
        outputs = CheckedRun(editor.module).run(*integers)
        return [output.to(torch.float64) / quantized.scale for output, quantized in zip(outputs, found, strict=True)]

    def floats(self, integers: list[torch.Tensor]) -> torch.Tensor:
        """All columns side by side."""
        return torch.cat([values.to(torch.float64) / part.quantized.scale
                          for values, part in zip(integers, self.parts, strict=True)], -1)


def test_neighbours_of_one_scale_are_joined():
    columns = Columns((1, 4, 1.0), (2, 16, 50.0), (1, 12, 50.0), (1, 16, 80.0))
    held = held_of(columns.context, columns.parts)
    assert isinstance(held, ColumnQuantized)
    assert held.scales.tolist() == [1.0, 50.0, 50.0, 50.0, 80.0] and [part.extent for part in held.parts] == [1, 3, 1]
    assert proven_magnitude(held) == precision_range(16) / 50.0
    integers = columns.integers()
    assert torch.equal(torch.cat(columns.run([part.quantized for part in held.parts], integers), -1),
                       columns.floats(integers))
    alike = Columns((1, 4, 2.0), (2, 16, 2.0))
    assert isinstance(held_of(alike.context, alike.parts), Quantized)


@pytest.mark.parametrize("begin, end, extents", [(0, 6, [1, 2, 3]), (1, 3, [2]), (2, 3, [1]), (0, 2, [1, 1]),
                                                 (2, 5, [1, 2]), (5, 6, [1])])
def test_some_columns(begin, end, extents):
    columns = Columns((1, 4, 1.0), (2, 16, 50.0), (3, 12, 3.0))
    found, integers = selected(columns.context, columns.parts, begin, end), columns.integers()
    assert [part.extent for part in found] == extents
    assert torch.equal(torch.cat(columns.run([part.quantized for part in found], integers), -1),
                       columns.floats(integers)[..., begin:end])


def test_what_constants_and_activations_are_held_by():
    """Whole constants have scale 1, others 16 bits; an activation of one scale is one part."""
    columns = Columns((6, 16, 50.0))
    editor = GraphEditor(columns.context.module)
    whole, halves = (editor.constant(name, torch.arange(6.0).reshape(1, 1, 6) * factor)
                     for name, factor in (("whole", 1), ("halves", 0.5)))
    (part,), (fraction,) = columns_of(columns.context, whole), columns_of(columns.context, halves)
    assert (part.quantized.scale, part.threshold) == (1.0, 5.0)
    assert fraction.quantized.scale == precision_range(16) / 2.5
    columns.context.set_value(columns.where, ColumnQuantized(tuple(columns.parts)))
    assert columns_of(columns.context, columns.where) == tuple(columns.parts)


@given(bits=st.tuples(st.integers(9, 31), st.integers(9, 31)),
       exponents=st.tuples(st.floats(-4, 12), st.floats(-4, 12)), seed=st.integers(0, 2 ** 31))
@settings(max_examples=50, deadline=None)
def test_columns_at_one_scale(bits, exponents, seed):
    """Each value is within 2**-15 of the larger magnitude (16 bits), 2**-14 of it (a fraction of 14 bits), and two
    units of the common scale; that is one of both, or fills 16 bits, or 30, with the larger magnitude.
    """
    columns = Columns(*((1, b, 2.0 ** exponent) for b, exponent in zip(bits, exponents, strict=True)))
    part, integers = one_scale(columns.context, columns.parts, 16, columns.where), columns.integers(seed)
    largest = max(each.threshold for each in columns.parts)
    assert part.threshold == largest and part.extent == 2
    own = {each.quantized.scale for each in columns.parts}
    filling = [pytest.approx(precision_range(width) / largest) for width in (16, 30)]
    assert part.quantized.scale in own or part.quantized.scale in filling
    found, = columns.run([part.quantized], integers)
    error = float((found - columns.floats(integers)).abs().max())
    assert error <= 1.5 * 2.0 ** -14 * largest + 2 / part.quantized.scale


def test_columns_of_31_bits_and_nearly_one_scale():
    """The common scale leaves them 30 bits, so that the product of a rescaling holds them; the bound is the same."""
    for exponent in (0.5, 1e-4, -1e-4):
        columns = Columns((1, 31, 2.0), (1, 31, 2.0 ** (1 + exponent)))
        part, integers = one_scale(columns.context, columns.parts, 16, columns.where), columns.integers()
        found, = columns.run([part.quantized], integers)
        assert part.quantized.precision <= 30
        error = float((found - columns.floats(integers)).abs().max())
        assert error <= 1.5 * 2.0 ** -14 * part.threshold + 2 / part.quantized.scale


def test_stacked_columns_are_cut_where_any_of_them_is():
    """(1, 2) on (2, 1) columns: three parts; those of one scale in both tensors are joined as they are."""
    columns = Columns((1, 4, 1.0), (2, 16, 50.0), (1, 4, 1.0), (1, 4, 1.0), (1, 16, 70.0))
    tensors = columns.parts[:2], columns.parts[2:]
    found, integers = stacked(columns.context, tensors, 1, 16, columns.where), columns.integers()
    assert [part.extent for part in found] == [1, 1, 1]
    assert [part.quantized.scale for part in found] == [1.0, pytest.approx(50.0), 50.0]
    values = torch.cat(columns.run([part.quantized for part in found], integers), -1)
    floats = columns.floats(integers)
    expected = torch.cat([floats[..., :3], floats[..., 3:]], 1)
    assert torch.equal(values[..., 0], expected[..., 0])
    assert float((values - expected).abs().max()) <= 1 / 50.0 + 1.5 * 2.0 ** -14 * float(expected.abs().max())


def test_zeros_take_any_scale():
    columns = Columns((1, 1, 7.0), (1, 16, 50.0))
    assert shared_scale(columns.parts, 16) == 50.0
    nothing = Columns((1, 1, 7.0), (1, 1, 3.0))
    assert shared_scale(nothing.parts, 16) == 3.0


@pytest.mark.parametrize("bits, scale, changed", [(30, 50.0, False), (31, 50.0, True), (16, 2.0 ** 31, True),
                                                  (30, 2.0 ** 31, True)])
def test_parts_within_bits_and_scales(bits, scale, changed):
    """As they are, or rescaled: at most 30 bits and 2**30, within 2**-14 of the largest magnitude."""
    columns = Columns((1, bits, scale))
    part, integers = within(columns.context, columns.parts[0], 30, 2.0 ** 30), columns.integers()
    assert (part is not columns.parts[0]) == changed
    assert part.quantized.precision <= 30 and part.quantized.scale <= 2.0 ** 30 * (1 + 2.0 ** -10)
    found, = columns.run([part.quantized], integers)
    error = float((found - columns.floats(integers)).abs().max())
    assert error <= 2.0 ** -14 * part.threshold + 1 / part.quantized.scale


def test_a_rule_that_misses_the_scale_is_refused():
    def coarse(ratio, width, target_bits, guard_bits):
        return Rescaling(0, width, 1, 1)
    columns = Columns((1, 16, 50.0), (1, 16, 70.0), requantization=coarse)
    with pytest.raises(InvalidArgumentError, match="misses a scale that tensors share"):
        one_scale(columns.context, columns.parts, 16, columns.where)


def test_nothing_is_written_for_columns_that_fit():
    columns = Columns((1, 16, 50.0), (4, 16, 50.0))
    one_scale(columns.context, columns.parts, 16, columns.where)
    assert operators(columns.context.editor.module) == ["concatenate"]
