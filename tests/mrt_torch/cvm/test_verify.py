"""The certificate: sound graphs pass, every way to break one is named."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.cvm import Interval, analyse, verify
from mrt_torch.errors import ExportError
from mrt_torch.graph.facts import set_facts
from tests.mrt_torch.cvm.graphs import CONVOLUTION, GraphBuilder, small_network


def node_of(module, name):
    return next(node for node in module.graph.nodes if node.name == name)


def network():
    module = small_network()
    analyse(module)
    return module


def reasons(module):
    with pytest.raises(ExportError) as caught:
        verify(module)
    return caught.value.why


def test_a_sound_network_passes():
    verify(network())


def test_an_unanalysed_network_does_not():
    assert "not known" in reasons(small_network())


def test_every_reason_is_listed():
    """Three independent faults in one graph: all three are named, with their nodes."""
    build = GraphBuilder()
    data = build.input((2, 3, 4, 1), 9)
    kernel = build.constant(torch.ones(2, 3, 1, 1))
    convolved = build.call("conv2d", data, kernel, **{**CONVOLUTION, "padding": [0, 0]})
    wide = build.call("broadcast_mul", convolved, build.constant([2 ** 20], "factor"))
    summed = build.call("sum", wide, axis=[2], keepdims=False, exclude=False)
    module = build.finish(summed)
    analyse(module)
    found = reasons(module).splitlines()
    assert any("'conv2d_default'" in line and "the data has 9 bits" in line for line in found)
    assert any("'broadcast_mul_default'" in line and "infers 35 bits" in line for line in found)
    assert any("'sum_default'" in line and "reshape it away" in line for line in found)
    assert any("'sum_default'" in line and "infers 38 bits" in line for line in found)
    assert len(found) == 4


@pytest.mark.parametrize(("name", "changes", "message"), [
    ("relu_default", {"precision": 21}, "infers 22 bits, recorded are 21"),
    ("relu_default", {"precision": 23}, "infers 22 bits, recorded are 23"),
    ("relu_default", {"value_range": Interval(0, 5)}, "are possible, recorded are 0..5"),
    ("relu_default", {"value_range": Interval(0, 2 ** 30)}, "need 32 bits, recorded are 22"),
    ("relu_default", {"value_range": None}, "not known"),
    ("weight", {"precision": 3}, "the constant needs 8 bits, declared are 3"),
    ("weight", {"value_range": Interval(0, 1)}, "outside its recorded range"),
    ("data", {"precision": 33}, "33 bits"),
    ("data", {"precision": 0, "value_range": Interval(0, 0)}, "0 bits")])
def test_stale_facts_are_found(name, changes, message):
    module = network()
    set_facts(node_of(module, name), **changes)
    assert message in reasons(module)


def test_a_declared_precision_wider_than_the_constant_is_legal():
    module = network()
    set_facts(node_of(module, "bias"), precision=20)
    verify(module)


def test_a_changed_constant_is_found():
    module = network()
    module.weight = module.weight * 1000
    assert "the constant needs" in reasons(module)


@pytest.mark.parametrize(("value", "message"), [
    (torch.empty(2, 5, 4, 4, device="meta"), "torch.float32, not int32"),
    (torch.empty(2, 5, 4, 3, dtype=torch.int32, device="meta"),
     "gives shape (2, 5, 4, 4), recorded is (2, 5, 4, 3)"),
    (None, "not exactly one tensor")])
def test_wrong_values_are_found(value, message):
    module = network()
    node_of(module, "relu_default").meta["val"] = value
    assert message in reasons(module)


def test_float_constants_and_wrong_recorded_shapes_are_found():
    module = network()
    module.weight = module.weight.to(torch.float32)
    assert "the constant is torch.float32" in reasons(module)
    module = network()
    node_of(module, "weight").meta["val"] = torch.empty(7, 6, dtype=torch.int32, device="meta")
    assert "the constant's shape is (7, 5), recorded is (7, 6)" in reasons(module)


@pytest.mark.parametrize(("shape", "message"), [
    ((1, 1, 1, 1, 1, 1, 1), "7 dimensions"), ((), "0 dimensions"), ((2 ** 24 + 1,), "extent 16777217"),
    ((0, 3), "extent 0"), ((2 ** 16, 2 ** 15), "elements, more than 1073741824")])
def test_shapes_the_runtime_refuses(shape, message):
    build = GraphBuilder()
    module = build.finish(build.call("relu", build.input(shape)))
    analyse(module)
    assert message in reasons(module)


@pytest.mark.parametrize("shape", [(1,) * 6, (2 ** 24,), (2 ** 15, 2 ** 15)])
def test_the_largest_shapes_pass(shape):
    build = GraphBuilder()
    module = build.finish(build.call("relu", build.input(shape)))
    analyse(module)
    verify(module)


def test_foreign_operators_are_found():
    module = network()
    head = node_of(module, "dense_default")
    with module.graph.inserting_after(head):
        foreign = module.graph.call_function(torch.ops.aten.relu.default, (head,))
        method = module.graph.call_method("relu", (head,))
    foreign.meta.update(head.meta)
    found = reasons(module)
    assert "aten.relu.default" in found and "'call_method' nodes are not part" in found
    assert method.name in found


def test_the_left_shift_is_found():
    build = GraphBuilder()
    module = build.finish(build.call("cvm_left_shift", build.input((2,)), precision=16, shift_bit=4))
    analyse(module)
    assert "CPU back end fails" in reasons(module)


def test_outputs_are_a_tuple_of_nodes():
    module = network()
    output = node_of(module, "output")
    head = output.args[0][0]
    output.args = ((head, 3),)
    assert "holds 3, not a node" in reasons(module)
    output.args = (head,)
    assert "not a tuple" in reasons(module)


def test_several_heads_and_inputs_as_heads_are_legal():
    build = GraphBuilder()
    data, weight = build.input((2,)), build.constant([1, 2])
    module = build.finish(data, weight, build.call("elemwise_add", data, weight))
    analyse(module)
    verify(module)
