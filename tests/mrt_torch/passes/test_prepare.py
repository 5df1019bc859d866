"""All passes of prepare together: same values, any batch, nothing of the user's changed."""

from __future__ import annotations

import operator

import pytest
import torch

from mrt_torch.graph.editor import GraphEditor, empty_graph_module, input_nodes
from mrt_torch.graph.free_axis import is_batch_free
from mrt_torch.graph.stage import Stage, check_stage
from mrt_torch.ops import TRANSFORMERS
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, operators


def everything(e, x):
    """A network that gives every pass something to do."""
    def constant(name, *shape, shift=0.0):
        return e.constant(name, draw(*shape, seed=len(name)) + shift)

    y = e.call(aten.conv2d.default, x, constant("conv/weight", 4, 3, 3, 3), constant("conv/bias", 4), [1, 1], [1, 1])
    y = e.call(aten.batch_norm.default, y, constant("gamma", 4), constant("beta", 4), constant("mean", 4),
               constant("variance", 4, shift=1.5), False, 0.1, 1e-5, False)
    y = e.call(aten.leaky_relu.default, y, 0.1)
    y = e.call(aten.permute.default, e.call(aten.permute.default, y, [0, 2, 3, 1]), [0, 3, 1, 2])
    left, right = (e.call(operator.getitem, e.call(aten.split.Tensor, y, 2, 1), i) for i in (0, 1))
    right = e.call(aten.div.Tensor, right, e.constant("two", torch.tensor(2.0).double()))
    y = e.call(aten.cat.default, [left, right], 1)
    y = e.call(aten.avg_pool2d.default, y, [3, 3], [2, 2], [1, 1], True, False)
    y = e.call(aten.adaptive_avg_pool2d.default, e.call(aten.dropout.default, y, 0.5, False), [1, 1])
    y = e.call(aten.linear.default, e.call(aten.flatten.using_ints, y, 1, -1),
               e.call(aten.reshape.default, constant("fc/weight", 20), [5, 4]))
    e.constant("unused", draw(1000))
    return e.call(aten.softmax.int, y, 1), e.call(aten.minimum.default, y, e.call(aten.neg.default, y))


SHAPE = (2, 3, 8, 8)


def module_of(names=("image",)):
    return graph(everything, SHAPE, names=names)


def test_values_are_those_of_the_source():
    """Oracle: the source graph, 1e-12 for the order of products. Another batch runs as well."""
    module = module_of()
    prepared = prepare(module)
    for batch in (2, 1, 7):
        assert_same_values(module, prepared, draw(batch, *SHAPE[1:], seed=batch))
    assert is_batch_free(prepared)


def test_only_operators_with_an_integer_form_are_left():
    prepared = prepare(module_of())
    check_stage(prepared, Stage.FLOAT)
    gone = {"batch_norm", "leaky_relu", "permute", "split", "div", "avg_pool2d", "adaptive_avg_pool2d", "dropout",
            "minimum", "getitem"}
    assert not gone & set(operators(prepared))
    assert all(TRANSFORMERS[n.target].has_pass("quantize") for n in prepared.graph.nodes if n.op == "call_function")
    assert [n.name for n in input_nodes(prepared.graph)] == ["data"]


def test_the_user_s_module_is_unchanged():
    module = module_of()
    code, buffers = module.code, {name: tensor.clone() for name, tensor in module.named_buffers()}
    names = [n.name for n in module.graph.nodes]
    prepare(module)
    assert (module.code, [n.name for n in module.graph.nodes]) == (code, names)
    assert all(torch.equal(tensor, buffers[name]) for name, tensor in module.named_buffers())
    assert len(buffers) == len(dict(module.named_buffers()))


def test_unused_parameters_are_dropped():
    """mrt-core 3, params_unique; and what folding left behind."""
    prepared = prepare(module_of())
    read = {n.target for n in prepared.graph.nodes if n.op == "get_attr"}
    assert {name for name, _ in prepared.named_buffers()} == read
    assert "unused" not in read


def test_tensors_that_are_not_changed_are_shared():
    module = graph(lambda e, x: e.call(aten.linear.default, x, e.constant("w", draw(4, 3))), (2, 3))
    assert prepare(module).w.data_ptr() == module.w.data_ptr()


def test_twice_is_once():
    """The same nodes, names and constants."""
    once = prepare(module_of())
    twice = prepare(once)
    assert twice.code == once.code
    assert [n.name for n in twice.graph.nodes] == [n.name for n in once.graph.nodes]
    assert all(torch.equal(tensor, getattr(twice, name)) for name, tensor in once.named_buffers())


@pytest.mark.parametrize("names", [("image",), ("data",), ("x/0",)])
def test_names_do_not_matter(names):
    assert prepare(module_of(names)).code == prepare(module_of()).code


def test_several_inputs():
    """Oracle: the source graph fed with the parts."""
    def build(e, a, b):
        gate = e.call(aten.unsqueeze.default, e.call(aten.unsqueeze.default, e.call(aten.sigmoid.default, b), 2), 3)
        return e.call(aten.mul.Tensor, a, gate)

    module = graph(build, (2, 3, 4, 4), (2, 3), names=("image", "gate"))
    prepared = prepare(module)
    for batch in (2, 5):
        image, gate = draw(batch, 3, 4, 4), draw(batch, 3, seed=1)
        assert torch.equal(prepared(torch.cat([image.flatten(1), gate], 1))[0], module(image, gate)[0])


def test_subtraction_abs_and_mean_go_through():
    """MRT defect 5: broadcast_sub, abs and mean failed in prepare or later."""
    def build(e, x):
        y = e.call(aten.sub.Tensor, x, e.call(aten.abs.default, x))
        return e.call(aten.mean.dim, e.call(aten.rsub.Scalar, y, 1), [1, 2], True)

    module = graph(build, (2, 3, 4))
    assert_same_values(module, prepare(module), draw(2, 3, 4))


def test_a_long_chain_takes_linear_time():
    """MRT defect 13: the original re-inferred all shapes upstream for every node. Here each node is inferred once."""
    def build(e, x):
        for i in range(300):
            x = e.call(aten.add.Tensor, e.call(aten.relu.default, x), e.constant(f"c{i}", draw(3)))
        return x

    module = graph(build, (2, 3))
    calls = []

    class Counting(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            calls.append(function)
            return function(*args, **(kwargs or {}))

    with Counting():
        prepare(module)
    assert len(calls) < 10 * 600  # a few operators a node, of all nine passes together


@pytest.mark.parametrize(("shape", "warned"), [([-1, 6], False), ([3, -1], True)])
def test_a_batch_that_is_not_free_is_said(shape, warned, caplog):
    """Oracle: whether the reshape names the batch of the example, 3."""
    editor = GraphEditor(empty_graph_module())
    editor.output([editor.call(aten.reshape.default, editor.input("data", (3, 2, 3)), shape)])
    editor.module.recompile()
    prepare(editor.module)
    assert any("batch" in message for message in caplog.messages) is warned
