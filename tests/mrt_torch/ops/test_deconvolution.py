"""Deconvolution, against torch's transposed convolution in float64 and in integers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv_transpose2d

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
)

# stride, padding, output padding, groups, dilation
VARIANTS = {
    "stride 1": ([1, 1], [0, 0], [0, 0], 1, [1, 1]),
    "stride 1, dilated": ([1, 1], [2, 1], [0, 0], 2, [2, 3]),
    "stride 2": ([2, 2], [1, 1], [0, 0], 1, [1, 1]),
    "stride 2 by 3, grouped": ([2, 3], [1, 0], [1, 2], 2, [1, 1]),
    "stride beyond the kernel": ([5, 4], [0, 2], [3, 0], 1, [1, 1]),
    "dilated": ([2, 3], [3, 1], [0, 1], 1, [3, 2]),
    "wide padding": ([2, 1], [4, 3], [0, 0], 2, [1, 1]),
    "depthwise": ([2, 2], [1, 1], [1, 1], 4, [1, 1]),
}


def deconvolution(x_shape, weight, bias, *arguments):
    def build(editor, x):
        offset = None if bias is None else editor.constant("bias", bias)
        return editor.call(aten.conv_transpose2d.input, x, editor.constant("weight", weight), offset, *arguments)
    return graph(build, x_shape)


def case(name, has_bias=True, shape=(2, 4, 5, 6), kernel=(4, 3)):
    arguments = VARIANTS[name]
    weight = draw(4, 6 // arguments[3] if arguments[3] != 4 else 2, *kernel, seed=1, magnitude=0.3)
    bias = draw(weight.shape[1] * arguments[3], seed=2) if has_bias else None
    return deconvolution(shape, weight, bias, *arguments), draw(*shape, magnitude=2.0), weight, bias, arguments


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("has_bias", [True, False])
def test_rewritten_into_a_convolution(name, has_bias):
    """Oracle: torch's conv_transpose2d; 1e-12 for the order of sums."""
    module, x, *_ = case(name, has_bias)
    after = rewritten(module)
    assert operators(after)[0] == "conv2d" and set(operators(after)[1:]) <= {"reshape", "permute", "slice"}
    assert_same_values(module, after, x)
    assert_same_values(module, after, x[:1])


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_any_geometry(data):
    """Oracle: torch."""
    pair = lambda low, high: [data.draw(st.integers(low, high)) for _ in range(2)]  # noqa: E731
    kernel, stride, dilation, extents = pair(1, 5), pair(1, 4), pair(1, 3), pair(1, 4)
    extra = [data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation)]
    full = [s * (e - 1) + d * (k - 1) + 1 + o for s, e, d, k, o in zip(stride, extents, dilation, kernel, extra)]
    padding = [data.draw(st.integers(0, (f - 1) // 2)) for f in full]
    groups = data.draw(st.sampled_from([1, 2]))
    weight, x = draw(2, 2, *kernel, seed=1), draw(2, 2, *extents)
    module = deconvolution(x.shape, weight, draw(2 * groups, seed=2), stride, padding, extra, groups, dilation)
    assert_same_values(module, rewritten(module), x)


def test_phases_cost_no_more_than_they_must():
    """A kernel of 4 with stride 2: 4 products an output and input channel, where stuffed zeros would cost 16."""
    module, *_ = case("stride 2", kernel=(4, 4))
    convolution = next(n for n in rewritten(module).graph.nodes if n.target is aten.conv2d.default)
    assert tuple(convolution.args[1].meta["val"].shape) == (6 * 4, 4, 2, 2)
    assert convolution.args[3:6] == ([1, 1], [1, 1], [1, 1])


@pytest.mark.parametrize("name", VARIANTS)
def test_integers_are_exact(name):
    """Oracle: round(w * 127 / threshold) and round(b * s_x * s_w), transposed-convolved in float64.

    At one scale for the tensor: the convolution's channels are phases of the deconvolution's.
    """
    module, x, weight, bias, arguments = case(name)
    model = integer_model(module, x, recipe="original")
    integers = (weight * 127 / weight.abs().max()).round()
    offset = (bias * model.scales[0]).round()
    expected = conv_transpose2d(model.input_integers(x).to(torch.float64), integers, offset, *arguments)
    assert torch.equal(model.integers(x)[0].to(torch.float64), expected)


@both_recipes
@pytest.mark.parametrize("name", VARIANTS)
def test_against_float(name, recipe):
    """Bound: each weight is off by half a unit of the largest at most, so each output by that times the sum of abs(x);
    the bias by half a unit of the products; and what one scale of 16 bits loses, with phases whose integers are up to
    5 times larger than others.
    """
    module, x, weight, bias, arguments = case(name)
    model = integer_model(module, x, recipe=recipe)
    seen, unit = model.seen(x), float(weight.abs().max()) / 127
    bound = conv_transpose2d(seen.abs(), torch.ones_like(weight), None, *arguments) * unit / 2 \
        + 0.5 * unit / model.input_scale + 5 * model.output_error
    assert_within(model(x), conv_transpose2d(seen, weight, bias, *arguments), bound)


def test_another_batch():
    module, x, *_ = case("stride 2")
    model = integer_model(module, x)
    assert torch.equal(model(x[:1]), model(x)[:1])


def normalized(editor, x, groups=1, reader=False):
    weight = editor.constant("w", draw(4, 6 // groups, 3, 3, seed=1))
    up = editor.call(aten.conv_transpose2d.input, x, weight, editor.constant("b", draw(6, seed=2)), [2, 2], [1, 1],
                     [1, 1], groups, [1, 1])
    moments = [editor.constant(name, draw(6, seed=seed).abs() + 0.5) for seed, name in enumerate("gbmv", start=3)]
    result = editor.call(aten.batch_norm.default, up, *moments, False, 0.1, 1e-5, False)
    return [result, up] if reader else result


@pytest.mark.parametrize("groups", [1, 2])
def test_a_normalization_folds_into_it(groups):
    """One convolution does both. Oracle: the graph before; 1e-12 for the order of products."""
    module, x = graph(lambda e, x: normalized(e, x, groups), (2, 4, 5, 6)), draw(2, 4, 5, 6)
    after = rewritten(module)
    assert operators(after) == ["conv2d", "reshape", "permute", "reshape", "slice", "slice"]
    assert_same_values(module, after, x)


def test_a_normalization_folds_into_a_row():
    """A 1-D deconvolution is a 2-D one with its row squeezed away. Oracle: the graph before."""
    def build(editor, x):
        row = editor.call(aten.unsqueeze.default, x, 2)
        up = editor.call(aten.conv_transpose2d.input, row, editor.constant("w", draw(4, 6, 1, 3, seed=1)), None, [1, 2])
        moments = [editor.constant(name, draw(6, seed=seed).abs() + 0.5) for seed, name in enumerate("gbmv", start=3)]
        return editor.call(aten.batch_norm.default, editor.call(aten.squeeze.dims, up, [2]), *moments, False, 0.1, 1e-5,
                           False)

    module, x = graph(build, (2, 4, 5)), draw(2, 4, 5)
    assert not {"mul", "add", "batch_norm"} & set(operators(rewritten(module)))
    assert_same_values(module, rewritten(module), x)


def test_a_normalization_beside_another_reader_stays():
    module, x = graph(lambda e, x: normalized(e, x, reader=True), (2, 4, 5, 6)), draw(2, 4, 5, 6)
    after = rewritten(module)
    assert operators(after)[-2:] == ["mul", "add"]
    assert_same_values(module, after, x)


def test_refusals():
    def computed_weight(editor, x):
        return editor.call(aten.conv_transpose2d.input, x, editor.call(aten.relu.default, x), None)

    def no_batch(editor, x):
        return editor.call(aten.conv_transpose2d.input, x, editor.constant("w", draw(2, 2, 1, 1)), None)

    for build, shape, reason in ((computed_weight, (2, 2, 3, 3), "the weight is computed"),
                                 (no_batch, (2, 3, 3), "the input has 3 axes, expected 4")):
        with pytest.raises(UnsupportedOperatorError, match=reason):
            prepare(graph(build, shape))


def test_operations():
    """One product and one sum for each input element, filter and tap, and one sum for a bias: the scatter's count."""
    module, *_ = case("stride 2")
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == 2 * (2 * 4 * 5 * 6) * (6 * 12) + 2 * 6 * 10 * 11
