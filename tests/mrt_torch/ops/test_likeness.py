"""reshape_like, slice_like and broadcast_like against torch on the quantized input."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import shape_of
from mrt_torch.ops import apply_pass
from mrt_torch.ops.likeness import BROADCAST_LIKE, RESHAPE_LIKE, SLICE_LIKE
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.free_axis_models import check_exact
from tests.mrt_torch.ops.graphs import assert_same_values, assert_within, aten, draw, graph, integer_model, operators

X = draw(2, 3, 4)


def of_conv(e, x, shape):
    """Something of another shape that follows the batch."""
    return e.call(aten.reshape.default, e.call(aten.relu.default, x), [-1, *shape])


@pytest.mark.parametrize("target, shape, bounds", [
    (RESHAPE_LIKE, (12,), ()), (RESHAPE_LIKE, (6, 2), ()), (aten.reshape_as.default, (2, 6), ()),
    (aten.view_as.default, (2, 6), ()), (RESHAPE_LIKE, (12,), (1, 3, 1, 2)),
    (RESHAPE_LIKE, (3, 2, 2), (2, None, -2, None)), (RESHAPE_LIKE, (3, 4), (0, 1, 0, 1))])
def test_reshape_like_becomes_a_reshape(target, shape, bounds):
    """Oracle: torch's reshape of the quantized input; the batch stays free."""
    module = graph(lambda e, x: e.call(target, e.call(aten.neg.default, x), of_conv(e, x, shape), *bounds), X.shape)
    prepared = prepare(module)
    assert "relu" not in operators(prepared)
    expected = module(X)[0].shape
    for batch in (2, 5):
        x = draw(batch, 3, 4)
        assert_same_values(module, prepared, x, tolerance=0)
    model = integer_model(module, X)
    assert torch.equal(model(X), -model.seen(X).reshape(expected))


def test_reshape_like_behind_another_batch_axis():
    def build(e, x):
        return e.call(RESHAPE_LIKE, x, e.call(aten.reshape.default, e.call(aten.neg.default, x), [2, 3, -1]))

    check_exact(build, (6, -1), lambda x: x.reshape(2, 3, -1))


@pytest.mark.parametrize("axes, like", [([], (2, 3)), ([1], (2, 9)), ([-1], (5, 1)), ([1, 2], (1, 4)), ([2], (3, 4))])
def test_slice_like_of_fixed_axes_becomes_slices(axes, like):
    """Oracle: the float operator, on the quantized input; the values of the other are not computed."""
    def build(e, x):
        other = e.call(aten.repeat.default, e.call(aten.amax.default, x, [1, 2], True), [1, *like])
        return e.call(SLICE_LIKE, e.call(aten.neg.default, x), other, axes)

    module = graph(build, X.shape)
    assert set(operators(prepare(module))) <= {"neg", "slice"}
    model = integer_model(module, X)
    for x in (X, draw(5, 3, 4)):
        assert torch.equal(model(x), module(model.seen(x))[0])


@pytest.mark.parametrize("axes", [[0], [], [0, 2]])
def test_slice_like_of_a_parameter_along_the_batch(axes):
    """A table of 9 rows cut to the batch. Bound: half a unit of the table in 16 bits."""
    table = draw(9, 3, 4)
    module = graph(
        lambda e, x: e.call(SLICE_LIKE, e.constant("table", table), e.call(aten.neg.default, x), axes), X.shape)
    model = integer_model(module, X)
    assert "slice_like" in operators(model.module)
    for batch in (1, 5):
        x = draw(batch, 3, 4)
        assert_within(model(x), module(x)[0], 0.5 / 32767)


def test_slice_like_of_the_batch_itself_is_nothing():
    module = graph(lambda e, x: e.call(SLICE_LIKE, e.call(aten.neg.default, x), x, [0]), X.shape)
    assert operators(prepare(module)) == ["neg"]


@pytest.mark.parametrize("other", ["constant", "half"])
def test_a_slice_like_of_the_batch_is_refused(other):
    """Cut to a fixed number of rows, or to a part of the batch that another axis follows."""
    def build(e, x):
        like = e.constant("one", draw(1, 3, 4)) if other == "constant" else e.call(aten.reshape.default, x, [-1, 3, 4])
        long = e.call(aten.repeat_interleave.self_int, x, 2, 0)
        return e.call(SLICE_LIKE, long, like, [0])

    with pytest.raises(UnsupportedOperatorError, match="it cuts the batch axis"):
        prepare(graph(build, X.shape))


