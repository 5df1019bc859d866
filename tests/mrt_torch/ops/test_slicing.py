"""Slices, in either direction, and Concat against torch on the quantized input."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import set_facts
from mrt_torch.ops import apply_pass
from mrt_torch.ops.likeness import BROADCAST_LIKE
from mrt_torch.passes import prepare, prepare_for_compile
from tests.mrt_torch.ops.free_axis_models import check_exact
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
    unary,
)

X = draw(2, 3, 6, 5)
END = 2 ** 63 - 1
SLICES = [(1, 0, 2, 1), (2, 1, END, 2), (3, -3, -1, 1), (-1, 0, 100, 3), (2, 5, 6, 1), (1, None, 2), (2, 1, None, 5)]


@pytest.mark.parametrize("arguments", SLICES)
def test_slices_are_exact(arguments):
    """Oracle: torch's slice of the quantized input, also at another batch."""
    module = unary(aten.slice.Tensor, *arguments, shape=X.shape)
    assert_untouched(module, X)
    model = integer_model(module, X)
    for x in (X, draw(5, 3, 6, 5)):
        assert torch.equal(model(x), aten.slice.Tensor(model.seen(x), *arguments))


@pytest.mark.parametrize("arguments", [(1,), (0, 0, END, 1), (2, -6, 6, 1), (3, 0, 5)])
def test_a_slice_of_everything_vanishes(arguments):
    module = unary(aten.slice.Tensor, *arguments, shape=X.shape)
    assert operators(rewritten(module)) == []
    assert_same_values(module, rewritten(module), X, tolerance=0)


@pytest.mark.parametrize("arguments, reason", [((0, 1, 2, 1), "it cuts the batch axis"),
                                               ((0, 0, END, 2), "it cuts the batch axis"),
                                               ((1, 3, 3, 1), r"it takes nothing: 3\.\.3 of axis 1"),
                                               ((2, 4, 1, 1), "it takes nothing")])
def test_slices_that_are_refused(arguments, reason):
    with pytest.raises(UnsupportedOperatorError, match=reason):
        prepare(unary(aten.slice.Tensor, *arguments, shape=X.shape))


def test_ends_are_settled_with_the_batch():
    """The runtime takes an end beyond the extent for the extent; other readers need not."""
    model = integer_model(unary(aten.slice.Tensor, 2, 1, 4, 1, shape=X.shape), X)
    assert model.node("strided_slice").kwargs["end"][0] == 2 ** 31 - 1
    fixed = prepare_for_compile(model.module, {"data": (7, 3, 6, 5)})
    node = next(n for n in fixed.graph.nodes if n.op == "call_function")
    assert node.kwargs == {"begin": [0, 0, 1, 0], "end": [7, 3, 4, 5], "stride": [1, 1, 1, 1]}
    again = prepare_for_compile(fixed, {})
    assert next(n for n in again.graph.nodes if n.op == "call_function").kwargs == node.kwargs


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concat_of_one_scale_is_exact(axis):
    """Oracle: torch's cat; parts of one scale within 16 bits are taken as they are."""
    def build(e, x):
        return e.call(aten.cat.default, [x, e.call(aten.relu.default, x), x], axis)

    model = integer_model(graph(build, X.shape), X)
    assert operators(model.module) == ["relu", "concatenate"]
    seen = model.seen(X)
    assert torch.equal(model(X), torch.cat([seen, seen.relu(), seen], axis))


@pytest.mark.parametrize("factors", [(1.0, 0.001), (100.0, 1.0), (-3.0, 0.7)])
def test_concat_of_mixed_scales(factors):
    """Bound: half a unit of the 16 bits of the largest part, and the rounding of the fraction, below 2**-11 of it."""
    def build(e, x):
        return e.call(aten.cat.default, [e.call(aten.mul.Scalar, x, f) for f in factors], 1)

    model = integer_model(graph(build, X.shape), X)
    seen, largest = model.seen(X), max(map(abs, factors))
    assert_within(model(X), torch.cat([seen * f for f in factors], 1), 1.1 * largest / 32767)


def test_concat_with_a_zero_part():
    def build(e, x):
        return e.call(aten.cat.default, [x, e.call(aten.mul.Scalar, x, 0.0)], 1)

    model = integer_model(graph(build, X.shape), X)
    seen = model.seen(X)
    assert_within(model(X), torch.cat([seen, seen * 0], 1), 1.1 / 32767)


@pytest.mark.parametrize("axis", [0, -4])
def test_concat_along_the_batch_is_refused(axis):
    with pytest.raises(UnsupportedOperatorError, match="it joins along the batch axis"):
        prepare(graph(lambda e, x: e.call(aten.cat.default, [x, x], axis), X.shape))


