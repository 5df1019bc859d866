"""Elements chosen by computed indices. Oracle: torch on the quantized input, exactly."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops.ordering import TOPK_INDICES
from mrt_torch.ops.selection import GATHER_ND
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import aten, both_recipes, draw, graph, integer_model

X = draw(3, 4, 5)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("axis", [1, 2])
def test_gather_by_computed_indices(axis, k):
    """The order of one tensor applied to another."""
    def build(e, x):
        y = e.call(aten.neg.default, e.call(aten.abs.default, x))
        return e.call(aten.gather.default, x, axis, e.call(TOPK_INDICES, y, k, axis, True))

    module = graph(build, X.shape)
    model = integer_model(module, X)
    assert torch.equal(model(X), module(model.seen(X))[0])


@pytest.mark.parametrize("count", [1, 2])
def test_gather_by_constant_indices(count):
    indices = torch.arange(4 * count).reshape(1, 4, count) % 5

    def build(e, x):
        row = e.call(aten.slice.Tensor, e.call(aten.reshape.default, x, [-1, 4, 5]), 2, 0, 5, 1)
        zeros = e.call(aten.mul.Scalar, e.call(aten.slice.Tensor, x, 2, 0, 1, 1), 0.0)
        whole = e.call(aten._to_copy.default, zeros, dtype=torch.int64)
        index = e.call(aten.add.Tensor, e.constant("i", indices), whole)
        return e.call(aten.gather.default, row, 2, index)

    module = graph(build, X.shape)
    model = integer_model(module, X)
    assert torch.equal(model(X), module(model.seen(X))[0])


def test_gather_by_an_input():
    """An input that chooses is taken as whole numbers, beyond what its 8 bits would hold."""
    places = torch.tensor([[0], [299], [150], [7]], dtype=torch.float64)
    values = draw(1, 300, seed=1)

    def build(e, x):
        table = e.call(aten.add.Tensor, e.call(aten.mul.Scalar, x, 0.0), e.constant("t", values))
        return e.call(aten.gather.default, table, 1, e.call(aten._to_copy.default, x, dtype=torch.int64))

    module = graph(build, places.shape)
    model = integer_model(module, places)
    assert torch.allclose(model(places), values[0][places.long()], atol=2 ** -15)


@both_recipes
def test_gather_from_wide_values(recipe):
    """Accumulators are rounded to what the sum leaves. Bound: 2**-12 of the largest that calibration saw, where those
    at one scale saturate; 2**-11 where the two outputs are brought to one scale apart, with room beyond that.
    """
    weight = draw(64, 600, seed=3)

    def build(e, x):
        y = e.call(aten.linear.default, x, e.constant("w", weight))
        return e.call(aten.gather.default, y, 1, e.call(aten.argmax.default, y, 1, True)), y

    x = draw(2, 600)
    model = integer_model(graph(build, x.shape), x, recipe=recipe)
    found, y = (part.double() / scale for part, scale in zip(model.integers(x), model.scales, strict=True))
    largest = model.thresholds["linear_default"]
    expected, share = y.amax(1, True), 2 ** -11
    if recipe != "default":
        expected, share = expected.clamp(max=largest), 2 ** -12
    assert torch.allclose(found, expected, rtol=0, atol=largest * share)


@pytest.mark.parametrize("depth", [1, 2])
def test_gather_nd_of_a_constant(depth):
    """Points found in the data, in a constant map."""
    table = draw(4, 6, 3, seed=9)

    def build(e, x):
        parts = [e.call(aten.argmax.default, x, 1, False), e.call(aten.argmin.default, x, 1, False)][:depth]
        points = e.call(aten.cat.default, [e.call(aten.unsqueeze.default, part, 0) for part in parts], 0)
        return e.call(GATHER_ND, e.constant("table", table), points)

    x = draw(5, 4, seed=2)
    module = graph(build, x.shape)
    model = integer_model(module, x)
    assert torch.allclose(model(x), module(model.seen(x))[0], atol=2 ** -15)


REFUSED = {
    "along the batch": (lambda e, x: e.call(aten.gather.default, x, 0, e.call(TOPK_INDICES, x, 5, 2, True)),
                        "it chooses along the batch axis"),
    "another shape": (lambda e, x: e.call(aten.gather.default, x, 2, e.call(aten.slice.Tensor, e.call(
        TOPK_INDICES, x, 1, 2, True), 1, 0, 2, 1)), "its indices have shape"),
    "points in the batch": (lambda e, x: e.call(GATHER_ND, x, e.constant("p", torch.tensor([[0, 1], [2, 3]]))),
                            "it indexes the batch axis"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    """Oracle: the limits of the operators; each error advises to split."""
    build, reason = REFUSED[name]
    with pytest.raises(UnsupportedOperatorError, match=reason) as caught:
        prepare(graph(build, (3, 4, 5)))
    assert "split the model" in caught.value.remedy
