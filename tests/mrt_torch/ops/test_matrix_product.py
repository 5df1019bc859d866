"""batch_dot against float64 products, exact on integers below 2**53."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_untouched,
    assert_within,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    rewritten,
)

SWAP = [0, 2, 1]


def square(shape, relu=False):
    """X * X^T, or relu(X) * X^T."""
    def build(editor, x):
        left = editor.call(aten.relu.default, x) if relu else x
        return editor.call(aten.bmm.default, left, editor.call(aten.permute.default, x, SWAP))
    return graph(build, shape)


def parts(shape, inner, relu=False):
    """Two slices of one input (B, M + N, K), the first times the second transposed."""
    def build(editor, x):
        left = editor.call(aten.slice.Tensor, x, 1, 0, inner, 1)
        right = editor.call(aten.slice.Tensor, x, 1, inner, shape[1], 1)
        left = editor.call(aten.relu.default, left) if relu else left
        return editor.call(aten.bmm.default, left, editor.call(aten.permute.default, right, SWAP))
    return graph(build, shape)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("bits", [8, 12])
def test_against_float(batch, bits):
    """Oracle: the product of the quantized input. Bound: the docstring's, half a unit of 8 bits of each factor."""
    x = draw(batch, 4, 6, seed=3)
    model = integer_model(square((2, 4, 6)), draw(2, 4, 6), input_precision=bits)
    seen, half = model.seen(x), 0.0 if bits == 8 else 0.5 / 127
    bound = (seen.abs().sum(-1)[:, :, None] + seen.abs().sum(-1)[:, None]) * half + 6 * half * half
    assert_within(model(x), seen @ seen.transpose(1, 2), bound + 1e-3 * float(bits > 8))
    assert operators(model.module).count("batch_dot") == 1


def test_eight_bits_are_exact():
    """Oracle: the products of the integers in float64."""
    x = draw(2, 4, 6)
    model = integer_model(square((2, 4, 6)), x)
    integers = model.input_integers(x).double()
    assert torch.equal(model.integers(x)[0].double(), integers @ integers.transpose(1, 2))
    assert operators(model.module) == ["batch_dot"]


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 2, 7, 300]),
       st.sampled_from([9, 11, 15, 16]), st.floats(0.01, 100), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_what_is_never_negative_is_split_exactly(batch, rows, columns, length, bits, magnitude, seed):
    """Oracle: the product of the requantized operands in float64: hi * 2**k + lo loses nothing of them."""
    shape = (batch, rows + columns, length)
    x = draw(*shape, magnitude=magnitude, seed=seed)
    x[0, 0, 0] = magnitude
    model = integer_model(parts(shape, rows, relu=True), x, input_precision=bits)
    values, product = model.values(x), model.node("batch_dot")
    assert operators(model.module).count("batch_dot") == 2
    left, right = (values[node.name].double() for node in (product.args[0].args[0], product.args[1]))
    assert torch.equal(model.integers(x)[0].double(), left @ right.transpose(1, 2))
    assert int(left.abs().max()) > 127


@pytest.mark.parametrize("relu, products", [(False, 1), (True, 2)])
def test_only_what_is_never_negative_is_split(relu, products):
    model = integer_model(square((2, 4, 6), relu), draw(2, 4, 6), input_precision=12)
    assert operators(model.module).count("batch_dot") == products


def test_a_precision_above_eight_splits_both():
    """Oracle: float; 12 by 12 bits leave 2 * 2**-12 of each product, 8 by 8 sixteen times that."""
    x = draw(2, 4, 6)
    errors = []
    for bits in (8, 12):
        model = integer_model(square((2, 4, 6)), x, input_precision=16, operator_precisions={"batch_dot": bits})
        errors.append(float((model(x) - x @ x.transpose(1, 2)).abs().max()))
        assert operators(model.module).count("batch_dot") == (1 if bits == 8 else 4)
    assert errors[1] < errors[0] / 8


@pytest.mark.parametrize("length, count", [(32767, 1), (32768, 2), (66571, 3), (100000, 4)])
def test_a_long_product_is_cut_and_exact(length, count):
    """Matrix decomposition. Oracle: the products of the integers in float64, exact below 2**53."""
    x = torch.ones(1, 2, length, dtype=torch.float64)
    x[0, 1] = draw(length)
    model = integer_model(square((1, 2, length)), x)
    assert operators(model.module).count("batch_dot") == count
    product = [n for n in model.module.graph.nodes if n.op == "call_function"]
    assert all(facts_of(n).precision <= 32 for n in product)
    expected = x[0] @ x[0].T
    assert float((model(x)[0] - expected).abs().max()) <= length * (0.5 / 63 if length > 66571 else 0.5 / 127) * 1.02


WEIGHTS = {"one": (1, 6, 5), "equal": (2, 6, 5), "different": (2, 6, 5)}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_constant_makes_a_layer(name, side):
    """A linear layer, or a grouped convolution where the matrices differ. Oracle: the same products, 1e-12."""
    weight = draw(*WEIGHTS[name], seed=1)
    weight = weight[:1].expand(2, 6, 5).clone() if name == "equal" else weight
    batch = weight.shape[0]

    def build(editor, x):
        # The batch is an axis of the matrices: axis 0 is that of the weight.
        x = editor.call(aten.permute.default, x, [1, 0, 2])
        constant = editor.constant("w", weight if side == "right" else weight.transpose(1, 2))
        if side == "right":
            return editor.call(aten.bmm.default, x, constant)
        return editor.call(aten.bmm.default, constant, editor.call(aten.permute.default, x, SWAP))
    module = graph(build, (4, batch, 6))
    after = rewritten(module)
    assert "bmm" not in operators(after)
    assert ("conv2d" in operators(after)) == (name == "different")
    for rows in (4, 1, 7):
        assert_same_values(module, after, draw(rows, batch, 6))
    model = integer_model(module, draw(4, batch, 6))
    assert "batch_dot" not in operators(model.module)


def test_near_misses_of_the_rewrite():
    """Two computed operands stay."""
    assert_untouched(square((2, 4, 6)), draw(2, 4, 6))


def test_a_sum_over_the_batch_is_refused():
    def build(editor, x):
        columns = editor.call(aten.unsqueeze.default, x, 0)
        return editor.call(aten.bmm.default, editor.call(aten.permute.default, columns, SWAP), columns)
    with pytest.raises(UnsupportedOperatorError, match="it sums over the batch axis"):
        prepare(graph(build, (3, 4)))


def test_operations():
    """out * 2 * K."""
    module = square((2, 3, 5))
    node = next(n for n in module.graph.nodes if n.target is aten.bmm.default)
    assert apply_pass("calculate_ops", node) == 2 * 3 * 3 * 2 * 5
    assert len(input_nodes(module.graph)) == 1
