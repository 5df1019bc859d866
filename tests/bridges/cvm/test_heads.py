"""Flattened heads. Oracle: the runtime's condition (size / last axis is equal) and the graph before."""

from __future__ import annotations

import pytest
import torch

from bridges.cvm.heads import flatten_heads
from mrt_torch.cvm import verify
from mrt_torch.graph.editor import output_nodes, shape_of
from mrt_torch.graph.facts import facts_of, set_facts
from tests.bridges.cvm.graphs import convolution_graph, cvm, integer_graph, integers, two_headed_graph


def head_shapes(module):
    return [shape_of(head) for head in output_nodes(module.graph)]


def three_heads(editor, data):
    constant = editor.constant("c", integers((5,)))
    return [data, constant, editor.call(cvm.relu.default, data)]


@pytest.mark.parametrize(("graph", "shapes"), [
    (two_headed_graph(batch=2), [(2, 24), (2, 6)]),
    (two_headed_graph(batch=1), [(1, 24), (1, 6)]),
    (integer_graph(three_heads, (2, 3)), [(1, 6), (1, 5), (1, 6)]),
    (integer_graph(three_heads, (1, 3)), [(1, 3), (1, 5), (1, 3)]),
    (integer_graph(three_heads, (5,)), [(5, 1), (5, 1), (5, 1)]),
    (integer_graph(lambda editor, data: [data, data], (1, 2, 2)), [(1, 4), (1, 4)]),
])
def test_every_head_has_the_same_number_of_rows(graph, shapes):
    flattened = flatten_heads(graph)
    assert head_shapes(flattened) == shapes
    assert len({shape[0] for shape in shapes}) == 1
    verify(flattened)
    values = integers(next(iter(graph.graph.nodes)).meta["val"].shape)
    for head, flat, shape in zip(graph(values), flattened(values), shapes, strict=True):
        assert torch.equal(head.reshape(shape), flat)


def test_single_head_is_left_alone():
    graph = convolution_graph()
    assert flatten_heads(graph).code == graph.code


def test_two_dimensional_heads_of_one_batch_are_left_alone():
    graph = integer_graph(lambda editor, data: [data, editor.call(cvm.abs.default, data)], (3, 2))
    assert flatten_heads(graph).code == graph.code


def test_facts_follow_and_the_given_graph_stays():
    graph = two_headed_graph()
    for scale, head in enumerate(output_nodes(graph.graph), 2):
        set_facts(head, scale=float(scale))
    code, shapes = graph.code, head_shapes(graph)
    flattened = flatten_heads(graph)
    for old, new in zip(output_nodes(graph.graph), output_nodes(flattened.graph), strict=True):
        assert (facts_of(old).scale, facts_of(old).precision, facts_of(old).value_range) == (
            facts_of(new).scale, facts_of(new).precision, facts_of(new).value_range)
    assert (graph.code, head_shapes(graph)) == (code, shapes)


def test_a_node_that_is_two_heads_is_flattened_once():
    graph = flatten_heads(integer_graph(lambda editor, data: [data, data], (1, 2, 2)))
    assert len(set(output_nodes(graph.graph))) == 1
