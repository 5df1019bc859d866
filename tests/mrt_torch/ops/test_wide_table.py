"""Functions of wide integers by several tables, against the function in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm.interval import Interval, precision_range
from mrt_torch.errors import PrecisionError
from mrt_torch.graph.facts import set_facts
from mrt_torch.graph.runner import finish
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.wide_table import segments_for, wide_table
from mrt_torch.quantization import QuantizationSettings
from mrt_torch.quantization.context import QuantizationContext
from tests.mrt_torch.ops.graphs import CheckedRun, assert_deployable, graph, operators

FUNCTIONS = {"sqrt": lambda v: 64 * v.sqrt(), "reciprocal": lambda v: (2.0 ** 30 - 1) / (v + 1), "one": torch.ones_like,
             "cube root": lambda v: 1000 * v.pow(1 / 3), "logarithm": lambda v: 1e6 * (v + 1).log()}


def table_graph(function, bits, **options):
    """An integer graph of one input of ``bits`` bits, and its lookup."""
    context = QuantizationContext(graph(lambda e, x: x, (4,)), {}, QuantizationSettings())
    node = context.editor.input("data", (4,), torch.int32)
    set_facts(node, precision=bits, value_range=Interval.symmetric(bits))
    context.editor.output([wide_table(context, node, function, "table", **options)])
    finish(context.editor.module, Stage.INTEGER)
    return context.editor.module


def look_up(module, values):
    """Integers of the result; every node is held against its facts."""
    return CheckedRun(module).run(values.to(torch.int32))[0].double()


def spread(bits):
    """Values of all magnitudes, the first and last of every window among them."""
    top = precision_range(bits)
    powers = 2.0 ** torch.arange(0, bits - 1, 0.03, dtype=torch.float64)
    edges = torch.cat([2.0 ** torch.arange(bits) + step for step in (-17, -9, -8, -7, -1, 0, 1)]).double()
    return torch.cat([powers, edges, torch.arange(0.0, 5000.0).double()]).round().clamp(0, top).unique()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("bits", [2, 8, 13, 14, 20, 31])
def test_relative_error(name, bits):
    """Bound: the docstring's: the elasticity of the function, at most 1 here, times 2**-9; and half a unit."""
    module = table_graph(FUNCTIONS[name], bits)
    assert_deployable(module)
    values = spread(bits)
    expected = FUNCTIONS[name](values)
    elasticity = {"sqrt": 0.5, "cube root": 1 / 3, "one": 0.0}.get(name, 1.0)
    found = look_up(module, values)
    assert bool(((found - expected).abs() <= 0.5 + 1e-6 + elasticity * 1.01 * 2.0 ** -9 * expected).all())


def test_small_values_are_exact():
    """Oracle: the function, rounded."""
    values = torch.arange(0.0, 4088.0).double()  # the next window begins there
    found = look_up(table_graph(FUNCTIONS["sqrt"], 31), values)
    assert torch.equal(found, (64 * values.sqrt() + 0.5).floor())


@pytest.mark.parametrize("resolution, index_bits", [(6, 8), (9, 13), (10, 12), (4, 12)])
def test_the_resolution_is_an_argument(resolution, index_bits):
    """Bound: half of 2**-(resolution + 1), for a square root, its second order, and half a unit."""
    module = table_graph(FUNCTIONS["sqrt"], 31, resolution=resolution, index_bits=index_bits)
    values = spread(31)
    expected = FUNCTIONS["sqrt"](values)
    bound = 0.5 + 1e-6 + 2.0 ** -(resolution + 2) * (1 + 2.0 ** -resolution) * expected
    assert bool(((look_up(module, values) - expected).abs() <= bound).all())
    tables = [getattr(module, n.target) for n in module.graph.nodes if n.op == "get_attr" and "table" in n.target]
    assert max(table.numel() for table in tables) <= 2 ** index_bits + 1


@settings(deadline=None, max_examples=50)
@given(largest=st.integers(0, 2 ** 30 - 1), resolution=st.integers(4, 10), window=st.integers(1, 5))
def test_segments_cover_everything(largest, resolution, window):
    """Oracle: each integer near an end of a window, and the largest, lies in one."""
    segments = segments_for(largest, resolution, resolution + window)
    ends = {largest} | {min(max((end << s.shift) + d, 0), largest)
                        for s in segments for end in (s.first, s.last + 1) for d in range(-2, 3)}
    for value in ends:
        assert any(s.first <= (value + (1 << s.shift >> 1) >> s.shift) <= s.last for s in segments), value


def test_negative_integers_count_as_zero():
    assert look_up(table_graph(lambda v: v + 7, 20), torch.tensor([-5, -400000]).double()).tolist() == [7, 7]


def test_equal_tables_are_one_parameter():
    context = QuantizationContext(graph(lambda e, x: x, (4,)), {}, QuantizationSettings())
    node = context.editor.input("data", (4,), torch.int32)
    set_facts(node, precision=20, value_range=Interval.symmetric(20))
    twice = [wide_table(context, node, torch.sqrt, name, 8, 12) for name in ("first", "second")]
    context.editor.output(twice)
    finish(context.editor.module, Stage.INTEGER)
    assert operators(context.editor.module).count("cvm_lut") == 6
    assert sum(name.startswith(("first", "second")) for name, _ in context.editor.module.named_buffers()) == 3


@pytest.mark.parametrize("function, bits", [(lambda v: -v, 8), (lambda v: v.log(), 8), (lambda v: v * 1e9, 8),
                                            (torch.sqrt, 32)])
def test_refusals(function, bits):
    """A negative, an infinite and a too large value; and an index that no shift may read."""
    with pytest.raises(PrecisionError):
        table_graph(function, bits)
