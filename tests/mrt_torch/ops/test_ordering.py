"""topk in integers. Oracle: a stable sort in torch of the quantized input, exactly, ties included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops.ordering import TOPK_INDICES, TOPK_MASK, TOPK_VALUES
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import aten, draw, graph, integer_model, operators, unary


def expected(x, k, axis, largest):
    values, indices = torch.sort(x, dim=axis, descending=largest, stable=True)
    values, indices = values.narrow(axis, 0, k), indices.narrow(axis, 0, k)
    return values, indices, torch.zeros_like(x).scatter(axis, indices, 1.0)


def topk_model(x, k, axis, largest, **options):
    def build(e, data):
        return [e.call(target, data, k, axis, largest) for target in (TOPK_VALUES, TOPK_INDICES, TOPK_MASK)]
    return integer_model(graph(build, x.shape), x, **options)


def check(x, k, axis, largest, **options):
    model = topk_model(x, k, axis, largest, **options)
    assert model.scales[1:] == [1.0, 1.0]
    for found, scale, wanted in zip(model.integers(x), model.scales, expected(model.seen(x), k, axis, largest),
                                    strict=True):
        assert torch.allclose(found.double() / scale, wanted.double(), rtol=1e-12, atol=0)
    return model


@given(length=st.integers(1, 9), k=st.integers(1, 9), axis=st.sampled_from([1, 2, -1]), largest=st.booleans(),
       bits=st.sampled_from([2, 4, 16]))
@settings(max_examples=40, deadline=None)
def test_short_axes(length, k, axis, largest, bits):
    shape = [2, 3, 3]
    shape[axis] = length
    check(draw(*shape), min(k, length), axis, largest, input_precision=bits)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k, length", [(1, 300), (5, 300), (12, 60), (2, 9)])
def test_rounds(k, length, largest):
    """A long axis, element by element; coarse values tie."""
    model = check(draw(2, length, 2), k, 1, largest, input_precision=6)
    assert "concatenate" in operators(model.module) or k == 1


@pytest.mark.parametrize("largest", [True, False])
def test_sorting(largest):
    """A whole axis, by rank."""
    model = check(draw(2, 40), 40, 1, largest, input_precision=5)
    assert "concatenate" not in operators(model.module) and len(operators(model.module)) < 40


def test_wide_inputs_are_rounded():
    """What k rounds leave no room for. Bound: half a unit of 20 bits."""
    weight = draw(300, 600, seed=3)

    def build(e, x):
        y = e.call(aten.linear.default, x, e.constant("w", weight))
        return e.call(TOPK_VALUES, y, 20, 1, True), y

    x = draw(2, 600)
    model = integer_model(graph(build, x.shape), x)
    values, y = (part.double() / scale for part, scale in zip(model.integers(x), model.scales, strict=True))
    assert torch.allclose(values, y.topk(20).values, rtol=0, atol=float(y.abs().max()) * 2 ** -19)


@pytest.mark.parametrize("k, length, reason", [(65, 300, "it takes 65 of 300"), (300, 300, "it takes 300 of 300")])
def test_too_many_are_refused(k, length, reason):
    with pytest.raises(UnsupportedOperatorError, match=reason):
        prepare(unary(TOPK_VALUES, k, 1, True, shape=(2, length)))


def test_the_batch_cannot_be_ordered():
    with pytest.raises(UnsupportedOperatorError, match="it orders the batch axis"):
        prepare(unary(TOPK_INDICES, 1, 0, True, shape=(2, 3)))
