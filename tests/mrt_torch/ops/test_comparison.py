"""Comparisons and logic in integers. Oracle: torch on the quantized input, exactly, unless a test says otherwise."""

from __future__ import annotations

import math
import operator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import aten, draw, graph, integer_model, operators, rewritten, unary

X = draw(2, 3, 4, 5)
ORDERS = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
NAMES = {**ORDERS, "eq": operator.eq, "ne": operator.ne}


def rounded(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value)


@given(name=st.sampled_from(sorted(NAMES)), number=st.one_of(
    st.floats(-1.2, 1.2), st.integers(-130, 130).map(lambda i: i / 127), st.sampled_from([math.inf, -math.inf, 0.0])),
    bits=st.integers(2, 16))
@settings(max_examples=50, deadline=None)
def test_a_number(name, number, bits):
    """The number on the grid of the input, as every value: the nearest integer."""
    model = integer_model(unary(getattr(aten, name).Scalar, number), X, input_precision=bits)
    seen = model.input_integers(X).to(torch.float64)
    bound = number * facts_of(input_nodes(model.module.graph)[0]).scale
    if math.isfinite(bound):
        near = round(bound)
        bound = near if abs(bound - near) < 2 ** -22 * max(1, abs(bound)) else rounded(bound)
    assert model.scales == [1.0]
    assert torch.equal(model.integers(X)[0], NAMES[name](seen, bound).to(torch.int32))


def test_a_number_outside_is_decided_without_a_comparison():
    """Oracle: the proven range."""
    for name, number, ones in (("gt", 5.0, False), ("lt", 5.0, True), ("ge", -5.0, True), ("eq", 2.0, False)):
        model = integer_model(unary(getattr(aten, name).Scalar, number), X)
        assert "broadcast_greater" not in operators(model.module)
        assert torch.equal(model.integers(X)[0], torch.full(X.shape, int(ones), dtype=torch.int32))


