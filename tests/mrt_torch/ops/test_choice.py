"""Where in integers. Oracle: torch on the quantized input."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.passes import prepare, quantize
from mrt_torch.quantization import QuantizationSettings
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
    thresholds_of,
)

X = draw(2, 3, 4, 5)
WHERE, OTHER, SELF = aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf


def above(e, x, number=0.0):
    return e.call(aten.gt.Scalar, x, number)


def test_tensors_of_one_shape_and_scale():
    """The runtime's where, exactly: the condition is widened for it."""
    def build(e, x):
        return e.call(WHERE, above(e, x), e.call(aten.abs.default, x), e.call(aten.neg.default, x))

    model = integer_model(graph(build, X.shape), X)
    assert operators(model.module).count("where") == 1
    seen = model.seen(X)
    assert torch.equal(model(X), torch.where(seen > 0, seen.abs(), -seen))


@pytest.mark.parametrize("factor", [1e-4, 0.37, 2.9, 1e5])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_tensors_of_two_scales(factor, bits):
    """Bound: half a unit of 16 bits of the larger, twice where both are rounded, and 2**-14 of it for the fraction."""
    def build(e, x):
        return e.call(WHERE, above(e, x), x, e.call(aten.mul.Scalar, e.call(aten.abs.default, x), factor))

    model = integer_model(graph(build, X.shape), X, input_precision=bits)
    seen = model.seen(X)
    assert_within(model(X), torch.where(seen > 0, seen, seen.abs() * factor), 2 ** -13 * max(1, factor))


@pytest.mark.parametrize("condition, x, y", [
    ((1, 4, 5), None, (3, 1, 1)), ((3, 1, 1), None, None), (None, (3, 4, 5), (5,)), (None, None, (1, 3, 1, 5)),
    (None, (1, 4, 1), (3, 1, 5)), ((5,), (3, 4, 1), None)])
def test_broadcasting(condition, x, y):
    """Constants of any shape, also as the condition. Bound: as for two scales."""
    def build(e, data):
        holds = above(e, data) if condition is None else e.constant("m", draw(*condition, seed=2) > 0)
        choices = [data if shape is None else e.constant(f"c{position}", draw(*shape, seed=position) * 1.5)
                   for position, shape in enumerate((x, y))]
        return e.call(WHERE, holds, *choices)

    module = graph(build, X.shape)
    model = integer_model(module, X)
    assert_within(model(X), module(model.seen(X))[0], 1.5 * 2 ** -13)


def test_activations_that_broadcast():
    """A condition, and a choice, that lack axes of the other. Bound: as for two scales."""
    def build(e, x):
        mean = e.call(aten.mean.dim, x, [2, 3], True)
        return e.call(WHERE, e.call(aten.gt.Scalar, mean, 0.0), x, mean), e.call(WHERE, above(e, x), mean, x)

    module = graph(build, X.shape)
    model = integer_model(module, X)
    found = [value.double() / scale for value, scale in zip(model.integers(X), model.scales, strict=True)]
    for seen, expected in zip(found, module(model.seen(X)), strict=True):
        assert_within(seen, expected, 2 ** -12)


