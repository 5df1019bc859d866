"""FullyConnected against float64 products, exact on integers below 2**53."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import apply_pass
from mrt_torch.ops.convolution import quantize_weight_and_bias
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_untouched,
    assert_within,
    aten,
    both_recipes,
    draw,
    graph,
    integer_model,
    operators,
    rewritten,
    weight_scales,
)


def fully_connected(shape, weight, bias=None):
    def build(editor, x):
        offset = () if bias is None else (editor.constant("bias", bias),)
        return editor.call(aten.linear.default, x, editor.constant("weight", weight), *offset)
    return graph(build, shape)


@pytest.mark.parametrize("shape", [(2, 6), (1, 6), (2, 3, 6), (2, 1, 6), (2, 3, 4, 6)])
@pytest.mark.parametrize("has_bias", [True, False])
@both_recipes
def test_against_float(shape, has_bias, recipe):
    """Oracle: torch's linear of the quantized input.

    Bound: half a unit of each weight of the column, and of the bias; and what one scale of 16 bits loses.
    """
    weight, bias, x = draw(5, 6, seed=1, magnitude=0.2), draw(5, seed=2) if has_bias else None, draw(*shape)
    model, scales = integer_model(fully_connected(shape, weight, bias), x, recipe=recipe), weight_scales(weight, recipe)
    seen = model.seen(x)
    bound = seen.abs().sum(-1, keepdim=True) / (2 * scales) + 0.5 / (scales * model.input_scale) + model.output_error
    assert_within(model(x), torch.nn.functional.linear(seen, weight, bias), bound)


@pytest.mark.parametrize("shape", [(2, 3, 6), (2, 3, 4, 6), (2, 1, 1, 6)])
def test_rewrite_makes_the_input_two_dimensional(shape):
    """mrt-core 8: reshape to 2-D, product, reshape back. Oracle: the same products, 1e-12 for their order."""
    module, x = fully_connected(shape, draw(5, 6), draw(5)), draw(*shape)
    after = rewritten(module)
    assert operators(after) == ["reshape", "linear", "reshape"]
    assert_same_values(module, after, x)
    assert_same_values(module, after, draw(5, *shape[1:]))


def test_rewrite_leaves_two_dimensions():
    assert_untouched(fully_connected((2, 6), draw(5, 6), draw(5)), draw(2, 6))


@pytest.mark.parametrize("length, parts", [(32767, 1), (32768, 2), (70001, 3)])
@pytest.mark.parametrize("has_bias", [True, False])
@both_recipes
def test_a_long_reduction_is_cut_and_exact(length, parts, has_bias, recipe):
    """Oracle: the products of the integers in float64, exact below 2**53."""
    weight, bias, x = draw(3, length, seed=1), draw(3, seed=2) * 100 if has_bias else None, draw(2, length)
    model = integer_model(fully_connected((2, length), weight, bias), x, recipe=recipe)
    assert operators(model.module).count("dense") == parts
    scales = weight_scales(weight, recipe)
    offset = 0 if bias is None else (bias * model.input_scale * scales).round()
    expected = model.input_integers(x).double() @ (weight * scales[:, None]).round().T + offset
    assert torch.equal(model.values(x)["linear_default"].double(), expected)


@both_recipes
@pytest.mark.parametrize("length", [70000, 140000, 300000])
def test_sums_beyond_31_bits_take_coarser_weights(length, recipe):
    """MRT defect 10: 140000 products of 127 * 127 exceed 2**31.

    Oracle: float; the weights of a column, all alike, are off by half a unit of at least 4 bits and a sign. The second
    column, of one weight, keeps its own 8 bits where it has a scale of its own.
    """
    x = torch.full((1, length), 0.5, dtype=torch.float64)
    weight = torch.ones(2, length, dtype=torch.float64)
    weight[1, 1:] = 0
    model = integer_model(fully_connected(x.shape, weight, torch.ones(2, dtype=torch.float64)), x, recipe=recipe)
    assert model.integers(x)[0].abs().max() < 2 ** 30
    found = model(x)[0].tolist()
    assert found[0] == pytest.approx(length / 2 + 1, rel=0.5 / 15)
    assert found[1] == pytest.approx(1.5, abs=0.5 / 15 * (recipe == "original") + 1 / model.scales[0])


def test_extremes_above_2_to_the_24_are_exact():
    """MRT defect 7. Oracle: Python integers."""
    length = 32767
    x, weight = torch.ones(1, length, dtype=torch.float64), torch.ones(1, length, dtype=torch.float64)
    weight[0, 0] = 2 / 127
    model = integer_model(fully_connected(x.shape, weight), x)
    assert model.integers(x)[0].item() == (length - 1) * 127 * 127 + 2 * 127


@both_recipes
@pytest.mark.parametrize("magnitude", [0.0, 1e-30, 1e-9])
def test_weights_next_to_zero_keep_the_bias(magnitude, recipe):
    """Bound: half a unit of 16 bits, what the weights contribute, and what one scale of 16 bits loses."""
    bias, x = torch.tensor([5.0, -0.002], dtype=torch.float64), draw(2, 6)
    model = integer_model(fully_connected(x.shape, draw(2, 6, seed=1) * magnitude, bias), x, recipe=recipe)
    assert_within(model(x), bias.expand(2, 2), 5 * 2 ** -16 + 6 * magnitude + model.output_error)


@pytest.mark.parametrize("has_bias", [True, False])
def test_a_computed_weight_makes_a_product_of_matrices(has_bias):
    """The weight, and the bias, are slices of the data. Oracle: linear itself, 1e-12; the batch is not summed over."""
    def build(editor, x):
        weight = editor.call(aten.squeeze.dims, editor.call(aten.sum.dim_IntList, x, [0], True), [0])
        bias = (editor.call(aten.sum.dim_IntList, weight, [1], False),) if has_bias else ()
        return editor.call(aten.linear.default, x, weight, *bias)
    module, x = graph(build, (2, 3, 6)), draw(2, 3, 6)
    after = rewritten(module)
    assert "bmm" in operators(after) and "linear" not in operators(after)
    assert_same_values(module, after, x)


def test_a_computed_bias_is_added():
    """Oracle: linear itself, 1e-12."""
    def build(editor, x):
        bias = editor.call(aten.sum.dim_IntList, editor.call(aten.slice.Tensor, x, 1, 0, 5, 1), [0], False)
        return editor.call(aten.linear.default, x, editor.constant("weight", draw(5, 6)), bias)
    module = graph(build, (2, 6))
    assert operators(rewritten(module)) == ["slice", "sum", "linear", "add"]
    assert_same_values(module, rewritten(module), draw(2, 6))


def test_a_sum_over_the_batch_is_refused():
    def computed(editor, x):
        columns = editor.call(aten.permute.default, x, [1, 0])
        return editor.call(aten.linear.default, columns, columns)

    with pytest.raises(UnsupportedOperatorError, match="it sums over the batch axis"):
        prepare(graph(computed, (3, 4)))


def test_the_batch_may_be_any_axis():
    """(38, N) of word vectors: axis 1 is the batch. Oracle: the same products at another batch."""
    weight = draw(5, 6)
    module = graph(lambda editor, x: editor.call(aten.linear.default, x, editor.constant("w", weight)), (4, -1, 6))
    after = rewritten(module)
    for batch in (1, 3):
        assert_same_values(module, after, draw(4, batch, 6))


def test_the_documented_name():
    """MRT's helper under its name."""
    from mrt_torch.ops import _quantize_xwb
    assert _quantize_xwb is quantize_weight_and_bias


@pytest.mark.parametrize("has_bias", [True, False])
def test_operations(has_bias):
    """mrt-core 8: out * (2 * W[1] + bias)."""
    module = fully_connected((2, 3, 6), draw(5, 6), draw(5) if has_bias else None)
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == 2 * 3 * 5 * (12 + has_bias)
