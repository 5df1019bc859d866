"""The bias of convolutions and dense layers as an addition. Oracle: the graph before."""

from __future__ import annotations

import pytest

from mrt_torch.graph.editor import output_nodes, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.passes import sym_separate_bias
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, operators
from tests.mrt_torch.small_models import images, prepared


def convolution(bias: bool = True, groups: int = 1):
    def build(editor, x):
        weight = editor.constant("weight", draw(4, 4 // groups, 3, 3, seed=1))
        return editor.call(aten.conv2d.default, x, weight, editor.constant("bias", draw(4, seed=2)) if bias else None,
                           [2, 1], [1, 0], [1, 1], groups, name="layer/conv")
    return graph(build, (2, 4, 7, 6))


def dense(*shape: int, bias: bool = True):
    def build(editor, x):
        weight = editor.constant("weight", draw(3, shape[-1], seed=1))
        return editor.call(aten.linear.default, x, weight, *([editor.constant("bias", draw(3, seed=2))] * bias),
                           name="fc")
    return graph(build, shape)


@pytest.mark.parametrize("module, inputs, shape", [
    (convolution(), (2, 4, 7, 6), (1, 4, 1, 1)), (convolution(groups=2), (3, 4, 7, 6), (1, 4, 1, 1)),
    (dense(2, 5), (4, 5), (1, 3)), (dense(2, 6, 5), (1, 6, 5), (1, 1, 3))])
def test_the_bias_is_added_along_the_channels(module, inputs, shape):
    """mrt-core: (1, C, 1, 1) after a convolution, (1, C) after a dense layer."""
    separated, params = sym_separate_bias(module, {})
    assert operators(separated) == [operators(module)[0], "add"]
    assert_same_values(module, separated, draw(*inputs))
    assert tuple(params["bias"].shape) == shape
    assert params["bias"].flatten().equal(draw(max(shape), seed=2))


def test_names_survive():
    separated, _ = sym_separate_bias(convolution(), {})
    bare, total = [node for node in separated.graph.nodes if node.op == "call_function"]
    assert output_nodes(separated.graph) == [total]
    assert (total.name, source_name(total), source_name(bare)) == ("layer_conv", "layer/conv", "layer/conv")
    assert (len(bare.args), bare.args[2]) == (7, None)


@pytest.mark.parametrize("module", [convolution(bias=False), dense(2, 5, bias=False),
                                    graph(lambda e, x: e.call(aten.add.Scalar, x, 1.0), (2, 3))])
def test_near_misses(module):
    """No bias, and a number added by another operator."""
    separated, _ = sym_separate_bias(module, {})
    assert operators(separated) == operators(module)


def test_a_bias_that_two_layers_share():
    def build(editor, x):
        bias = editor.constant("bias", draw(4, seed=3))
        for seed in (1, 2):
            weight = editor.constant(f"weight{seed}", draw(4, 4, 1, 1, seed=seed))
            x = editor.call(aten.conv2d.default, x, weight, bias, [1, 1], [0, 0], [1, 1], 1)
        return x

    module = graph(build, (1, 4, 2, 2))
    separated, params = sym_separate_bias(module, None)
    assert_same_values(module, separated, draw(1, 4, 2, 2))
    assert [tuple(t.shape) for t in params.values()].count((1, 4, 1, 1)) == 2


def test_a_model_stays_equal_and_can_be_quantized():
    """Tolerance: float32 sums in another order. Oracle of the integers: the float model, within 3 % of its range."""
    model = prepared()
    separated, _ = sym_separate_bias(model, {})
    assert separated(images()).sub(model(images())).abs().max() < 1e-6
    assert all(shape_of(node) for node in separated.module.graph.nodes if node.op == "call_function")
    mrt = separated.get_mrt()
    mrt.set_data(images(8, seed=1))
    mrt.calibrate()
    quantized, x = mrt.quantize(), images(8, seed=1)
    assert (quantized(x) - model(x)).abs().max() < 0.03 * model(x).abs().max()