@pytest.mark.parametrize("shape, build", [
    ((4, -1), lambda e, x: e.call(aten.slice.Tensor, x, 0, 1, 4, 2)),
    ((4, -1), lambda e, x: e.call(aten.flip.default, x, [0])),
    ((4, -1), lambda e, x: e.call(aten.cat.default, [x, e.call(aten.neg.default, x)], 0)),
    ((4, 3, -1), lambda e, x: e.call(aten.flip.default, e.call(aten.slice.Tensor, x, 0, 1, 3, 1), [0, 1]))])
def test_a_fixed_axis_before_the_batch(shape, build):
    """Axis 0 is no batch here: the operators are exact along it. Oracle: the float graph on the quantized input."""
    module = graph(build, shape)
    check_exact(build, shape, lambda x: module(x)[0])


@pytest.mark.parametrize("build, reason", [
    (lambda e, x: e.call(aten.slice.Tensor, x, 1, 0, 1, 2), "cuts"),
    (lambda e, x: e.call(aten.narrow.default, x, -1, 0, 2), "cuts"),
    (lambda e, x: e.call(aten.cat.default, [x, x], 1), "joins along"),
    (lambda e, x: e.call(aten.flip.default, x, [1]), "reverses")])
def test_another_batch_axis_is_refused(build, reason):
    module = graph(build, (4, 3))
    set_facts(input_nodes(module.graph)[0], batch_axis=1)
    with pytest.raises(UnsupportedOperatorError, match=f"it {reason} the batch axis"):
        prepare(module)


@pytest.mark.parametrize("axes", [[1], [2, 3], [-1], [1, -1, 2]])
def test_reversals_are_exact(axes):
    """Oracle: torch's flip of the quantized input."""
    model = integer_model(unary(aten.flip.default, axes, shape=X.shape), X)
    assert operators(model.module) == ["strided_slice"]
    for x in (X, draw(5, 3, 6, 5)):
        assert torch.equal(model(x), model.seen(x).flip(axes))


@pytest.mark.parametrize("axes, expected", [([], []), ([1], []), ([1, 2], [2]), ([-1, -2], [2, 3])])
def test_single_axes_are_not_reversed(axes, expected):
    module = unary(aten.flip.default, axes, shape=(2, 1, 4, 5))
    after = rewritten(module)
    assert [n.args[1] for n in after.graph.nodes if n.op == "call_function"] == ([expected] if expected else [])
    assert_same_values(module, after, draw(3, 1, 4, 5), tolerance=0)


def test_a_reversal_of_the_batch_is_refused():
    with pytest.raises(UnsupportedOperatorError, match="it reverses the batch axis"):
        prepare(unary(aten.flip.default, [0], shape=X.shape))


@pytest.mark.parametrize("arguments", [(1, 0, 2), (2, -3, 2), (-1, 1, 4), (0, 0, 2)])
def test_slice_axis_is_a_slice(arguments):
    """Oracle: torch's narrow; the whole batch is no part of it."""
    module = unary(aten.narrow.default, *arguments, shape=X.shape)
    assert operators(prepare(module)) == ([] if arguments[0] == 0 else ["slice"])
    assert_same_values(module, prepare(module), X, tolerance=0)


@pytest.mark.parametrize("arguments, reason", [((0, 0, 1), "cuts the batch"), ((1, 1, 0), "takes nothing")])
def test_slice_axes_that_are_refused(arguments, reason):
    with pytest.raises(UnsupportedOperatorError, match=reason):
        prepare(unary(aten.narrow.default, *arguments, shape=X.shape))


def test_a_concat_of_one_is_its_input():
    assert operators(rewritten(graph(lambda e, x: e.call(aten.cat.default, [x], 1), X.shape))) == []


def test_a_concat_of_constants_and_activations():
    """Bound: half a unit of 16 bits of the largest part, and the rounding of the fraction."""
    before, after = draw(1, 1, 6, 5, magnitude=0.3), draw(1, 2, 6, 5, magnitude=2.0)

    def build(e, x):
        first, last = (e.call(BROADCAST_LIKE, e.constant("part", part), x, [0], [0]) for part in (before, after))
        return e.call(aten.cat.default, [first, x, last], 1)

    model = integer_model(graph(build, X.shape), X)
    for x in (X, draw(5, 3, 6, 5)):
        wide = [part.expand(len(x), -1, -1, -1) for part in (before, after)]
        assert_within(model(x), torch.cat([wide[0], model.seen(x), wide[1]], 1), 2.1 / 32767)


@pytest.mark.parametrize("target, arguments, expected", [
    (aten.slice.Tensor, (2, 1, 4, 1), 2 * 3 * 3 * 5), (aten.flip.default, ([1],), 2 * 3 * 6 * 5)])
def test_operations(target, arguments, expected):
    """mrt-core 8: the output elements."""
    module = unary(target, *arguments, shape=X.shape)
    assert apply_pass("calculate_ops", next(n for n in module.graph.nodes if n.op == "call_function")) == expected
