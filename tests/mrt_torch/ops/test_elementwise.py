"""Operators of two tensors against torch in float64 on the quantized input."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.graph.editor import output_nodes, tensor_of
from mrt_torch.graph.facts import facts_of, source_name
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare_for_compile
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_untouched,
    assert_within,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    relative_error,
    rewritten,
    unary,
)

X = draw(2, 3, 4, 5)
BINARY = [aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.maximum.default, aten.minimum.default]


def beside_constant(target, constant, left=False, shape=X.shape):
    def build(e, x):
        c = e.constant("constant", constant)
        return e.call(target, c, x) if left else e.call(target, x, c)
    return graph(build, shape)


def expected_with(target, x, constant, left):
    return target(constant, x) if left else target(x, constant)


@pytest.mark.parametrize("value", [torch.tensor(0.3), torch.tensor([0.3]), torch.tensor([[[[-0.3]]]]),
                                   torch.tensor(0.0)])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("target", BINARY)
def test_a_constant_of_one_element_becomes_a_number(target, value, left):
    """The integer stage has no tensors without axes. Oracle: torch's operator with the tensor."""
    module = beside_constant(target, value.double(), left)
    after = rewritten(module)
    assert set(operators(after)) <= {"add", "mul", "neg", "clamp", "relu"}
    assert not after.graph.find_nodes(op="get_attr")
    assert_same_values(module, after, X)
    assert_within(integer_model(module, X)(X), module(X)[0], 0.51 / 127)


@pytest.mark.parametrize("target", [t for t in BINARY if t is not aten.minimum.default])
def test_other_constants_stay_tensors(target):
    """Several elements; and one element that adds an axis."""
    assert_untouched(beside_constant(target, draw(3, 1, 1)), X)
    assert_untouched(graph(lambda e, x: e.call(target, x, e.constant("c", draw(1, 1, 1))), (2, 3)), draw(2, 3))


def test_minimum_is_a_negated_maximum():
    """The runtime has no minimum. Oracle: torch, exactly."""
    module = graph(lambda e, x: e.call(aten.minimum.default, x, e.call(aten.abs.default, x)), X.shape)
    assert "minimum" not in operators(rewritten(module))
    assert_same_values(module, rewritten(module), X, tolerance=0)


@pytest.mark.parametrize("divisor", [draw(3, 1, 1) + 2, draw(1) * 3, torch.tensor(-7.0).double(),
                                     torch.tensor([4, 2, 8, 5, 3])])
def test_division_by_a_constant_is_a_product(divisor):
    """Oracle: torch's division; x * (1 / c) rounds once more, 1e-12. The last divisor holds integers."""
    module = beside_constant(aten.div.Tensor, divisor)
    assert operators(rewritten(module)) == ["mul"]
    assert_same_values(module, rewritten(module), X)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 4, 5), (5,), (1, 3, 1, 1), (4, 1)])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("target", BINARY)
def test_beside_a_constant(target, left, shape):
    """MRT defect 5: subtraction works in a full flow.

    Bound: sums and extremes hold both operands in 16 bits of the larger, half a unit each and the rounding of the
    fraction; a product has the constant in 15 bits, and the input as it is in 8.
    """
    constant = draw(*shape, seed=4, magnitude=1.7)
    model = integer_model(beside_constant(target, constant, left), X)
    unit = 1.7 / 16383
    assert_within(model(X), expected_with(target, model.seen(X), constant, left), 1.1 * unit)


@pytest.mark.parametrize("target", BINARY)
def test_two_activations(target):
    """Different scales and thresholds. Bound: as beside a constant; for a product, 15 and 16 bits of its operands."""
    def build(e, x):
        return e.call(target, e.call(aten.mul.Scalar, e.call(aten.relu.default, x), 3.7), e.call(aten.abs.default, x))

    model = integer_model(graph(build, X.shape), X)
    seen = model.seen(X)
    assert_within(model(X), target(seen.relu() * 3.7, seen.abs()), 3.7 * 2 ** -14)


def test_operands_of_one_scale_are_added_as_they_are():
    """Oracle: torch, exactly: 8 bits at one scale need no rounding."""
    def build(e, x):
        return e.call(aten.add.Tensor, e.call(aten.relu.default, x), e.call(aten.abs.default, x))

    model = integer_model(graph(build, X.shape), X)
    assert sorted(operators(model.module)) == ["abs", "elemwise_add", "relu"]
    seen = model.seen(X)
    assert torch.equal(model.integers(X)[0].double(), (seen.relu() + seen.abs()).mul(model.scales[0]).round())


def test_a_square():
    """One node as both operands, in 16 and in 15 bits. Bound: a unit of each, because the largest value saturates."""
    model = integer_model(graph(lambda e, x: e.call(aten.mul.Tensor, x, x), X.shape), X, input_precision=20)
    assert_within(model(X), X * X, 1.51 / 16383)


def test_broadcasting_of_two_activations():
    """(N, C, 1, 1) * (N, C, H, W): squeeze and excitation. Bound: 15 bits of the product's larger operand."""
    def build(e, x):
        gate = e.call(aten.sigmoid.default, e.call(aten.mean.dim, x, [2, 3], True))
        return e.call(aten.mul.Tensor, x, gate)

    model = integer_model(graph(build, X.shape), X)
    seen = model.seen(X)
    assert_within(model(X), seen * seen.mean((2, 3), keepdim=True).sigmoid(), 2 ** -11)


