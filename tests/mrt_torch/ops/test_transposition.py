"""Transposes: merged, cancelled and moved below operators of one tensor, exactly."""

from __future__ import annotations

import itertools

import pytest
import torch

from mrt_torch.graph.editor import GraphEditor
from mrt_torch.ops import Explanation, apply_pass, reverse_sequence
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    rewritten,
    transposed,
    unary,
)
from tests.mrt_torch.ops.transposed_graphs import BY_AXIS, ELEMENTWISE, FIRST, LAST, PERMUTE, X, chain, check, permuted


@pytest.mark.parametrize("first, second", list(itertools.product([LAST, FIRST, [0, 1, 3, 2], [0, -1, 1, 2]], repeat=2)))
def test_two_transposes_merge(first, second):
    """mrt-core 8: axes3[j] = axes1[axes2[j]]; nothing is left where that is the identity."""
    merged = [first[axis] % 4 for axis in second]
    expected = [] if merged == [0, 1, 2, 3] else ["permute"]
    after = check(chain((PERMUTE, first), (PERMUTE, second)), expected)
    assert permuted(after) == ([merged] if expected else [])


def test_a_transpose_that_changes_nothing_vanishes():
    check(chain((PERMUTE, [0, 1, -2, -1])), [])


def test_three_transposes_merge_into_one():
    assert permuted(check(chain((PERMUTE, LAST), (PERMUTE, LAST), (PERMUTE, [0, 1, 3, 2])), ["permute"]))


@pytest.mark.parametrize("step", ELEMENTWISE, ids=lambda step: step[0]._opname)
def test_elementwise_operators_trade_places(step):
    """X -> Transpose -> f becomes X -> f -> Transpose, and then meets its inverse."""
    name = step[0]._opname
    check(chain((PERMUTE, LAST), step), [name, "permute"])
    check(chain((PERMUTE, LAST), step, (PERMUTE, FIRST)), [name])


def test_a_whole_tower_trades_places():
    check(chain((PERMUTE, LAST), *ELEMENTWISE[:3], (PERMUTE, FIRST)), ["relu", "leaky_relu", "clamp"])


@pytest.mark.parametrize("step", [(aten.flatten.using_ints, 1, 3), (aten.reshape.default, [-1, 4, 15]),
                                  (aten.max_pool2d.default, [2, 2])], ids=lambda step: step[0]._opname)
def test_operators_that_need_their_axes_stay(step):
    """A reshape of axes that the transpose takes apart, and windows."""
    check(chain((PERMUTE, LAST), step), ["permute", step[0]._opname])


@pytest.mark.parametrize("step", BY_AXIS, ids=lambda step: step[0]._opname)
@pytest.mark.parametrize("axes", [LAST, FIRST, [0, 3, 2, 1]], ids=str)
def test_operators_with_axes_trade_places(step, axes):
    """The axis follows its extent."""
    name = step[0]._opname
    check(chain((PERMUTE, axes), step), [name, "permute"])
    back = sorted(range(4), key=axes.__getitem__)
    check(chain((PERMUTE, axes), step, (PERMUTE, back)), [name])


def test_broadcast_to_trades_places():
    check(chain((PERMUTE, LAST), (aten.expand.default, [-1, 7, 5, -1]), shape=(2, 3, 1, 5)), ["expand", "permute"],
          draw(2, 3, 1, 5))


RESHAPES = [(LAST, (aten.reshape.default, [-1, 20, 3]), "reshape"), (LAST, (aten.flatten.using_ints, 1, 2), "reshape"),
            (LAST, (aten.unsqueeze.default, 2), "reshape"), (LAST, (aten.reshape.default, [-1, 2, 2, 5, 3]), "reshape"),
            ([0, 1, 3, 2], (aten.reshape.default, [-1, 3, 20]), None),
            ([0, 1, 3, 2], (aten.reshape.default, [-1, 5, 4]), "reshape"),
            ([1, 0, 2, 3], (aten.reshape.default, [3, -1, 20]), "reshape"),
            ([2, 3, 0, 1], (aten.reshape.default, [20, -1, 3]), "reshape")]


@pytest.mark.parametrize("axes, step, operator", RESHAPES, ids=str)
def test_reshapes_of_axes_that_stay_together_trade_places(axes, step, operator):
    """Merged or split axes are neighbours before the transpose too. One that is not so stays."""
    module = chain((PERMUTE, axes), step)
    if operator is None:
        check(module, ["permute", "reshape"])
        return
    after = check(module, [operator, "permute"])
    for batch in (1, 3):
        assert_same_values(module, after, draw(batch, 3, 4, 5), tolerance=0)


@pytest.mark.parametrize("shape, axes", [((2, 3, 1, 1), LAST), ((2, 1, 4, 5), [0, 2, 1, 3]),
                                         ((2, 1, 1, 7), [0, 3, 1, 2]), ((1, 3, 1, 4), [0, 2, 1, 3])], ids=str)
