"""Paddings that convolutions take over. Oracle: the graph before."""

from __future__ import annotations

import pytest

from mrt_torch.ops.explanation import Explanation
from mrt_torch.passes import rewrite
from tests.mrt_torch.ops.graphs import assert_same_values, assert_untouched, aten, draw, graph, operators, rewritten


def padded(amounts, value=0.0, row=False, reader=False):
    """A convolution behind a padding, with another reader of it where asked."""
    def build(editor, x):
        border = editor.call(aten.constant_pad_nd.default, x, amounts, value)
        data = editor.call(aten.unsqueeze.default, border, 2) if row else border
        weight = editor.constant("w", draw(5, 3, 1 if row else 2, 3, seed=1))
        result = editor.call(aten.conv2d.default, data, weight, editor.constant("b", draw(5, seed=2)), [1, 2],
                             [0 if row else 1, 0])
        return [result, border] if reader else result
    return graph(build, (2, 3, 8) if row else (2, 3, 7, 8))


@pytest.mark.parametrize("amounts, left, padding", [
    ([2, 2, 1, 1], [], [2, 2]), ([2, 2], [], [1, 2]), ([0, 0, 3, 3], [], [4, 0]), ([1, 2, 2, 2], ["pad"], [3, 0]),
    ([1, 1, 0, 2, 0, 0], ["pad"], [1, 1])])
def test_a_border_of_zeros_is_taken_over(amounts, left, padding):
    """Axis by axis, where it is as wide before as after. Oracle: the graph before; 1e-12 for the order of sums."""
    module, x = padded(amounts), draw(2, 3, 7, 8)
    after = rewritten(module)
    assert operators(after) == ["constant_pad_nd"] * len(left) + ["conv2d"]
    assert next(n for n in after.graph.nodes if n.target is aten.conv2d.default).args[4] == padding
    assert_same_values(module, after, x)


def test_a_border_is_taken_over_through_an_unsqueeze():
    """As F.pad before a 1-D convolution. Oracle: the graph before."""
    module = padded([2, 2], row=True)
    after = rewritten(module)
    assert operators(after) == ["unsqueeze", "conv2d"]
    assert_same_values(module, after, draw(2, 3, 8))


def test_a_border_that_others_read_is_kept_for_them():
    module = padded([1, 1, 1, 1], reader=True)
    after = rewritten(module)
    assert operators(after) == ["conv2d", "constant_pad_nd"] or operators(after) == ["constant_pad_nd", "conv2d"]
    assert_same_values(module, after, draw(2, 3, 7, 8))


@pytest.mark.parametrize("amounts, value", [([1, 1], 0.5), ([1, 2], 0.0), ([-1, -1], 0.0), ([0, 0, 0, 0, 1, 1], 0.0)])
def test_near_misses_keep_their_border(amounts, value):
    """Not of zeros, wider on one side, cropping, or around the channels."""
    if len(amounts) == 6:
        def build(editor, x):
            border = editor.call(aten.constant_pad_nd.default, x, amounts, value)
            return editor.call(aten.conv2d.default, border, editor.constant("w", draw(5, 5, 2, 3)), None)
        assert_untouched(graph(build, (2, 3, 7, 8)), draw(2, 3, 7, 8))
    else:
        assert_untouched(padded(amounts, value), draw(2, 3, 7, 8))


def test_why_a_border_stays():
    explanation = Explanation()
    rewrite(padded([1, 2]), explanation)
    (reason,) = explanation.declined["Convolution"].values()
    assert reason == "the padding before it is not of zeros, or wider on one side"
