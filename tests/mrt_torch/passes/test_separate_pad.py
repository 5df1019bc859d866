"""The padding of convolutions as an operator. Oracle: the graph before; the result has the same bits."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.graph.facts import source_name
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.passes import rewrite, sym_separate_pad
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, operators
from tests.mrt_torch.small_models import images, prepared


def convolution(padding, stride=(1, 1), groups=1, dilation=(1, 1)):
    def build(editor, x):
        weight = editor.constant("weight", draw(4, 4 // groups, 3, 2, seed=1))
        return editor.call(aten.conv2d.default, x, weight, editor.constant("bias", draw(4, seed=2)), list(stride),
                           list(padding), list(dilation), groups, name="layer/conv")
    return graph(build, (2, 4, 7, 6))


@pytest.mark.parametrize("padding, stride, groups, dilation", [
    ((1, 1), (1, 1), 1, (1, 1)), ((2, 0), (2, 1), 2, (1, 2)), ((0, 3), (1, 3), 4, (2, 1)), ((5, 4), (3, 2), 1, (2, 2))])
def test_rows_and_columns_are_padded_by_their_own_amounts(padding, stride, groups, dilation):
    module = convolution(padding, stride, groups, dilation)
    separated, params = sym_separate_pad(module, {})
    assert operators(separated) == ["constant_pad_nd", "conv2d"]
    assert_same_values(module, separated, draw(2, 4, 7, 6), tolerance=1e-15)
    pad, conv = [node for node in separated.graph.nodes if node.op == "call_function"]
    assert (source_name(pad), source_name(conv)) == ("layer/conv_pad", "layer/conv")
    assert (pad.name, conv.name) == ("layer_conv_pad", "layer_conv")
    assert {name: tensor.shape for name, tensor in params.items()} == {"weight": (4, 4 // groups, 3, 2), "bias": (4,)}


def test_the_graph_that_is_given_stays_as_it_is():
    module = convolution((1, 1))
    sym_separate_pad(module, None)
    assert operators(module) == ["conv2d"]


def test_a_convolution_without_padding_stays(pads=(0, 0)):
    """Near miss; so is pooling, which has its own padding."""
    separated, _ = sym_separate_pad(convolution(pads), None)
    assert operators(separated) == ["conv2d"]
    pooled = graph(lambda e, x: e.call(aten.max_pool2d.default, x, [2, 2], [2, 2], [1, 1], [1, 1], False), (1, 2, 4, 4))
    assert operators(sym_separate_pad(pooled, None)[0]) == ["max_pool2d"]


def test_rewrite_takes_it_back():
    """Which is why it runs after prepare."""
    separated, _ = sym_separate_pad(convolution((1, 2)), None)
    again = run_pass(separated, rewrite, Stage.FLOAT).module
    assert operators(again) == ["conv2d"]
    assert_same_values(convolution((1, 2)), again, draw(2, 4, 7, 6), tolerance=1e-15)


def test_of_a_model_comes_a_model():
    model = prepared()
    separated, params = sym_separate_pad(model, {})
    assert type(separated) is type(model) and separated.prepared
    assert torch.equal(separated(images()), model(images()))
    assert params.keys() == {"conv0_weight", "conv0_bias", "conv1_weight", "dense_weight", "dense_bias"}
