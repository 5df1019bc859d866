"""Convolutions and dense layers as sums over slices of channels. Oracle: the operator itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.runner import finish
from mrt_torch.graph.stage import Stage
from mrt_torch.ops import Convolution, Transformer, apply_pass, register_pass
from mrt_torch.passes.names import claim_name
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, operators, unary


def info(step: int, ichannel: int = 1) -> dict:
    return {"gn_type": "channel-wise", "ichannel": ichannel, "step": step}


def convolution(channels: int, outputs: int, groups: int, bias: bool, **options):
    shape = (outputs, channels // groups, *options.get("kernel", (3, 3)))

    def build(editor, x):
        offset = editor.constant("bias", draw(outputs, seed=2)) if bias else None
        return editor.call(aten.conv2d.default, x, editor.constant("weight", draw(*shape, seed=1)), offset,
                           options.get("stride", [1, 1]), options.get("padding", [0, 0]),
                           options.get("dilation", [1, 1]), groups, name="layer/conv")
    return graph(build, (2, channels, 9, 8))


def sliced(module, step: int, ichannel: int = 1):
    """A graph of one operator, sliced in place."""
    node = next(node for node in module.graph.nodes if node.op == "call_function")
    name, editor = node.name, GraphEditor(module)
    with editor.before(node):
        replacement = apply_pass("slice_channel", node, editor=editor, gn_info=info(step, ichannel))
    editor.replace(node, replacement)
    claim_name(replacement, name)
    finish(module, Stage.FLOAT)
    return module


@settings(deadline=None, max_examples=40)
@given(groups=st.integers(1, 4), in_group=st.sampled_from([1, 2, 4, 6]), out_group=st.integers(1, 3),
       step=st.sampled_from([1, 2, 3]), bias=st.booleans(), kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
       stride=st.lists(st.integers(1, 3), min_size=2, max_size=2),
       padding=st.lists(st.integers(0, 2), min_size=2, max_size=2),
       dilation=st.lists(st.integers(1, 2), min_size=2, max_size=2))
def test_any_convolution_equals_its_slices(groups, in_group, out_group, step, bias, **options):
    channels = groups * in_group
    make = lambda: convolution(channels, groups * out_group, groups, bias, **options)  # noqa: E731
    if in_group % step or channels // step < 2:
        with pytest.raises(InvalidArgumentError):
            sliced(make(), step)
        return
    result = sliced(make(), step)
    assert operators(result).count("conv2d") == channels // step
    assert operators(result).count("add") == channels // step - groups
    assert operators(result).count("cat") == int(groups > 1)
    assert_same_values(make(), result, draw(2, channels, 9, 8, seed=5))


def test_the_bias_is_added_once():
    """A third of a bias in each of three slices would give the same on one input only; here X is zero."""
    result = sliced(convolution(6, 2, 1, True), 2)
    assert_same_values(convolution(6, 2, 1, True), result, torch.zeros(2, 6, 9, 8, dtype=torch.float64))
    biased = [node for node in result.graph.nodes if node.target is aten.conv2d.default and node.args[2] is not None]
    assert len(biased) == 1


@pytest.mark.parametrize("step", [1, 2, 5])
@pytest.mark.parametrize("bias", [False, True])
def test_dense_layers(step, bias):
    def make():
        return graph(lambda e, x: e.call(aten.linear.default, x, e.constant("weight", draw(3, 10, seed=1)),
                                         *([e.constant("bias", draw(3, seed=2))] * bias)), (4, 10))
    result = sliced(make(), step)
    assert operators(result).count("linear") == 10 // step
    assert_same_values(make(), result, draw(4, 10))


def test_a_chain_would_be_deeper():
    """8 slices are added in 3 levels."""
    result = sliced(convolution(8, 2, 1, False), 1)
    depth = {}
    for node in result.graph.nodes:
        inputs = max((depth.get(source, 0) for source in node.all_input_nodes), default=0)
        depth[node] = inputs + int(node.target is aten.add.Tensor)
    assert max(depth.values()) == 3


@pytest.mark.parametrize("groups, step, ichannel, message", [
    (1, 4, 1, r"the step divides the input channels\n(.|\n)*saw step 4 for 6 channels\n(.|\n)*\[1, 2, 3, 6\]"),
    (1, 6, 1, "needs two slices at least\n(.|\n)*step 6 makes one slice of 6 channels"),
    (1, 7, 1, "the step divides the input channels"),
    (3, 4, 1, r"the input channels of a group\n(.|\n)*saw step 4 for 2 channels\n(.|\n)*\[1, 2\]"),
    (1, 2, 0, "sliced along axis 1\n(.|\n)*saw ichannel 0"),
])
def test_what_is_refused(groups, step, ichannel, message):
    with pytest.raises(InvalidArgumentError, match=message) as error:
        sliced(convolution(6, 3, groups, True), step, ichannel)
    assert "layer/conv" in error.value.where


def test_other_operators_stay_by_default():
    """Document 000: do nothing by default. No class has to name the pass."""
    module = unary(aten.relu.default)
    node = next(node for node in module.graph.nodes if node.op == "call_function")
    assert apply_pass("slice_channel", node) is node
    bare = register_pass("slice_channel")(type("Bare", (Transformer,), {}))()
    assert bare.has_pass("slice_channel") and not bare.overrides("slice_channel")
    assert Convolution().overrides("slice_channel")
