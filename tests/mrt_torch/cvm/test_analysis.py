"""Precision and value range of whole graphs."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from mrt_torch.cvm import Interval, analyse, analyse_node, call_of
from mrt_torch.errors import InvalidGraphError, PrecisionError
from mrt_torch.graph.facts import facts_of, set_facts
from tests.mrt_torch.cvm.graphs import GraphBuilder, small_network


def facts_by_name(module):
    return {node.name: facts_of(node) for node in module.graph.nodes if node.op != "output"}


def test_precision_follows_the_rules_of_the_runtime():
    """Oracle: the rules of cvm-format applied by hand to each node."""
    module = small_network()
    analyse(module)
    bits = {name: facts.precision for name, facts in facts_by_name(module).items()}
    assert bits["data"] == 8 and bits["kernel"] == 8
    assert bits["bias"] == int(module.bias.abs().max()).bit_length() + 1
    assert bits["conv2d_default"] == 8 + 8 + 5 + 1          # K = 27 has 5 bits, and a bias
    assert bits["relu_default"] == 22
    assert bits["cvm_right_shift_default"] == 8
    assert bits["sum_default"] == 8 + 5                     # 16 elements have 5 bits
    assert bits["cvm_clip_default"] == 8
    assert bits["dense_default"] == 8 + 8 + 3               # K = 5 has 3 bits


class Recorder(fx.Interpreter):
    """Extremes of every node's value."""

    def __init__(self, module):
        super().__init__(module)
        self.seen = {}

    def run_node(self, n):
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            self.seen[n.name] = Interval.of_tensor(value)
        return value


@pytest.mark.parametrize("fill", [127, -127, 0, None])
def test_values_of_a_run_lie_in_the_proven_ranges(fill):
    module = small_network()
    analyse(module)
    data = torch.randint(-127, 128, (2, 3, 4, 4)).to(torch.int32) if fill is None else torch.full(
        (2, 3, 4, 4), fill, dtype=torch.int32)
    recorder = Recorder(module)
    recorder.run(data)
    facts = facts_by_name(module)
    assert set(recorder.seen) == set(facts)
    for name, seen in recorder.seen.items():
        assert facts[name].value_range.contains(seen), name
        assert facts[name].value_range.precision <= facts[name].precision


def test_shapes_are_filled_in():
    module = small_network()
    analyse(module)
    shapes = {node.name: tuple(node.meta["val"].shape) for node in module.graph.nodes if node.op != "output"}
    assert shapes["conv2d_default"] == (2, 5, 4, 4) and shapes["dense_default"] == (2, 7)
    assert shapes["kernel"] == (5, 3, 3, 3)


def test_a_declared_input_range_is_kept():
    build = GraphBuilder()
    data = build.input((2,))
    set_facts(data, value_range=Interval(0, 9))
    result = build.call("negative", data)
    analyse(build.finish(result))
    assert facts_of(result).value_range == Interval(-9, 0)


def test_one_node_is_analysed_alone():
    build = GraphBuilder()
    data, table = build.input((3,), 3), build.constant([9, 8, 7, 6])
    result = build.call("cvm_lut", data, table)
    module = build.finish(result)
    analyse(module)
    with module.graph.inserting_after(result):
        doubled = module.graph.call_function(torch.ops.cvm.elemwise_add.default, (result, result))
    analyse_node(doubled)
    assert facts_of(doubled).value_range == Interval(12, 18) and facts_of(doubled).precision == 6
    assert tuple(doubled.meta["val"].shape) == (3,)


def test_call_of_gives_operands_attributes_and_constants():
    build = GraphBuilder()
    data, weight = build.input((2, 3)), build.constant([[1, 2, 3]])
    node = build.call("dense", data, weight, None)
    module = build.finish(node)
    analyse(module)
    row, call = call_of(node)
    assert row.name == "dense" and call.output_shape == (2, 1) and call.shapes == [(2, 3), (1, 3)]
    assert call.operands[0].value is None and call.operands[1].value is module.weight
    joined = GraphBuilder()
    data = joined.input((2, 3))
    node = joined.call("concatenate", [data, data, joined.constant([[7], [9]])], axis=1)
    analyse(joined.finish(node))
    assert [operand.precision for operand in call_of(node)[1].operands] == [8, 8, 5]
    assert tuple(node.meta["val"].shape) == (2, 7)


def test_too_few_bits_are_an_error_that_names_the_node():
    """where takes the precision of its condition, which cannot hold the values."""
    build = GraphBuilder()
    condition, data = build.input((2,), 2, "condition"), build.input((2,), 8)
    module = build.finish(build.call("where", condition, data, data))
    with pytest.raises(PrecisionError, match=r"(?s)where_default.*-127\.\.127, 8 bits.*infers 2"):
        analyse(module)


def test_an_input_range_beyond_its_precision_is_an_error():
    build = GraphBuilder()
    data = build.input((2,), 4)
    set_facts(data, value_range=Interval(0, 8))
    with pytest.raises(PrecisionError, match=r"(?s)'data'.*0\.\.8 needs 5 bits"):
        analyse(build.finish(data))


def test_an_input_without_precision_is_an_error():
    build = GraphBuilder()
    data = build.input((2,), None)
    with pytest.raises(InvalidGraphError, match="no precision"):
        analyse(build.finish(data))


@pytest.mark.parametrize("value", [
    torch.zeros(2), torch.zeros(0, dtype=torch.int32), torch.zeros(2, dtype=torch.int8)])
def test_constants_are_int32_and_not_empty(value):
    build = GraphBuilder()
    node = build.constant([1])
    build.root.register_buffer("weight", value)
    with pytest.raises(InvalidGraphError, match="int32 and not empty"):
        analyse(build.finish(node))


def test_a_missing_constant_is_an_error():
    build = GraphBuilder()
    node = build.constant([1])
    module = build.finish(node)
    del module.weight
    with pytest.raises(InvalidGraphError, match="no tensor 'weight'"):
        analyse(module)


@pytest.mark.parametrize(("make", "message"), [
    (lambda g, x: g.call_function(torch.ops.aten.relu.default, (x,)), "not a CVM operator"),
    (lambda g, x: g.call_method("relu", (x,)), "not a CVM operator"),
    (lambda g, x: g.call_function(torch.ops.cvm.cvm_clip.default, (x,)), "do not match its schema"),
    (lambda g, x: g.call_function(torch.ops.cvm.relu.default, (x, x)), "do not match its schema"),
    (lambda g, x: g.call_function(torch.ops.cvm.elemwise_add.default, (x, 1)), "by position"),
])
def test_malformed_nodes(make, message):
    build = GraphBuilder()
    node = make(build.graph, build.input((2,)))
    with pytest.raises(InvalidGraphError, match=message):
        analyse(build.finish(node))


def test_an_operand_without_facts_is_an_error():
    build = GraphBuilder()
    first = build.call("relu", build.input((2,)))
    second = build.call("abs", first)
    build.finish(second)
    with pytest.raises(InvalidGraphError, match="has not been analysed"):
        analyse_node(second)