@pytest.mark.parametrize("target", BINARY)
@pytest.mark.parametrize("zero", ["input", "constant", "both"])
def test_zero_thresholds(target, zero):
    """mrt-core 9.5: a zero operand takes the other's scale. Bound: 16 bits of what is not zero."""
    x = torch.zeros_like(X) if zero != "constant" else X
    constant = draw(3, 1, 1, magnitude=1e-3) if zero == "input" else torch.zeros(3, 1, 1, dtype=torch.float64)
    model = integer_model(beside_constant(target, constant), x)
    assert_within(model(x), target(model.seen(x), constant), 2 ** -15 * (1e-3 if zero == "input" else 1))


def test_a_product_with_zero_is_a_parameter_once_the_batch_is_fixed():
    """mrt-core 8, broadcast_mul P. It keeps name and scale; other products are left alone."""
    zeros = torch.zeros(3, 1, 1, dtype=torch.float64)
    model = integer_model(beside_constant(aten.mul.Tensor, zeros), X)
    fixed = prepare_for_compile(model.module, {"data": (4, 3, 4, 5)})
    assert operators(fixed) == []
    head, before = output_nodes(fixed.graph)[0], output_nodes(model.module.graph)[0]
    assert torch.equal(tensor_of(fixed, head), torch.zeros(4, 3, 4, 5, dtype=torch.int32))
    assert (facts_of(head).scale, source_name(head)) == (model.scales[0], source_name(before))
    kept = integer_model(beside_constant(aten.mul.Tensor, draw(3, 1, 1)), X)
    assert operators(prepare_for_compile(kept.module, {})) == operators(kept.module)


def test_a_tower_of_sums_stays_within_32_bits():
    """A 30-bit bias and constants on top. Bound: 16 bits of the largest sum, twice."""
    def build(e, x):
        y = e.call(aten.linear.default, x, e.constant("w", draw(4, 3) * 1e-12), e.constant("b", draw(4, seed=1)))
        for seed in range(4):
            y = e.call(aten.add.Tensor, y, e.constant(f"c{seed}", draw(4, seed=seed) * 0.9))
        return y

    module, x = graph(build, (2, 3)), draw(2, 3)
    model = integer_model(module, x)
    assert_within(model(x), module(x)[0], 4.6 * 2 ** -14)


@pytest.mark.parametrize("constant", [torch.zeros(1, 6), torch.tensor([[1.0, -3.0, 0.0, 2.0, 5.0, 0.0]])],
                         ids=["zeros", "whole"])
@pytest.mark.parametrize("left", [False, True])
def test_whole_numbers_beside_an_exact_constant_stay_whole(constant, left):
    """BERT adds zeros to its valid length, to broadcast it, and truncates: 8 became 7. Oracle: torch, exactly."""
    def build(e, x):
        c = e.constant("c", constant.double())
        lengths = e.call(aten.slice.Tensor, x, 1, 6, 7, 1)
        total = e.call(aten.add.Tensor, c, lengths) if left else e.call(aten.add.Tensor, lengths, c)
        rows = e.call(aten.embedding.default, e.constant("table", torch.arange(60.0).double().reshape(30, 2)),
                      e.call(aten._to_copy.default, e.call(aten.slice.Tensor, x, 1, 0, 6, 1), dtype=torch.int64))
        whole = e.call(aten._to_copy.default, e.call(aten._to_copy.default, total, dtype=torch.int32),
                       dtype=torch.float64)
        return [whole, rows]

    data = torch.tensor([[0, 29, 3, 4, 5, 6, 8], [1, 2, 3, 4, 5, 6, 5]]).double()
    module = graph(build, (2, 7))
    assert torch.equal(integer_model(module, data)(data), module(data)[0])


@pytest.mark.parametrize("target", [aten.neg.default, aten.abs.default])
def test_sign_operators_are_exact(target):
    """MRT defect 5: abs works in a full flow. Oracle: torch on the quantized input."""
    module = unary(target)
    assert_untouched(module, X)
    model = integer_model(module, X)
    assert torch.equal(model(X), target(model.seen(X)))


@pytest.mark.parametrize("target", [*BINARY, aten.div.Tensor])
def test_operations(target):
    """mrt-core 8: the output elements."""
    module = beside_constant(target, draw(3, 1, 1) + 2)
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == X.numel()


def test_a_residual_block():
    """x + conv(x): two scales meet. Bound: 1 % in the norm, of 8-bit weights and inputs."""
    weight = draw(3, 3, 3, 3, seed=2, magnitude=0.2)

    def build(e, x):
        y = e.call(aten.conv2d.default, x, e.constant("w", weight), None, [1, 1], [1, 1])
        return e.call(aten.relu.default, e.call(aten.add.Tensor, y, x))

    module = graph(build, X.shape)
    model = integer_model(module, X)
    assert operators(model.module)[0] == "conv2d"
    assert relative_error(model(X), module(X)[0]) < 0.01
