"""Masks recognised in what a softmax reads. Oracle: what the graph computes, and the definition of the mask."""

from __future__ import annotations

import math

import pytest
import torch

from mrt_torch.graph.masking import softmax_of, value_of, without_mask
from tests.mrt_torch.ops.graphs import aten, draw, graph, operators

KEPT = torch.ones(4, 4, dtype=torch.bool).tril()
SHAPE = (2, 4, 4)


def masked(write):
    """Graph of the softmax of what ``write(editor, x)`` gives, masked or not."""
    return graph(lambda e, x: softmax_of(e.call, e, write(e, x), 2), SHAPE)


FORMS = {
    "masked_fill": lambda e, x: e.call(aten.masked_fill.Scalar, x, e.constant("m", ~KEPT), -math.inf),
    "where": lambda e, x: e.call(aten.where.self, e.constant("m", KEPT), x, e.constant("c", torch.full(
        (1,), -1e9, dtype=torch.float64))),
    "where, the other way": lambda e, x: e.call(aten.where.self, e.constant("m", ~KEPT), e.call(
        aten.add.Scalar, e.call(aten.mul.Scalar, x, 0.0), -1e18), x),
    "where of a number": lambda e, x: e.call(aten.where.ScalarOther, e.constant("m", KEPT), x, -1e9),
    "where of a number, the other way": lambda e, x: e.call(aten.where.ScalarSelf, e.constant("m", ~KEPT), -1e9, x),
    "added": lambda e, x: e.call(aten.add.Tensor, x, e.constant("m", torch.where(KEPT, 0.25, -1e4).double())),
    "added before": lambda e, x: e.call(aten.add.Tensor, e.constant("m", torch.where(KEPT, 0.0, -1e4).double()), x),
    "added through views": lambda e, x: e.call(aten.add.Tensor, x, e.call(aten.squeeze.dims, e.call(
        aten.unsqueeze.default, e.constant("m", torch.where(KEPT, 0.0, -1e4).double()), 0), [0])),
    "one minus a mask": lambda e, x: e.call(aten.add.Tensor, x, e.call(
        aten.mul.Scalar, e.call(aten.rsub.Scalar, e.call(aten._to_copy.default, e.call(aten.gt.Scalar, x, 0.0),
                                                         dtype=torch.float64), 1), -1e4)),
    "two masks": lambda e, x: e.call(aten.add.Tensor, x, e.call(
        aten.add.Tensor, e.constant("m", torch.where(KEPT, 0.5, -1e4).double()),
        e.call(aten.where.ScalarSelf, e.call(aten.gt.Scalar, x, 0.9), -math.inf, e.call(aten.mul.Scalar, x, 0.0)))),
}


@pytest.mark.parametrize("name", FORMS)
def test_masks_that_are_recognised(name):
    """The masked softmax is the softmax of the masked scores; 1e-12 for float64."""
    write = FORMS[name]
    module, x = masked(write), draw(*SHAPE, seed=3)
    assert "masked_softmax" in operators(module) and "softmax" not in operators(module)
    scores = graph(write, SHAPE)(x)[0]
    kept = scores > -900
    expected = torch.softmax(scores.masked_fill(~kept, -math.inf), 2).nan_to_num(0.0)
    assert float((module(x)[0] - expected).abs().max()) < 1e-12


NEAR_MISSES = {
    "a small number": lambda e, x: e.call(aten.masked_fill.Scalar, x, e.constant("m", ~KEPT), -100.0),
    "a large number": lambda e, x: e.call(aten.where.ScalarOther, e.constant("m", KEPT), x, 1e9),
    "several numbers": lambda e, x: e.call(aten.where.self, e.constant("m", KEPT), x, e.constant(
        "c", torch.tensor([[-1e9, 0, -1e9, -1e9]], dtype=torch.float64))),
    "a bias": lambda e, x: e.call(aten.add.Tensor, x, e.constant("m", draw(4, 4))),
    "a computed bias": lambda e, x: e.call(aten.add.Tensor, x, e.call(aten.mul.Scalar, x, -1e4)),
    "a mask of more elements than the scores": lambda e, x: e.call(aten.add.Tensor, e.call(
        aten.slice.Tensor, x, 1, 0, 1, 1), e.constant("m", torch.where(KEPT, 0.0, -1e4).double())),
    "nothing": lambda e, x: x,
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses(name):
    """They stay what they are."""
    write = NEAR_MISSES[name]
    module, x = masked(write), draw(*SHAPE)
    assert "masked_softmax" not in operators(module)
    assert torch.equal(module(x)[0], torch.softmax(graph(write, SHAPE)(x)[0], 2))


def test_the_parts():
    """The scores before the mask, and the mask as numbers."""
    def write(e, x):
        inner, mask = without_mask(e.call, e, FORMS["masked_fill"](e, x))
        assert inner is x and torch.equal(value_of(e, mask), KEPT.double())
        assert value_of(e, x) is None
        return inner
    graph(write, SHAPE)
