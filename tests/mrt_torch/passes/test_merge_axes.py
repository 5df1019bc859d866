"""Transposes of more than six axes. Oracle: the graph before, exactly."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.passes import merge_axes, prepare
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, integer_model, operators


def windows(axes, inner, outer, shape):
    """reshape to ``inner``, transpose, reshape to ``outer``."""
    def build(e, x):
        moved = e.call(aten.permute.default, e.call(aten.reshape.default, x, inner), axes)
        return e.call(aten.reshape.default, moved, outer)
    return graph(build, shape)


def most_axes(module):
    return max(len(shape_of(node)) for node in module.graph.nodes if node.op == "call_function")


CASES = {  # axes, inner shape, outer shape, input shape; how many transposes are left
    "volume windows": ([0, 1, 3, 5, 2, 4, 6, 7], [-1, 2, 2, 2, 3, 2, 2, 4], [-1, 384], (2, 4, 6, 16), 1),
    "merged axes": ([0, 4, 5, 6, 1, 2, 3], [-1, 2, 3, 2, 2, 2, 3], [-1, 12, 12], (2, 12, 12), 1),
    "single axes": ([0, 2, 4, 6, 1, 3, 5], [-1, 2, 1, 3, 1, 2, 1], [-1, 12], (2, 12), 0),
    "nothing moves": ([0, 1, 3, 2, 4, 5, 6], [-1, 2, 1, 3, 2, 2, 2], [-1, 48], (2, 48), 0),
    "batch in the middle": ([1, 2, 0, 4, 3, 6, 5], [-1, 2, 3, 2, 2, 2, 2], [6, -1, 16], (2, 96), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_six_axes_are_enough(name):
    axes, inner, outer, shape, transposes = CASES[name]
    module = windows(axes, inner, outer, shape)
    after = run_pass(module, merge_axes, Stage.SOURCE).module
    assert most_axes(after) <= 6
    assert operators(prepare(module)).count("permute") == transposes
    for batch in (1, 2, 5):
        assert_same_values(module, after, draw(batch, *shape[1:]), tolerance=0)
    assert run_pass(after, merge_axes, Stage.SOURCE).firings == 0


def test_quantized():
    axes, inner, outer, shape, _ = CASES["volume windows"]
    module = windows(axes, inner, outer, shape)
    model = integer_model(module, draw(*shape))
    for batch in (1, 3):
        x = draw(batch, *shape[1:])
        assert torch.equal(model(x), module(model.seen(x))[0])


@settings(deadline=None, max_examples=40)
@given(axes=st.permutations(range(8)), single=st.sets(st.integers(1, 7), max_size=3), batch=st.integers(1, 3))
def test_any_order(axes, single, batch):
    """More than six blocks that all move go one after another."""
    inner = [1 if axis in single else 2 for axis in range(8)]
    inner[0] = -1
    count = 2 ** (7 - len(single))
    module = windows(axes, inner, [-1, count], (2, count)) if axes[0] == 0 else windows(axes, inner, [-1], (2, count))
    after = run_pass(module, merge_axes, Stage.SOURCE).module
    assert most_axes(after) <= 6
    (output,) = after(draw(batch, count))
    assert torch.equal(output, draw(batch, count).reshape([batch, *inner[1:]]).permute(*axes).reshape(output.shape))


def test_six_axes_stay():
    module = windows([0, 2, 4, 1, 3, 5], [-1, 2, 2, 2, 2, 2], [-1, 32], (2, 32))
    assert run_pass(module, merge_axes, Stage.SOURCE).firings == 0


def test_values_of_seven_axes_that_are_computed_with_are_refused():
    def build(e, x):
        y = e.call(aten.relu.default, e.call(aten.reshape.default, x, [-1, 2, 2, 2, 2, 2, 2]))
        return e.call(aten.reshape.default, e.call(aten.permute.default, y, [0, *range(6, 0, -1)]), [-1, 64])

    with pytest.raises(UnsupportedOperatorError, match="7 axes; the runtime takes 6"):
        prepare(graph(build, (2, 64)))


def test_all_orders_of_four_blocks():
    """Each of them is one transpose, or none. Oracle: torch."""
    for order in itertools.permutations(range(1, 4)):
        axes = [0, *itertools.chain.from_iterable((2 * block - 1, 2 * block) for block in order)]
        module = windows(axes, [-1, 2, 3, 2, 2, 3, 2], [-1, 144], (2, 144))
        assert_same_values(module, prepare(module), draw(3, 144), tolerance=0)
        assert operators(prepare(module)).count("permute") == (order != (1, 2, 3))
