"""Node facts and how a node is described. Oracle: the literal texts and values of this file."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import fx

from mrt_torch.graph.facts import NodeFacts, describe, facts_of, set_facts, source_name


@pytest.fixture
def node() -> fx.Node:
    graph = fx.Graph()
    return graph.call_function(torch.ops.aten.relu.default, (graph.placeholder("x"),))


def test_a_node_without_facts(node):
    assert facts_of(node) == NodeFacts()
    assert source_name(node) == "relu_default"
    assert describe(node) == "node 'relu_default' (aten.relu.default)"


def test_set_facts_keeps_the_others(node):
    set_facts(node, source_name="features.0", precision=8)
    facts = set_facts(node, precision=9)
    assert facts == facts_of(node) == NodeFacts(source_name="features.0", precision=9)


def test_facts_are_frozen(node):
    with pytest.raises(dataclasses.FrozenInstanceError):
        facts_of(node).precision = 3


def test_unknown_facts_are_refused(node):
    with pytest.raises(TypeError):
        set_facts(node, colour="red")


def test_describe_quotes_the_innermost_line(node):
    set_facts(node, source_name="fc", source_operator="Relu")
    node.meta["stack_trace"] = ('  File "a.py", line 3, in forward\n    y = f(x)\n'
                                '  File "b.py", line 7, in f\n    return relu(x)\n')
    assert describe(node) == "node 'fc' (Relu), File \"b.py\", line 7, in f: return relu(x)"


@pytest.mark.parametrize("trace", ["", "no files here", None])
def test_describe_without_a_line(node, trace):
    node.meta["stack_trace"] = trace
    assert describe(node) == "node 'relu_default' (aten.relu.default)"