@pytest.mark.parametrize("threshold", [1e-6, 0.3, 0.7, 1000.0 / 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_largest_value(name, threshold):
    """The product of threshold and scale misses 127 by a float's rounding only, which decides nothing."""
    x = torch.tensor([[1.0, 126 / 127, -1.0, 0.0]], dtype=torch.float64) * threshold
    model = integer_model(unary(getattr(aten, name).Scalar, threshold, shape=x.shape), x)
    assert torch.equal(model(x), NAMES[name](x, threshold).double())


@pytest.mark.parametrize("name", NAMES)
def test_lengths_of_sequences(name):
    """Whole numbers are equal to themselves at any scale: 5 is 16.7 at 127 / 38, and 17 on the grid."""
    x = torch.arange(39.0, dtype=torch.float64).reshape(-1, 1)
    places = torch.arange(39.0, dtype=torch.float64)
    module = graph(lambda e, x: e.call(getattr(aten, name).Tensor, e.constant("places", places), x), x.shape)
    assert torch.equal(integer_model(module, x)(x), NAMES[name](places, x).double())


@pytest.mark.parametrize("number", [2.5, 3, 3.2, -0.5])
@pytest.mark.parametrize("name", NAMES)
def test_fractions_beside_whole_numbers(name, number):
    """Indices and what was rounded are exact, also scaled: fractions count. Oracle: torch."""
    def build(e, x):
        index = e.call(aten.argmax.default, x, 1, False)
        half = e.call(aten.mul.Scalar, e.call(aten._to_copy.default, index, dtype=torch.float64), 0.5)
        rounded_input = e.call(aten.floor.default, e.call(aten.mul.Scalar, x, 8.0))
        return [e.call(getattr(aten, name).Scalar, node, number) for node in (index, half, rounded_input)]

    x = torch.eye(8, dtype=torch.float64)
    module = graph(build, x.shape)
    model = integer_model(module, x)
    for found, expected in zip(model.integers(x), module(x), strict=True):
        assert torch.equal(found, expected.int())


@pytest.mark.parametrize("number", [math.nan])
def test_nan_is_refused(number):
    """Oracle: nothing compares with NaN."""
    with pytest.raises(UnsupportedOperatorError, match="NaN"):
        prepare(unary(aten.gt.Scalar, number))


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 4, 5), (1, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_a_constant(name, shape, left):
    """Element by element as a number, on the grid and off it, far outside too."""
    constant = draw(*shape, seed=3, magnitude=1.3)
    constant.view(-1)[::2] = (constant.view(-1)[::2] * 127).round() / 127
    constant.view(-1)[0] = 1e12
    target = getattr(aten, name).Tensor

    def build(e, x):
        c = e.constant("c", constant)
        return e.call(target, c, x) if left else e.call(target, x, c)

    model = integer_model(graph(build, X.shape), X)
    grid = (constant * 127).abs().add(0.5).floor() * constant.sign()
    seen = model.input_integers(X).double()
    expected = NAMES[name](grid, seen) if left else NAMES[name](seen, grid)
    assert torch.equal(model(X), expected.double())


@pytest.mark.parametrize("name", NAMES)
def test_two_activations_of_one_scale(name):
    """Exact, whatever the bits."""
    def build(e, x):
        return e.call(getattr(aten, name).Tensor, e.call(aten.relu.default, x), e.call(aten.abs.default, x))

    model = integer_model(graph(build, X.shape), X)
    seen = model.seen(X)
    assert torch.equal(model(X), NAMES[name](seen.relu(), seen.abs()).double())


@pytest.mark.parametrize("factor", [0.01, 0.37, 2.9, 1000.0])
@pytest.mark.parametrize("name", ORDERS)
def test_two_activations(name, factor):
    """Bound: half a unit of each, and 2**-12 of the one that was rescaled, decide nothing else."""
    weight = draw(5, 5, seed=8)

    def build(e, x):
        y = e.call(aten.linear.default, x, e.constant("w", weight * factor))
        return e.call(getattr(aten, name).Tensor, e.call(aten.mul.Scalar, x, factor), y), y

    module = graph(build, X.shape)
    model = integer_model(module, X)
    found, y = (value.double() / scale for value, scale in zip(model.integers(X), model.scales, strict=True))
    left = model.seen(X) * factor
    clear = (left - y).abs() > 2 ** -11 * left.abs() + 1e-9
    assert clear.float().mean() > 0.9
    assert torch.equal(found[clear], NAMES[name](left, y).double()[clear])


def test_a_constant_of_one_element_is_a_number():
    """Mirrored where it stands left. Oracle: the operators by name."""
    for left, expected in ((False, "gt"), (True, "lt")):
        def build(e, x, left=left):
            c = e.constant("c", torch.tensor([0.3], dtype=torch.float64))
            return e.call(aten.gt.Tensor, c, x) if left else e.call(aten.gt.Tensor, x, c)
        after = rewritten(graph(build, X.shape))
        node = output_nodes(after.graph)[0]
        assert node.target == getattr(aten, expected).Scalar and node.args[1] == 0.3


def test_rewrites():
    """Orders become "greater" and its opposite; two opposites cancel. Oracle: the operators by name."""
    def of(*names):
        def build(e, x):
            node = e.call(aten.gt.Tensor, x, e.call(aten.abs.default, x))
            for name in names:
                node = e.call(getattr(aten, name).default, node)
            return node
        return operators(rewritten(graph(build, X.shape)))

    assert of() == ["abs", "gt"] and of("logical_not") == ["abs", "gt", "logical_not"]
    assert of("logical_not", "logical_not") == ["abs", "gt"]
    for name, expected in (("lt", ["gt"]), ("ge", ["gt", "logical_not"]), ("le", ["gt", "logical_not"]),
                           ("ne", ["eq", "logical_not"])):
        target = getattr(aten, name).Tensor
        module = graph(lambda e, x, target=target: e.call(target, x, e.call(aten.abs.default, x)), X.shape)
        assert operators(rewritten(module)) == ["abs", *expected]


@pytest.mark.parametrize("name", ["and", "or", "xor"])
def test_logic(name):
    """Numbers are true where they are not 0; a constant takes part."""
    mask = torch.tensor([True, False, True, True, False])

    def build(e, x):
        y = e.call(getattr(aten, f"logical_{name}").default, e.call(aten.gt.Scalar, x, 0.2), e.constant("m", mask))
        return e.call(getattr(aten, f"logical_{name}").default, y, e.call(aten.relu.default, x))

    module = graph(build, X.shape)
    model = integer_model(module, X)
    assert torch.equal(model(X), module(model.seen(X))[0].double())


def test_truth_values_that_calibration_never_saw():
    """A mask that was empty in calibration is not zero for ever. Oracle: torch on the quantized input."""
    def build(e, x):
        mask = e.call(aten._to_copy.default, e.call(aten.gt.Scalar, x, 0.5), dtype=torch.float64)
        mask = e.call(aten.reshape.default, mask, [-1, 60])
        return e.call(aten.mul.Tensor, mask, e.call(aten.reshape.default, x, [-1, 60]))

    module = graph(build, X.shape)
    model = integer_model(module, X, {"data": 1.0, **{n.name: 1.0 for n in prepare(module).graph.nodes}, **{
        n.name: 0.0 for n in prepare(module).graph.nodes if n.target in (aten.gt.Scalar, aten._to_copy.default)}})
    seen = model.seen(X).reshape(-1, 60)
    assert torch.allclose(model(X), (seen > 0.5) * seen, atol=2 ** -13)


@pytest.mark.parametrize("bits", [2, 8, 16])
def test_truth_values_stay_what_they_are_as_outputs(bits):
    """set_output_prec does not rescale them, nor what was cast from them. Oracle: scale 1 and the values."""
    def build(e, x):
        truth = e.call(aten.gt.Scalar, x, 0.0)
        return truth, e.call(aten._to_copy.default, truth, dtype=torch.float64), e.call(aten.mul.Scalar, x, 2.0)

    model = integer_model(graph(build, X.shape), X, output_precision=bits)
    assert model.scales[:2] == [1.0, 1.0] and model.scales[2] != 1.0
    assert all(torch.equal(part, (model.seen(X) > 0).int()) for part in model.integers(X)[:2])


def test_zero_bits_beside_a_comparison():
    """An operand proven zero has one bit, which cannot hold the result. Oracle: torch."""
    def build(e, x):
        return e.call(aten.gt.Tensor, e.constant("zeros", torch.zeros(5, dtype=torch.float64)), x)

    model = integer_model(graph(build, X.shape), X)
    assert torch.equal(model(X), (model.seen(X) < 0).double())
    assert facts_of(output_nodes(model.module.graph)[0]).value_range.maximum == 1