def test_a_transpose_of_single_axes_is_a_reshape(shape, axes):
    module = chain((PERMUTE, axes), shape=shape)
    after = rewritten(module)
    assert operators(after) == ["reshape"]
    assert_same_values(module, after, draw(5, *shape[1:]), tolerance=0)


def test_a_single_batch_is_no_single_axis():
    """Near miss: with one sample the batch has extent 1, but it moves."""
    module = chain((PERMUTE, [1, 0, 2]), shape=(1, 3, 4))
    after = rewritten(module)
    assert operators(after) == ["permute"]
    assert_same_values(module, after, draw(5, 3, 4), tolerance=0)


@pytest.mark.parametrize("first, second", [(1, 2), (-1, 0), (3, 3), (0, 1)])
def test_swap_axis_is_a_transpose(first, second):
    """Oracle: torch's transpose, also at another batch."""
    module = chain((aten.transpose.int, first, second))
    after = rewritten(module)
    assert operators(after) == ([] if first == second else ["permute"])
    assert_same_values(module, after, draw(5, 3, 4, 5), tolerance=0)


def test_reverse_sequence_spares_other_readers():
    """The document's example: A -> B -> C and A -> D -> E. B and A change places for C; D still reads A."""
    def build(e, x):
        a = e.call(aten.neg.default, x)
        return (e.call(aten.abs.default, e.call(aten.relu.default, a)),
                e.call(aten.exp.default, e.call(aten.tanh.default, a)))

    module = graph(build, X.shape)
    editor = GraphEditor(module)
    before = module(X)
    b = next(n for n in module.graph.nodes if n.target is aten.relu.default)
    with editor.before(b):
        editor.replace(b, reverse_sequence(b, editor=editor))
    module.recompile()
    # B before A: -relu(x) in C, while D and E see -x as before
    assert torch.equal(module(X)[0], X.relu().neg().abs()) and torch.equal(module(X)[1], before[1])


def test_reverse_sequence_takes_operators_of_one_tensor():
    def build(e, x):
        return e.call(aten.relu.default, e.call(aten.add.Tensor, x, e.constant("c", draw(5))))

    module = graph(build, X.shape)
    node = next(n for n in module.graph.nodes if n.target is aten.relu.default)
    explanation = Explanation()
    assert reverse_sequence(node, editor=GraphEditor(module), explanation=explanation) is node
    explanation.record("Relu", node, False)
    assert "one tensor each" in next(iter(explanation.declined["Relu"].values()))


def test_a_transpose_with_two_readers_stays():
    """mrt-core 9.7: the original moved it for each reader and repeated its name."""
    def build(e, x):
        t = e.call(PERMUTE, x, LAST)
        return e.call(aten.relu.default, t), e.call(aten.tanh.default, t)

    check(graph(build, X.shape), ["permute", "relu", "tanh"])


def test_a_transpose_that_is_an_output_stays():
    check(graph(lambda e, x: (lambda t: [t, e.call(aten.relu.default, t)])(e.call(PERMUTE, x, LAST)), X.shape),
          ["permute", "relu"])


def test_merging_leaves_a_first_transpose_with_other_readers():
    """Its inverse reads the input; the other reader still reads the transpose."""
    def build(e, x):
        t = e.call(PERMUTE, x, LAST)
        return e.call(PERMUTE, e.call(PERMUTE, t, FIRST), FIRST), e.call(aten.max_pool2d.default, t, [2, 2])

    module = graph(build, X.shape)
    after = transposed(module)
    assert_same_values(module, after, X, tolerance=0)
    assert sorted(operators(after)) == ["max_pool2d", "permute", "permute"]


@pytest.mark.parametrize("axes", [LAST, FIRST, [0, 3, 2, 1], [0, -1, 1, 2]])
def test_a_quantized_transpose_is_exact(axes):
    """Oracle: torch's permute of the quantized input."""
    model = integer_model(chain((PERMUTE, axes)), X)
    assert torch.equal(model(X), model.seen(X).permute(axes))


def test_transposes_around_a_convolution():
    """A channels-last island: one transpose before and one after the convolution are left, others vanish."""
    def build(e, x):
        y = e.call(PERMUTE, e.call(aten.relu.default, e.call(PERMUTE, x, FIRST)), LAST)
        y = e.call(aten.conv2d.default, e.call(PERMUTE, y, FIRST), e.constant("w", draw(2, 5, 1, 1)), None)
        return e.call(PERMUTE, y, LAST)

    module = graph(build, X.shape)
    prepared = prepare(module)
    assert_same_values(module, prepared, X)
    assert operators(prepared) == ["relu", "permute", "conv2d", "permute"]


def test_operations():
    node = next(n for n in unary(PERMUTE, LAST).graph.nodes if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == 2 * 3 * 4 * 5
