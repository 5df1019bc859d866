"""Convolution: its integers against float64 convolutions of integers, which are exact below 2**53."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import tensor_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops import apply_pass
from mrt_torch.ops.convolution import convolution_arguments
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import (
    assert_untouched,
    assert_within,
    aten,
    both_recipes,
    by_channel,
    draw,
    graph,
    integer_model,
    operators,
    relative_error,
    weight_scales,
)

# input shape, weight shape, bias, stride, padding, dilation, groups
VARIANTS = [
    ((2, 3, 8, 8), (5, 3, 3, 3), True, [1, 1], [1, 1], [1, 1], 1),
    ((2, 3, 8, 8), (5, 3, 3, 3), False, [2, 1], [0, 2], [1, 1], 1),
    ((1, 4, 7, 9), (6, 2, 3, 2), True, [2, 2], [1, 0], [1, 2], 2),
    ((3, 4, 6, 6), (8, 1, 3, 3), True, [1, 1], [2, 2], [2, 2], 4),
    ((2, 4, 5, 5), (4, 4, 1, 1), False, [1, 1], [0, 0], [1, 1], 1),
    ((2, 2, 5, 1), (3, 2, 5, 1), True, [1, 1], [0, 0], [1, 1], 1),
]


def convolution(x_shape, weight, bias, *arguments):
    def build(editor, x):
        offset = None if bias is None else editor.constant("bias", bias)
        return editor.call(aten.conv2d.default, x, editor.constant("weight", weight), offset, *arguments)
    return graph(build, x_shape)


def case(x_shape, weight_shape, has_bias, *arguments):
    weight, bias = draw(*weight_shape, seed=1, magnitude=0.3), draw(weight_shape[0], seed=2) if has_bias else None
    return convolution(x_shape, weight, bias, *arguments), draw(*x_shape, magnitude=2.0), weight, bias, arguments


@both_recipes
@pytest.mark.parametrize("variant", VARIANTS)
def test_against_float(variant, recipe):
    """Oracle: torch's conv2d of the quantized input.

    Bound: each weight is off by half a unit of its channel, so each output by that times the sum of abs(x); the bias
    by half a unit of the products; and what one scale of 16 bits loses.
    """
    module, x, weight, bias, arguments = case(*variant)
    model = integer_model(module, x, recipe=recipe)
    seen, scales = model.seen(x), weight_scales(weight, recipe)
    bound = conv2d(seen.abs(), torch.ones_like(weight), None, *arguments) / by_channel(2 * scales) \
        + 0.5 / by_channel(scales * model.input_scale) + model.output_error
    assert_within(model(x), conv2d(seen, weight, bias, *arguments), bound)


@both_recipes
@pytest.mark.parametrize("variant", VARIANTS)
def test_integers_are_exact(variant, recipe):
    """Oracle: round(w * s_w) and round(b * s_x * s_w), convolved in float64."""
    module, x, weight, bias, arguments = case(*variant)
    model, scales = integer_model(module, x, recipe=recipe), weight_scales(weight, recipe)
    integers = (weight * scales.reshape(-1, 1, 1, 1)).round()
    offset = None if bias is None else (bias * model.input_scale * scales).round()
    expected = conv2d(model.input_integers(x).to(torch.float64), integers, offset, *arguments)
    assert torch.equal(model.values(x)["conv2d_default"].to(torch.float64), expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_another_batch(variant):
    module, x, weight, bias, arguments = case(*variant)
    model, one = integer_model(module, x), x[:1]
    assert torch.equal(model(one), model(x)[:1])


@both_recipes
def test_wide_input_is_brought_to_8_bits(recipe):
    """Bound: the input is rounded to 8 bits after a shift that keeps 8 more, half a unit and 2**-9 of one; and what
    one scale of 16 bits loses.
    """
    module, x, weight, bias, arguments = case(*VARIANTS[0])
    model, scales = integer_model(module, x, recipe=recipe, input_precision=16), weight_scales(weight, recipe)
    integers = next(node for node in model.module.graph.nodes if node.name == "conv2d_default").args[0]
    assert facts_of(integers).precision == 8
    assert int(model.values(x)[integers.name].abs().max()) == 127
    input_unit, ones = 2.0 / 127 * (1 + 2 ** -11), torch.ones_like(weight)
    bound = conv2d(torch.full_like(x, 0.51 * input_unit), weight.abs(), None, *arguments) \
        + conv2d(x.abs() + input_unit, ones, None, *arguments) / by_channel(2 * scales) \
        + input_unit / by_channel(2 * scales) + model.output_error
    assert_within(model(x), conv2d(model.seen(x), weight, bias, *arguments), bound)


def test_accumulators_above_2_to_the_24_are_exact():
    """MRT defect 7: a float32 simulation is off there. Oracle: K * 127 * 127 in Python integers."""
    channels = 2047
    x, weight = torch.ones(1, channels, 1, 1, dtype=torch.float64), torch.ones(1, channels, 1, 1, dtype=torch.float64)
    weight[0, 0] = 1 / 127  # an odd sum, which float32 cannot hold
    model = integer_model(convolution(x.shape, weight, None), x)
    assert model.integers(x)[0].item() == (channels - 1) * 127 * 127 + 127
    assert model.integers(-x)[0].item() == -((channels - 1) * 127 * 127 + 127)


BIAS = torch.tensor([0.9, -0.001, 0.3, 0.0], dtype=torch.float64)


@both_recipes
@pytest.mark.parametrize("magnitude", [0.0, 1e-30, 1e-12, 1e-6])
def test_weights_next_to_zero_keep_the_bias(magnitude, recipe):
    """The bias decides the scale. Bound: half a unit of the 16 bits that hold it, what the weights contribute, and
    what one scale of 16 bits loses.
    """
    x, weight = draw(2, 3, 5, 5), draw(4, 3, 3, 3, seed=1) * magnitude
    model = integer_model(convolution(x.shape, weight, BIAS, [1, 1], [1, 1]), x, recipe=recipe)
    assert_within(model(x), BIAS.reshape(1, 4, 1, 1).expand(2, 4, 5, 5),
                  0.9 * 2 ** -16 + 27 * magnitude + model.output_error)


@both_recipes
@pytest.mark.parametrize("precision", [8, 16])
def test_zero_input_keeps_the_bias(precision, recipe):
    """Calibration saw zeros only. Bound: half a unit of 16 bits, and what one scale of 16 bits loses."""
    x = torch.zeros(2, 3, 5, 5, dtype=torch.float64)
    module = convolution(x.shape, draw(4, 3, 3, 3, seed=1), BIAS)
    model = integer_model(module, x, recipe=recipe, input_precision=precision)
    assert_within(model(x), BIAS.reshape(1, 4, 1, 1).expand(2, 4, 3, 3), 0.9 * 2 ** -16 + model.output_error)


def test_zero_weights_without_bias():
    x = draw(2, 3, 5, 5)
    model = integer_model(convolution(x.shape, torch.zeros(4, 3, 3, 3, dtype=torch.float64), None), x)
    assert not model.integers(x)[0].any()


def test_all_zero():
    x = torch.zeros(2, 3, 5, 5, dtype=torch.float64)
    zeros = torch.zeros(4, 3, 3, 3, dtype=torch.float64)
    model = integer_model(convolution(x.shape, zeros, torch.zeros(4, dtype=torch.float64)), x)
    assert not model.integers(x)[0].any()


@pytest.mark.parametrize("channels, has_bias, parts", [(32767, True, 1), (32768, True, 1), (65535, False, 1),
                                                       (65536, False, 2), (66500, True, 2)])
def test_long_reductions_are_cut(channels, has_bias, parts):
    """MRT defect 10: 8 + 8 + bit_length(K) bits, and one for a bias, are 32 at most. Oracle: K * 127 * 127 + bias."""
    x = torch.full((1, channels, 1, 1), 0.5, dtype=torch.float64)
    weight = torch.ones(1, channels, 1, 1, dtype=torch.float64)
    bias = torch.ones(1, dtype=torch.float64) if has_bias else None
    model = integer_model(convolution(x.shape, weight, bias), x)
    assert operators(model.module).count("conv2d") == parts
    assert model.integers(x)[0].item() == channels * 127 * 127 + 254 * 127 * has_bias


@both_recipes
@pytest.mark.parametrize("groups", [1, 2])
def test_parts_of_a_long_reduction_add_up(groups, recipe):
    """With a kernel, stride, padding and groups. Oracle: the same integers convolved in float64, exact below 2**53."""
    channels = 7400 * groups
    weight, bias = draw(2 * groups, 7400, 3, 3, seed=1), draw(2 * groups, seed=2)
    arguments, x = ([2, 1], [1, 1], [1, 1], groups), draw(2, channels, 4, 3)
    model = integer_model(convolution(x.shape, weight, bias, *arguments), x, recipe=recipe)
    assert operators(model.module).count("conv2d") == 2
    scales = weight_scales(weight, recipe)
    integers, offset = (weight * scales.reshape(-1, 1, 1, 1)).round(), (bias * model.input_scale * scales).round()
    expected = conv2d(model.input_integers(x).to(torch.float64), integers, offset, *arguments)
    assert torch.equal(model.values(x)["conv2d_default"].to(torch.float64), expected)


@pytest.mark.parametrize("channels", [70000, 140000, 300000])
def test_sums_beyond_31_bits_take_coarser_weights(channels):
    """MRT defect 10. Oracle: float; the weights, all alike, are off by half a unit of at least 4 bits and a sign."""
    x = torch.full((1, channels, 1, 1), 0.5, dtype=torch.float64)
    weight, bias = torch.ones(1, channels, 1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    model = integer_model(convolution(x.shape, weight, bias), x)
    assert model.integers(x)[0].item() < 2 ** 30
    assert model(x).item() == pytest.approx(channels / 2 + 1, rel=0.5 / 15)


@both_recipes
def test_one_weight_for_two_convolutions(recipe):
    """Tied weights: both read one tensor, each at its own input's scale. Oracle: float64; the first within
    the bound above, the second, whose input is rounded to 8 bits as well, within 3 % in the norm."""
    weight = draw(3, 3, 3, 3, seed=1, magnitude=0.1)

    def build(editor, x):
        w = editor.constant("weight", weight)
        first = editor.call(aten.conv2d.default, x, w, None, [1, 1], [1, 1])
        return first, editor.call(aten.conv2d.default, first, w, None, [1, 1], [1, 1])

    x = draw(2, 3, 6, 6)
    model = integer_model(graph(build, x.shape), x, recipe=recipe)
    outputs = [o.double() / s for o, s in zip(model.integers(x), model.scales, strict=True)]
    first = conv2d(model.seen(x), weight, padding=1)
    assert_within(outputs[0], first, 27 * 0.1 / 127 / 2 + model.output_error)
    assert relative_error(outputs[1], conv2d(first, weight, padding=1)) < 0.03
    assert tensor_of(model.module, next(n for n in model.module.graph.nodes if n.op == "get_attr")).abs().max() == 127


def test_rewrite_does_not_touch_it():
    assert_untouched(case(*VARIANTS[0])[0], case(*VARIANTS[0])[1])


def test_refusals():
    def computed_weight(editor, x):
        return editor.call(aten.conv2d.default, x, editor.call(aten.relu.default, x), None)

    def computed_bias(editor, x):
        weight = editor.constant("w", draw(2, 2, 1, 1))
        bias = editor.call(aten.reshape.default, editor.call(aten.mean.dim, x, [0, 2, 3], False), [2])
        return editor.call(aten.conv2d.default, x, weight, bias)

    def no_batch(editor, x):
        return editor.call(aten.conv2d.default, x, editor.constant("w", draw(2, 2, 1, 1)), None)

    def large_kernel(editor, x):
        return editor.call(aten.conv2d.default, x, editor.constant("w", draw(1, 1, 257, 256)), None)

    for build, shape, reason in ((large_kernel, (1, 1, 260, 256), "its kernel has 65792 elements"),
                                 (computed_weight, (2, 2, 3, 3), "the weight is computed"),
                                 (computed_bias, (2, 2, 3, 3), "the bias is computed"),
                                 (no_batch, (2, 3, 3), "the input has 3 axes, expected 4")):
        with pytest.raises(UnsupportedOperatorError, match=reason):
            prepare(graph(build, shape))


@pytest.mark.parametrize("variant, expected", [(0, 2 * 5 * 64 * 55), (1, 2 * 5 * 3 * 10 * 54), (3, 3 * 8 * 36 * 19)])
def test_operations(variant, expected):
    """mrt-core 8: out * (2 * prod(W[1:]) + bias); variant 1 has outputs of 3 by 10."""
    module = case(*VARIANTS[variant])[0]
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == expected


def test_arguments_default_as_in_torch():
    module = convolution((2, 3, 8, 8), draw(5, 3, 3, 3), None)
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    assert convolution_arguments(node)[2:] == (None, [1, 1], [0, 0], [1, 1], 1)
    module = convolution((2, 3, 8, 8), draw(5, 3, 3, 3), None, [2], [1])
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    assert convolution_arguments(node)[3:] == ([2, 2], [1, 1], [1, 1], 1)
