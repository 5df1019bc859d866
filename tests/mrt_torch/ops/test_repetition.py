"""tile, repeat and broadcast_to against torch on the quantized input."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.free_axis_models import check_exact
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    rewritten,
    unary,
)

X = draw(2, 3, 4)
REPEAT = aten.repeat_interleave.self_int


@pytest.mark.parametrize("reps", [[1, 2, 3], [1, 1, 5], [1, 2, 1]])
def test_tiles_are_exact(reps):
    """Oracle: torch's repeat of the quantized input, also at another batch."""
    model = integer_model(unary(aten.repeat.default, reps, shape=X.shape), X)
    assert operators(model.module) == ["tile"]
    for x in (X, draw(5, 3, 4)):
        assert torch.equal(model(x), model.seen(x).repeat(reps))


@pytest.mark.parametrize("reps", [[1, 1, 4099], [1, 5000, 1], [1, 2, 4097]])
def test_more_than_the_runtime_tiles(reps):
    """Counts beyond 4096 go by repeat, which has no such limit."""
    model = integer_model(unary(aten.repeat.default, reps, shape=(1, 2, 1)), draw(1, 2, 1))
    assert "repeat" in operators(model.module)
    x = draw(2, 2, 1, seed=4)
    assert torch.equal(model(x), model.seen(x).repeat(reps))


@pytest.mark.parametrize("count", [3, 4097])
def test_tile_along_a_fixed_axis_before_the_batch(count):
    """The batch is axis 1 of (4, N); tiled beyond 4096 too."""
    check_exact(lambda e, x: e.call(aten.repeat.default, x, [count, 1]), (4, -1), lambda x: x.repeat(count, 1))


@pytest.mark.parametrize("shape, reps", [((2, 3), [2, 1]), ((-1, 3), [2, 1]), ((3, -1), [1, 2]), ((3, -1), [4, 1, 2])])
def test_a_tile_of_the_batch_is_refused(shape, reps):
    with pytest.raises(UnsupportedOperatorError, match="it tiles the batch axis"):
        prepare(unary(aten.repeat.default, reps, shape=shape))


@pytest.mark.parametrize("count, axis", [(2, 1), (3, -1), (2, 0), (5, None), (1, None), (4097, 2)])
def test_repeats_are_exact(count, axis):
    """Oracle: torch's repeat_interleave; along the batch every sample is repeated in its place."""
    model = integer_model(unary(REPEAT, count, axis, shape=X.shape), X)
    for x in (X, draw(5, 3, 4)):
        assert torch.equal(model(x), model.seen(x).repeat_interleave(count, axis))


def test_repeat_of_a_fixed_axis_before_the_batch():
    assert check_exact(lambda e, x: e.call(REPEAT, x, 3, 0), (4, -1), lambda x: x.repeat_interleave(3, 0)) == ["repeat"]


@pytest.mark.parametrize("target, arguments", [(aten.repeat.default, ([1, 1, 1],)), (REPEAT, (1, 1)),
                                               (aten.expand.default, ([-1, 3, 4],))])
def test_what_repeats_nothing_vanishes(target, arguments):
    assert operators(rewritten(unary(target, *arguments, shape=X.shape))) == []


@pytest.mark.parametrize("target, arguments", [(aten.repeat.default, ([1, 1, 0],)), (REPEAT, (0, 1))])
def test_nothing_is_refused(target, arguments):
    with pytest.raises(UnsupportedOperatorError, match="leaves nothing"):
        prepare(unary(target, *arguments, shape=X.shape))


@pytest.mark.parametrize("shape, sizes", [((2, 1, 4), [-1, 5, 4]), ((2, 1, 1), [-1, 3, 7]), ((2, 1, 1), [-1, 3, 5000])])
def test_broadcasts_are_exact(shape, sizes):
    """Oracle: torch's expand of the quantized input."""
    model = integer_model(unary(aten.expand.default, sizes, shape=shape), draw(*shape))
    x = draw(5, *shape[1:], seed=2)
    assert torch.equal(model(x), model.seen(x).expand(sizes))


@pytest.mark.parametrize("shape, sizes", [((1, -1), [6, -1]), ((-1, 4), [3, -1, 4]), ((1, 4, -1), [5, 4, -1])])
def test_broadcasts_before_the_batch(shape, sizes):
    """The batch stands behind the axis that grows, or behind a new one."""
    check_exact(lambda e, x: e.call(aten.expand.default, x, sizes), shape, lambda x: x.expand(sizes))


def test_a_broadcast_whose_reader_broadcasts_vanishes():
    """x + expand(c) and x * expand(mean): the addition repeats by itself. Oracle: the graph before."""
    def build(e, x):
        c = e.call(aten.expand.default, e.constant("c", draw(3, 1)), [3, 4])
        mean = e.call(aten.expand.default, e.call(aten.mean.dim, x, [2], True), [-1, 3, 4])
        return e.call(aten.mul.Tensor, e.call(aten.add.Tensor, x, c), mean)

    module = graph(build, X.shape)
    after = rewritten(module)
    assert "expand" not in operators(after)
    assert_same_values(module, after, draw(5, 3, 4), tolerance=0)


def test_a_broadcast_that_gives_the_shape_stays():
    """Near misses: both operands grow, and another reader needs the whole."""
    def both(e, x):
        return e.call(aten.add.Tensor, e.call(aten.expand.default, x, [-1, 3, 4]), e.constant("c", draw(3, 1)))

    def another(e, x):
        wide = e.call(aten.expand.default, x, [-1, 3, 4])
        total = e.call(aten.add.Tensor, wide, e.constant("c", draw(2, 3, 4)))
        return total, e.call(aten.flatten.using_ints, wide, 1, 2)

    for build in (both, another):
        module = graph(build, (2, 1, 4))
        assert "expand" in operators(rewritten(module))
        assert_same_values(module, rewritten(module), draw(2, 1, 4), tolerance=0)


def test_a_constant_too_large_to_fold_is_made_at_run_time():
    """A row of 3 tiled to millions of elements: the integer model holds 3 numbers. Oracle: torch."""
    def build(e, x):
        wide = e.call(aten.repeat.default, e.constant("row", draw(1, 3)), [1500000, 1])
        return e.call(aten.add.Tensor, x, e.call(aten.amax.default, wide, [0], True))

    module = graph(build, (2, 3))
    model = integer_model(module, draw(2, 3))
    assert sum(b.numel() for b in model.module.buffers()) < 20
    assert "repeat" in operators(model.module)  # a tile goes to 4096
    assert float((model(draw(2, 3)) - module(draw(2, 3))[0]).abs().max()) < 0.02


@pytest.mark.parametrize("target, arguments, expected", [
    (aten.repeat.default, ([1, 2, 3],), 2 * 3 * 4 * 6), (REPEAT, (5, 1), 2 * 3 * 4 * 5),
    (aten.expand.default, ([7, -1, -1, -1],), 7 * 2 * 3 * 4)])
def test_operations(target, arguments, expected):
    """mrt-core 8: the output elements."""
    module = unary(target, *arguments, shape=X.shape)
    assert apply_pass("calculate_ops", next(n for n in module.graph.nodes if n.op == "call_function")) == expected
