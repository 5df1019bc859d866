"""Values of a graph, node after node. Oracle: torch.fx.Interpreter, which keeps everything."""

from __future__ import annotations

import operator
import random
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx

from mrt_torch.graph.live_values import LiveValues
from tests.mrt_torch.ops.graphs import aten, draw, graph

UNARY = (aten.relu.default, aten.tanh.default, aten.neg.default, aten.sigmoid.default)
BINARY = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.maximum.default)
X = draw(2, 4, 3, 3)


def random_graph(seed: int) -> fx.GraphModule:
    """Up to 16 operators that read any value before them: branches, values read twice, parameters, splits."""
    choose = random.Random(seed)

    def build(editor, x):
        values = [x]
        for position in range(choose.randint(1, 12)):
            kind, first, second = choose.randrange(5), choose.choice(values), choose.choice(values)
            if kind == 0:
                values.append(editor.call(choose.choice(BINARY), first, second))
            elif kind == 1:
                constant = editor.constant(f"c{position}", draw(1, 4, 1, 1, seed=position))
                values.append(editor.call(aten.mul.Tensor, first, constant))
            elif kind == 2:
                parts = editor.call(aten.split_with_sizes.default, first, [1, 3], 1)
                pieces = [editor.call(operator.getitem, parts, index) for index in (1, 0)]
                values.append(editor.call(aten.cat.default, pieces, 1))
            else:
                values.append(editor.call(choose.choice(UNARY), first))
        return choose.choices(values, k=choose.randint(1, 3))
    return graph(build, X.shape)


class Values(fx.Interpreter):
    """All values; or, with ``changed``, those of a graph in which a node has another."""

    def __init__(self, module: fx.GraphModule, changed: tuple[fx.Node, torch.Tensor] | None = None):
        super().__init__(module, garbage_collect_values=False)
        self.changed = changed
        self.outputs = self.run(X)

    def run_node(self, n: fx.Node):
        return self.changed[1] if self.changed and n is self.changed[0] else super().run_node(n)


def operators(module: fx.GraphModule) -> list[fx.Node]:
    return [n for n in module.graph.nodes if n.op == "call_function" and n.target is not aten.split_with_sizes.default]


def same(found, expected) -> None:
    assert len(found) == len(expected)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10 ** 9))
def test_values_are_those_of_the_interpreter(seed):
    module = random_graph(seed)
    expected = Values(module)
    same(LiveValues(module, X).outputs(), expected.outputs)
    live = LiveValues(module, X)
    for node in operators(module):
        before = live.before(node)
        for read in node.all_input_nodes:
            if read.target is not aten.split_with_sizes.default:
                assert torch.equal(before[read], expected.env[read])
        assert torch.equal(live.of(node), expected.env[node])
    same(live.outputs(), expected.outputs)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10 ** 9))
def test_outputs_with_one_value_changed(seed):
    """Of every operator in turn; what was changed before is forgotten."""
    module = random_graph(seed)
    live = LiveValues(module, X)
    for node in operators(module):
        shape = node.meta["val"].shape
        for changed in (torch.zeros(shape, dtype=X.dtype), draw(*shape, seed=3)):
            same(live.outputs(node, changed), Values(module, (node, changed)).outputs)
        assert torch.equal(live.of(node), Values(module).env[node])


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10 ** 9), st.randoms(use_true_random=False))
def test_some_nodes_may_be_left_out(seed, choose):
    module = random_graph(seed)
    expected, live = Values(module).env, LiveValues(module, X)
    for node in [n for n in operators(module) if choose.random() < 0.3]:
        assert torch.equal(live.of(node), expected[node])
    same(live.outputs(), Values(module).outputs)


def test_an_output_may_be_an_input_or_a_parameter():
    module = graph(lambda e, x: [x, e.constant("c", draw(2)), e.call(aten.relu.default, x), x], X.shape)
    same(LiveValues(module, X).outputs(), Values(module).outputs)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10 ** 9))
def test_only_what_is_still_read_is_kept(seed):
    """At a node: the values of earlier nodes that it, a later node or the output reads."""
    module = random_graph(seed)
    nodes = list(module.graph.nodes)
    live = LiveValues(module, X)
    for node in operators(module):
        place = nodes.index(node)
        needed = {n for n in nodes[:place] if any(nodes.index(user) >= place for user in n.users)}
        held = set(live.before(node))
        assert needed <= held
        assert all(n.op == "placeholder" for n in held - needed)


def test_memory_is_given_back():
    """A chain of 30 values of which two are alive. Oracle: weak references to what the operators return."""
    alive: list[weakref.ref] = []

    def watched(x):
        result = x + 1
        alive.append(weakref.ref(result))
        return result

    def build(editor, x):
        for _ in range(30):
            x = editor.call(aten.relu.default, x)
        return x
    module = graph(build, X.shape)
    chain = [n for n in module.graph.nodes if n.op == "call_function"]
    for node in chain:
        node.target = watched
    live = LiveValues(module, X)
    for node in chain:
        live.before(node)
        assert sum(reference() is not None for reference in alive) <= 1
    live.outputs(chain[-1], X)
    assert sum(reference() is not None for reference in alive) <= 1


def test_a_changed_value_does_not_reach_what_is_kept():
    """Both paths of a branch: the outputs of one question are not those of the next."""
    def build(editor, x):
        first = editor.call(aten.relu.default, x)
        return editor.call(aten.add.Tensor, editor.call(aten.tanh.default, first), first)
    module = graph(build, X.shape)
    relu, tanh, _ = operators(module)
    live = LiveValues(module, X)
    plain = live.outputs()
    same(live.outputs(relu, X * 0), [X * 0])
    same(live.outputs(tanh, X * 0), [X.relu()])
    same(live.outputs(), plain)


def test_going_back_is_a_mistake():
    """Nodes are asked for in the order of the graph; the values are gone."""
    module = graph(lambda e, x: e.call(aten.tanh.default, e.call(aten.relu.default, e.call(
        aten.neg.default, x))), X.shape)
    first, _, last = operators(module)
    live = LiveValues(module, X)
    live.before(last)
    with pytest.raises(KeyError):
        live.of(first)
