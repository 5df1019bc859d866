"""The batch is fixed, and what depended on it is settled."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.cvm import verify
from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import output_nodes, shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.passes import prepare_for_compile
from tests.mrt_torch.ops.graphs import aten, draw, graph, integer_model, operators, unary
from tests.mrt_torch.passes.test_prepare import SHAPE, everything


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_a_whole_network_at_a_batch(batch):
    """Oracle: the graph with the free batch. The certificate holds."""
    model = integer_model(graph(everything, SHAPE), draw(*SHAPE))
    fixed = prepare_for_compile(model.module, {"data": (batch, *SHAPE[1:])})
    verify(fixed)
    integers = model.input_integers(draw(batch, *SHAPE[1:]))
    for found, expected in zip(fixed(integers), model.module(integers), strict=True):
        assert torch.equal(found, expected)
    assert [shape_of(n)[0] for n in output_nodes(fixed.graph)] == [batch, batch]
    for node in fixed.graph.nodes:
        if node.op == "call_function" and node.target._opname == "strided_slice":
            assert all(end <= extent for end, extent in zip(node.kwargs["end"], shape_of(node.args[0]), strict=True))


def test_the_given_graph_stays_free():
    model = integer_model(unary(aten.slice.Tensor, 1, 0, 2, 1), draw(2, 3, 4, 5))
    before = model.module.code
    prepare_for_compile(model.module, {"data": (9, 3, 4, 5)})
    assert model.module.code == before
    assert model.module(torch.ones(3, 3, 4, 5, dtype=torch.int32))[0].shape == (3, 2, 4, 5)


def test_without_shapes_the_example_is_the_batch():
    model = integer_model(unary(aten.relu.default), draw(2, 3, 4, 5))
    assert shape_of(output_nodes(prepare_for_compile(model.module, {}).graph)[0]) == (2, 3, 4, 5)


def test_a_zero_product_and_what_reads_it():
    """The product is a parameter; its readers read that."""
    def build(e, x):
        zero = e.call(aten.mul.Tensor, x, e.constant("zeros", torch.zeros(3, 1, 1, dtype=torch.float64)))
        return e.call(aten.add.Tensor, zero, e.call(aten.abs.default, x))

    x = draw(2, 3, 4, 5)
    model = integer_model(graph(build, x.shape), x)
    fixed = prepare_for_compile(model.module, {"data": (3, 3, 4, 5)})
    verify(fixed)
    assert "broadcast_mul" not in operators(fixed) or facts_of(next(
        n for n in fixed.graph.nodes if n.op == "call_function" and n.target._opname == "broadcast_mul")
    ).value_range.magnitude > 0
    integers = model.input_integers(draw(3, 3, 4, 5))
    assert torch.equal(fixed(integers)[0], model.module(integers)[0])


@pytest.mark.parametrize("shape", [(2, 4, 4, 5), (2, 3, 4), (2, 3, 4, 6)])
def test_other_shapes_are_refused(shape):
    weight = draw(4, 60)

    def build(e, x):
        return e.call(aten.linear.default, e.call(aten.flatten.using_ints, x, 1, -1), e.constant("w", weight))

    model = integer_model(graph(build, (2, 3, 4, 5)), draw(2, 3, 4, 5))
    with pytest.raises(InvalidGraphError, match="refuses its arguments"):
        prepare_for_compile(model.module, {"data": shape})


def test_twice_is_once():
    model = integer_model(graph(everything, SHAPE), draw(*SHAPE))
    once = prepare_for_compile(model.module, {"data": (4, *SHAPE[1:])})
    twice = prepare_for_compile(once, {"data": (4, *SHAPE[1:])})
    assert operators(twice) == operators(once)
    assert twice.code == once.code


def test_outputs_keep_their_names_and_scales():
    model = integer_model(graph(everything, SHAPE), draw(*SHAPE))
    fixed = prepare_for_compile(model.module, {"data": (4, *SHAPE[1:])})
    assert [facts_of(n).scale for n in output_nodes(fixed.graph)] == model.scales
    assert [n.name for n in output_nodes(fixed.graph)] == [n.name for n in output_nodes(model.module.graph)]
