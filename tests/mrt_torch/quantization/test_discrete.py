"""Whole numbers by nature. Oracle: what the operators mean."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from mrt_torch.graph.editor import output_nodes
from mrt_torch.passes import prepare, quantize
from mrt_torch.quantization import QuantizationSettings
from mrt_torch.quantization.discrete import is_discrete, is_exact, reads_through_movement
from tests.mrt_torch.ops.graphs import aten, draw, graph, integer_model, thresholds_of


def cast(e, node, dtype=torch.float64):
    return e.call(aten._to_copy.default, node, dtype=dtype)


def index(e, x):
    return e.call(aten.argmax.default, x, 1, True)


CASES = {
    "input": (lambda e, x: x, False, False),
    "truth value": (lambda e, x: e.call(aten.gt.Scalar, x, 0.0), True, True),
    "index": (index, True, True),
    "index as floats, moved": (lambda e, x: e.call(aten.reshape.default, cast(e, index(e, x)), [-1, 1, 1]), True, True),
    "joined indices": (lambda e, x: e.call(aten.cat.default, [index(e, x), index(e, x)], 1), True, True),
    "joined with others": (lambda e, x: e.call(aten.cat.default, [cast(e, index(e, x)), x], 1), False, False),
    "sign": (lambda e, x: e.call(aten.sign.default, x), True, True),
    "half an index": (lambda e, x: e.call(aten.mul.Scalar, cast(e, index(e, x)), 0.5), False, True),
    "rounded": (lambda e, x: e.call(aten.neg.default, e.call(aten.floor.default, x)), False, True),
    "computed": (lambda e, x: e.call(aten.add.Tensor, x, cast(e, index(e, x))), False, False),
    "scaled": (lambda e, x: e.call(aten.mul.Scalar, x, 2.0), False, False),
}


@pytest.mark.parametrize("name", CASES)
def test_kinds(name):
    build, discrete, exact = CASES[name]
    node, = output_nodes(graph(build, (2, 3)).graph)
    assert (is_discrete(node), is_exact(node)) == (discrete, exact)


def test_readers_behind_movement():
    def build(e, x):
        y = e.call(aten.abs.default, x, name="y")
        moved = e.call(aten.permute.default, e.call(aten.reshape.default, y, [-1, 3, 1]), [0, 2, 1])
        return e.call(aten.relu.default, moved), e.call(aten.neg.default, y)

    module = graph(build, (2, 3))
    y = next(node for node in module.graph.nodes if node.name == "y")
    assert {node.target for node in reads_through_movement(y)} == {aten.relu.default, aten.neg.default}
    assert all(isinstance(node, fx.Node) for node in reads_through_movement(y))


def test_a_threshold_far_beyond_what_the_integers_can_be():
    """It would leave the sum no bits. Bound: 16 bits of what is proven, 1."""
    def build(e, x):
        return e.call(aten.add.Tensor, e.call(aten.mul.Scalar, x, 1.0, name="y"), e.call(aten.abs.default, x))

    x = draw(3, 4)
    module = prepare(graph(build, x.shape))
    thresholds = {name: 1e9 for name in thresholds_of(module, x)} | {"data": 1.0}
    model = integer_model(graph(build, x.shape), x, thresholds)
    assert torch.allclose(model(x), model.seen(x) + model.seen(x).abs(), atol=2 ** -13)


def test_whole_numbers_keep_their_scale_as_outputs():
    """Where the precision holds them; others fill it. Oracle: the scales."""
    def build(e, x):
        return e.call(aten.floor.default, e.call(aten.mul.Scalar, x, 5.0)), e.call(aten.relu.default, x)

    x = draw(3, 4)
    module = prepare(graph(build, x.shape))
    thresholds = thresholds_of(module, x)
    for bits, whole in ((8, True), (3, False)):
        _, scales = quantize(module, thresholds, QuantizationSettings(output_precision=bits))
        assert (scales[0] == 1.0) is whole and scales[1] != 1.0
