"""Composite operators: their kernels, and what they expand into."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import OPERATORS, Interval, analyse, gas, verify
from mrt_torch.errors import ExportError, InvalidArgumentError
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.graph.shapes import set_input_shapes
from mrt_torch.passes import prepare_for_compile
from tests.bridges.cvm.graphs import cvm, integer_graph
from tests.mrt_torch.cvm.calls import assert_range_holds, call_on, integers, limits, operand, run, tensor

TO_THE_END = 2 ** 31 - 1


def product(left, right):
    """By definition, over Python integers."""
    return [[[sum(a * b for a, b in zip(row, column)) for column in columns] for row in rows]
            for rows, columns in zip(left.tolist(), right.tolist())]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 20), st.integers(0, 99),
       st.sampled_from([(-127, 127), (127, 127), (-127, -127)]))
def test_batch_dot_is_the_definition(batch, rows, columns, length, seed, bounds):
    left = integers((batch, rows, length), *bounds, seed)
    right = integers((batch, columns, length), seed=seed + 1)
    assert run("batch_dot", left, right).tolist() == product(left, right)
    assert_range_holds("batch_dot", left, right)


def test_batch_dot_is_exact_at_the_edge_of_32_bits():
    """65535 products of 127 * 127 are the greatest sum that the runtime's rule admits."""
    x = torch.full((1, 1, 65535), 127, dtype=torch.int32)
    assert run("batch_dot", x, x).item() == 65535 * 127 * 127
    row = OPERATORS["batch_dot"]
    assert row.precision(call_on("batch_dot", x, x)) == 32
    assert row.value_range(call_on("batch_dot", x, -x)) == Interval(-65535 * 127 * 127, -65535 * 127 * 127)


def test_batch_dot_takes_8_bits():
    wide, narrow = tensor([[[128]]]), tensor([[[127]]])
    assert "left has 9 bits" in limits("batch_dot", wide, narrow)
    assert "right has 9 bits" in limits("batch_dot", narrow, wide)
    assert not limits("batch_dot", narrow, narrow)
    assert operand(wide).precision == 9


@pytest.mark.parametrize("shapes", [[(2, 3, 4), (3, 3, 4)], [(2, 3, 4), (2, 4, 3)], [(3, 4), (3, 4)]])
def test_shapes_that_do_not_match(shapes):
    with pytest.raises(InvalidArgumentError, match="batch_dot takes"):
        OPERATORS["batch_dot"].output_shape(shapes, {})


def attention(batch=2):
    """Queries (N, 3, 9) by keys (N, 5, 9), and the queries by themselves."""
    def build(editor, data):
        left, right = (editor.call(cvm.strided_slice.default, data, begin=[0, begin, 0], end=[TO_THE_END, end, 9],
                                   stride=[1, 1, 1]) for begin, end in ((0, 3), (3, 8)))
        return [editor.call(cvm.batch_dot.default, left, right), editor.call(cvm.batch_dot.default, left, left)]
    return integer_graph(build, (batch, 8, 9))


def operators(module):
    return [node.target._opname for node in module.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_expansion_gives_the_same_integers_facts_and_gas(batch):
    """Oracle: the composite itself, whose batch is free."""
    free = attention()
    assert all(free_axis(node) == 0 for node in free.graph.nodes if node.op == "call_function")
    fixed = prepare_for_compile(free, {"data": (batch, 8, 9)})
    verify(fixed)
    values = integers((batch, 8, 9), seed=batch)
    for ours, theirs in zip(free(values), fixed(values), strict=True):
        assert torch.equal(ours, theirs)
    assert operators(fixed).count("dense" if batch == 1 else "conv2d") == 2
    assert "batch_dot" not in operators(fixed) and "concatenate" not in operators(fixed)
    set_input_shapes(free, {"data": (batch, 8, 9)})
    analyse(free)
    assert gas(free) == gas(fixed)
    heads = [next(node for node in reversed(module.graph.nodes)).args[0] for module in (free, fixed)]
    for composite, expanded in zip(*heads, strict=True):
        assert facts_of(composite).precision == facts_of(expanded).precision
        assert facts_of(composite).value_range == facts_of(expanded).value_range


def test_unexpanded_composites_are_not_deployable():
    module = attention()
    verify(module, deployable=False)
    with pytest.raises(ExportError, match="no batch_dot: fix the batch"):
        verify(module)
