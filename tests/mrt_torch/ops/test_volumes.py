"""Operators on volumes, against torch's own in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv3d

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_within,
    aten,
    both_recipes,
    draw,
    graph,
    integer_model,
    operators,
    rewritten,
    unary,
    weight_scales,
)

X = draw(2, 4, 5, 6, 7)
CONVOLUTIONS = {  # kernel, stride, padding, dilation, groups
    "plain": ((2, 3, 2), [1, 1, 1], [0, 0, 0], [1, 1, 1], 1),
    "everything": ((3, 2, 3), [2, 1, 2], [1, 0, 2], [1, 2, 1], 2),
    "one frame": ((1, 3, 3), [1, 2, 2], [0, 1, 1], [1, 1, 1], 1),
    "depthwise": ((3, 1, 1), [1, 1, 1], [2, 0, 0], [2, 1, 1], 4),
}
POOLINGS = [  # kernel, stride, padding
    ([2, 2, 2], [], [0, 0, 0]), ([3, 2, 3], [2, 1, 2], [1, 0, 1]), ([2], [2], [1]), ([5, 6, 7], [1, 1, 1], [0, 0, 0])]


def convolution(name, has_bias=True):
    kernel, *arguments = CONVOLUTIONS[name]
    weight = draw(8, 4 // arguments[-1], *kernel, seed=1, magnitude=0.3)
    bias = draw(8, seed=2) if has_bias else None

    def build(editor, x):
        offset = None if bias is None else editor.constant("b", bias)
        return editor.call(aten.conv3d.default, x, editor.constant("w", weight), offset, *arguments)
    return graph(build, X.shape), weight, bias, arguments


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("has_bias", [True, False])
def test_one_convolution_of_images(name, has_bias):
    """Oracle: torch's conv3d; 1e-12 for the order of sums."""
    module, *_ = convolution(name, has_bias)
    after = prepare(module)
    assert operators(after).count("conv2d") == 1 and "conv3d" not in operators(after)
    assert_same_values(module, after, X)
    assert_same_values(module, after, X[:1])


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_integers_are_exact(name):
    """Oracle: round(w * 127 / threshold) and round(b * s_x * s_w), convolved in float64."""
    module, weight, bias, arguments = convolution(name)
    model = integer_model(module, X, recipe="original")
    integers = (weight * 127 / weight.abs().max()).round()
    expected = conv3d(model.input_integers(X).double(), integers, (bias * model.scales[0]).round(), *arguments)
    assert torch.equal(model.integers(X)[0].double(), expected)


@both_recipes
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_against_float(name, recipe):
    """Oracle: torch's conv3d of the quantized input.

    Bound: half a unit of each weight of the channel, times abs(x); half a unit of the products for the bias; and what
    one scale of 16 bits loses, with integers of some channels up to twice those of others.
    """
    module, weight, bias, arguments = convolution(name)
    model, scales = integer_model(module, X, recipe=recipe), weight_scales(weight, recipe).reshape(-1, 1, 1, 1)
    seen = model.seen(X)
    bound = conv3d(seen.abs(), torch.ones_like(weight), None, *arguments) / (2 * scales) \
        + 0.5 / (scales * model.input_scale) + 2 * model.output_error
    assert_within(model(X), conv3d(seen, weight, bias, *arguments), bound)


def test_a_normalization_folds_into_it():
    """One convolution does both. Oracle: the graph before; 1e-12 for the order of products."""
    def build(editor, x):
        result = editor.call(aten.conv3d.default, x, editor.constant("w", draw(6, 2, 2, 2, 2, seed=1)), None, [1, 1, 1],
                             [1, 0, 0], [1, 1, 1], 2)
        moments = [editor.constant(name, draw(6, seed=seed).abs() + 0.5) for seed, name in enumerate("gbmv", start=3)]
        return editor.call(aten.batch_norm.default, result, *moments, False, 0.1, 1e-5, False)

    module = graph(build, X.shape)
    assert not {"mul", "add"} & set(operators(rewritten(module)))
    assert_same_values(module, rewritten(module), X)


@pytest.mark.parametrize("geometry", POOLINGS)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_maximum(geometry, ceil_mode):
    """Axis by axis. Oracle: torch, in float and on the quantized input."""
    module = unary(aten.max_pool3d.default, *geometry, [1, 1, 1], ceil_mode, shape=X.shape)
    assert_same_values(module, rewritten(module), X, tolerance=0)
    model = integer_model(module, X)
    assert torch.equal(model(X), aten.max_pool3d.default(model.seen(X), *geometry, [1, 1, 1], ceil_mode))


def test_dilated_maximum():
    arguments = ([2, 3, 2], [1, 2, 1], [0, 1, 0], [3, 1, 2])
    model = integer_model(unary(aten.max_pool3d.default, *arguments, shape=X.shape), X)
    assert torch.equal(model(X), aten.max_pool3d.default(model.seen(X), *arguments))


@pytest.mark.parametrize("geometry", POOLINGS)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("divisor", [None, 5])
def test_average(geometry, ceil_mode, count_include_pad, divisor):
    """Oracle: torch; 1e-12 for the order of sums."""
    module = unary(aten.avg_pool3d.default, *geometry, ceil_mode, count_include_pad, divisor, shape=X.shape)
    assert not {"avg_pool3d", "avg_pool2d"} & set(operators(rewritten(module)))
    assert_same_values(module, rewritten(module), X)


def test_quantized_average():
    """Oracle: torch on the quantized input, whose second pooling takes 8 bits: half a unit, and 2**-9 of one."""
    model = integer_model(unary(aten.avg_pool3d.default, [2, 2, 2], shape=X.shape), X)
    assert_within(model(X), aten.avg_pool3d.default(model.seen(X), [2, 2, 2]), 0.51 / 127)


def test_refusals():
    def computed_weight(editor, x):
        return editor.call(aten.conv3d.default, x, editor.call(aten.relu.default, x), None)

    with pytest.raises(UnsupportedOperatorError, match="the weight is computed"):
        prepare(graph(computed_weight, (2, 2, 3, 3, 3)))
    with pytest.raises(UnsupportedOperatorError, match=r"the input has 4 axes, expected 5 \(N, C, D, H, W\)"):
        prepare(unary(aten.max_pool3d.default, [2, 2, 2], shape=(3, 4, 4, 4)))


def test_operations():
    """As for images: out * (2 * prod(W[1:]) + bias), and out * elements of the kernel."""
    node = next(n for n in convolution("plain")[0].graph.nodes if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == 2 * 8 * 4 * 4 * 6 * (2 * 4 * 12 + 1)
    module = unary(aten.max_pool3d.default, [2, 2, 2], shape=X.shape)
    assert apply_pass("calculate_ops", next(n for n in module.graph.nodes if n.op == "call_function")) == 2 * 4 * 18 * 8