CASES = {  # broadcast shape, other's shape without the batch, lhs_axes and rhs_axes
    "all axes": ((2, 1, 4), (3, 4), ()), "some axes": ((2, 3, 1), (7,), ([2], [1])),
    "axes in another order": ((2, 1, 1), (5, 6), ([1, 2], [2, 1])),
}


@pytest.mark.parametrize("name", CASES)
def test_broadcast_like_of_fixed_axes_is_broadcast_to(name):
    """MRT's case 2: a tile, whatever the batch."""
    shape, like, axes = CASES[name]
    def build(e, x):
        one = e.call(aten.amax.default, x, list(range(1, len(shape))), True)
        wide = e.call(aten.repeat.default, one, [1, *like, *[1] * (len(shape) - 1 - len(like))])
        other = e.call(aten.reshape.default, wide, [-1, *like])
        return e.call(BROADCAST_LIKE, e.call(aten.neg.default, x), other, *axes)

    module = graph(build, shape)
    assert operators(prepare(module)) == ["neg", "expand"]
    model = integer_model(module, draw(*shape))
    for batch in (1, 5):
        x = draw(batch, *shape[1:])
        assert torch.equal(model(x), module(model.seen(x))[0])


@pytest.mark.parametrize("parameter, axes", [
    ((1, 3, 4), ()), ((1, 1, 1), ()), ((1, 3, 1), ([0, 2], [0, 2])), ((1, 5), ([0], [0])), ((5, 1), ([1], [0])),
    ((5, 1, 2), ([1], [0]))])
def test_broadcast_like_along_the_batch(parameter, axes):
    """MRT's cases 1 and 3: a parameter repeated for every sample. Bound: half a unit of 16 bits."""
    value = draw(*parameter)
    module = graph(
        lambda e, x: e.call(BROADCAST_LIKE, e.constant("p", value), e.call(aten.tanh.default, x), *axes), X.shape)
    model = integer_model(module, X)
    assert "broadcast_add" in operators(model.module)
    for batch in (1, 5):
        x = draw(batch, 3, 4)
        assert_within(model(x), module(x)[0], 0.5 / 32767)


def test_a_class_token():
    """ViT: a learnt row for every sample, joined before the others. Bound: two roundings to 16 bits."""
    token = draw(1, 1, 4)

    def build(e, x):
        row = e.call(BROADCAST_LIKE, e.constant("token", token), x, [0], [0])
        return e.call(aten.cat.default, [row, x], 1)

    model = integer_model(graph(build, X.shape), X)
    for x in (X, draw(5, 3, 4)):
        assert_within(model(x), torch.cat([token.expand(len(x), 1, 4), model.seen(x)], 1), 1.1 / 32767)


def test_broadcast_like_behind_another_batch_axis():
    """(5, 1) takes the batch of (4, N) on its second axis. Bound: half a unit of 16 bits."""
    value = draw(5, 1)
    check_exact(lambda e, x: e.call(BROADCAST_LIKE, e.constant("p", value), x, [1], [1]), (4, -1),
                lambda x: value.expand(5, x.shape[1]), 0.5 / 32767)


def test_a_broadcast_like_whose_reader_broadcasts_vanishes():
    """x * broadcast_like(gate, x), as squeeze-and-excitation has it. Oracle: the graph before."""
    def build(e, x):
        gate = e.call(aten.sigmoid.default, e.call(aten.mean.dim, x, [2], True))
        return e.call(aten.mul.Tensor, x, e.call(BROADCAST_LIKE, gate, x))

    module = graph(build, X.shape)
    assert "broadcast_like" not in operators(prepare(module)) and "expand" not in operators(prepare(module))
    assert_same_values(module, prepare(module), draw(5, 3, 4), tolerance=1e-15)


def test_expand_as():
    module = graph(lambda e, x: e.call(aten.expand_as.default, e.call(aten.amax.default, x, [1], True), x), X.shape)
    model = integer_model(module, X)
    assert torch.equal(model(X), module(model.seen(X))[0])


@pytest.mark.parametrize("target", [RESHAPE_LIKE, SLICE_LIKE, BROADCAST_LIKE])
def test_operations(target):
    """mrt-core 8: the output elements."""
    arguments = [[]] if target is SLICE_LIKE else []
    module = graph(lambda e, x: e.call(target, x, e.constant("c", draw(*X.shape)), *arguments), X.shape)
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    assert shape_of(node) == X.shape and apply_pass("calculate_ops", node) == 24