@given(number=st.one_of(st.floats(-4, 4), st.sampled_from([0.0, 1.0, -1.0, 1000.0, -3e3])), bits=st.integers(2, 16),
       left=st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_number(number, bits, left):
    """X stays exact. Bound for the number: 2**-15 of the larger of both."""
    def build(e, x):
        return e.call(SELF, above(e, x), number, x) if left else e.call(OTHER, above(e, x), x, number)

    module = graph(build, X.shape)
    model = integer_model(module, X, input_precision=bits)
    seen, found = model.seen(X), model(X)
    from_x = (seen > 0) != left
    assert torch.equal(found[from_x], seen[from_x])
    assert_within(found, module(seen)[0], max(abs(number), 1.0) * 2 ** -15)


@pytest.mark.parametrize("number", [-math.inf, -1e18, -1e9, -65504.0, -1e4, -50.0, -11.5])
@pytest.mark.parametrize("threshold", [0.01, 5.0, 30.0])
def test_masked_softmax(number, threshold):
    """What a mask of any depth hides gets nothing, and the rest keeps its bits. Bound: 0.5 % in the norm."""
    mask = torch.ones(6, 6).triu(1) > 0

    def build(e, x):
        masked = e.call(SELF, e.constant("m", mask), number, x)
        return e.call(aten.softmax.int, e.call(aten.reshape.default, masked, [-1, 6, 6]), 2)

    x = draw(4, 6, 6, magnitude=threshold)
    if number > -2 * threshold - 10:
        pytest.skip("no mask for such a tensor")
    module = graph(build, x.shape)
    model = integer_model(module, x, input_precision=16)
    expected = module(x)[0]
    assert bool((model(x)[:, mask] == 0).all())
    assert relative_error(model(x), expected) < (0.005 if threshold < 30 else 0.02)


@pytest.mark.parametrize("number", [math.inf, -math.inf, 1e30, -1e6])
def test_a_mask_that_others_read(number):
    """It saturates beyond everything beside it, and does not cost X its bits. Oracle: torch's maximum of the rest."""
    def build(e, x):
        masked = e.call(OTHER, above(e, x, 0.3), x, number)
        top = e.call(aten.amax.default, masked, [1], False)
        return top, e.call(aten.add.Tensor, masked, x)

    x = draw(4, 30)
    model = integer_model(graph(build, x.shape), x, input_precision=12)
    top, total = (value.double() / scale for value, scale in zip(model.integers(x), model.scales, strict=True))
    seen = model.seen(x)
    if number < 0:
        assert torch.equal(top, torch.where(seen > 0.3, seen, -math.inf).amax(1))
    else:
        assert bool((top > 5).all())
    assert_within(total[seen > 0.3], 2 * seen[seen > 0.3], 0.01)


def test_number_beside_a_constant():
    """Both choices are known. Bound: half a unit of 16 bits of the larger."""
    constant = draw(3, 4, 5, seed=3)
    module = graph(lambda e, x: e.call(OTHER, above(e, x), e.constant("c", constant), 2.5), X.shape)
    model = integer_model(module, X)
    assert_within(model(X), module(model.seen(X))[0], 2.5 * 2 ** -15)


def test_choices_between_indices_keep_their_scale():
    """Oracle: scale 1 and torch, exactly."""
    def build(e, x):
        first, last = (e.call(getattr(aten, name).default, x, 1, False) for name in ("argmax", "argmin"))
        return e.call(WHERE, e.call(aten.gt.Tensor, first, last), first, last), e.call(
            OTHER, e.call(aten.gt.Scalar, first, 3), first, 7)

    x = draw(5, 30)
    module = graph(build, x.shape)
    model = integer_model(module, x, output_precision=8)
    assert model.scales == [1.0, 1.0]
    for found, expected in zip(model.integers(x), module(model.seen(x)), strict=True):
        assert torch.equal(found.long(), expected)


def test_numbers_are_found():
    """One number in a choice: a constant, or sums and products over 0 * X. Oracle: the operators by name, torch."""
    def of(make):
        module = graph(lambda e, x: e.call(WHERE, above(e, x), x, make(e, x)), X.shape)
        after = rewritten(module)
        assert_same_values(module, after, X)
        return [node.target for node in after.graph.nodes if "where" in str(node.target)]

    ones = lambda e, x: e.call(aten.add.Scalar, e.call(aten.mul.Scalar, x, 0.0), 1.0)  # noqa: E731
    assert of(lambda e, x: e.constant("c", torch.full((3, 1, 1), -2.5, dtype=torch.float64))) == [OTHER]
    assert of(ones) == [OTHER]
    assert of(lambda e, x: e.call(aten.mul.Scalar, ones(e, x), -1e18)) == [OTHER]
    assert of(lambda e, x: e.constant("c", draw(3, 1, 1))) == [WHERE]
    assert of(lambda e, x: e.call(aten.mul.Scalar, x, 2.0)) == [WHERE]


def test_rewrites():
    """A decided choice, a condition of numbers, a number on the left. Oracle: the operators by name, torch."""
    cases = [
        (lambda e, x: e.call(WHERE, e.constant("m", torch.tensor([True])), x, e.call(aten.neg.default, x)), []),
        (lambda e, x: e.call(SELF, e.constant("m", torch.zeros(3, 1, 1) > 0), 2.0, x), []),
        (lambda e, x: e.call(SELF, above(e, x), 2.0, x), ["gt", "logical_not", "where"]),
        (lambda e, x: e.call(WHERE, above(e, x), e.constant("c", torch.ones(1).double()), x),
         ["gt", "logical_not", "where"]),
    ]
    for build, expected in cases:
        module = graph(build, X.shape)
        assert operators(rewritten(module)) == expected
        assert_same_values(module, rewritten(module), X)


def test_rewrite_leaves_the_others():
    assert_untouched(graph(lambda e, x: e.call(OTHER, above(e, x), x, 2.0), X.shape), X)
    assert_untouched(graph(lambda e, x: e.call(
        WHERE, e.constant("m", torch.tensor([True, False, True]).reshape(3, 1, 1)), x, e.call(aten.neg.default, x)),
        X.shape), X)
    assert_untouched(graph(lambda e, x: e.call(  # the condition alone does not give the shape
        WHERE, e.constant("m", torch.ones(2, 1, 1, 1, 1) > 0), x, e.call(aten.neg.default, x)), X.shape), X)


def test_nan_is_refused():
    with pytest.raises(UnsupportedOperatorError, match="NaN"):
        prepare(graph(lambda e, x: e.call(OTHER, above(e, x), x, math.nan), X.shape))


@pytest.mark.parametrize("name", ["where", "gt"])
def test_restored_nodes(name):
    """Kept in float on request, with truth values as they are. Bound: 16 bits of the result."""
    def build(e, x):
        truth = e.call(aten.gt.Scalar, x, 0.0, name="gt")
        return e.call(WHERE, truth, x, e.call(aten.neg.default, x), name="where")

    module = graph(build, X.shape)
    prepared = prepare(module)
    restored, scales = quantize(prepared, thresholds_of(prepared, X), QuantizationSettings(restore=frozenset([name])))
    integers = (X * 127).round().to(torch.int32)
    assert torch.allclose(restored(integers)[0].double() / scales[0], (X * 127).round().abs() / 127, atol=2 ** -14)
