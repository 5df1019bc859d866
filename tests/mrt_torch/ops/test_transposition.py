"""Transposes: merged, cancelled and moved towards the outputs, exactly."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.ops import apply_pass
from mrt_torch.passes import fuse_transpose, prepare
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    transposed,
    unary,
)

PERMUTE = aten.permute.default
X = draw(2, 3, 4, 5)
LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]  # channels to the end, and back


def permuted(module):
    """Axes of the permute nodes that are left."""
    return [list(n.args[1]) for n in module.graph.nodes if n.target is PERMUTE]


def check(module, expected, *inputs):
    """The operators left by fuse_transpose, exact values, and that a second run finds nothing to do."""
    after = transposed(module)
    assert operators(after) == expected
    assert_same_values(module, after, *(inputs or (X,)), tolerance=1e-15)
    assert run_pass(after, fuse_transpose, Stage.FLOAT).firings == 0
    return after


def chain(*steps, shape=(2, 3, 4, 5)):
    """Graph of operators one after another; a step is a target with its arguments."""
    def build(e, x):
        for target, *arguments in steps:
            x = e.call(target, x, *arguments)
        return x
    return graph(build, shape)


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


ELEMENTWISE = [(aten.relu.default,), (aten.leaky_relu.default, 0.1), (aten.clamp.default, -0.3, 0.5),
               (aten.dropout.default, 0.5, False), (aten.sigmoid.default,), (aten.tanh.default,), (aten.exp.default,),
               (aten.mul.Scalar, 3.0), (aten.add.Scalar, 3.0), (aten.sub.Scalar, 3.0), (aten.rsub.Scalar, 3.0),
               (aten.div.Scalar, 3.0)]


@pytest.mark.parametrize("step", ELEMENTWISE, ids=lambda step: step[0]._opname)
def test_elementwise_operators_trade_places(step):
    """X -> Transpose -> f becomes X -> f -> Transpose, and then meets its inverse."""
    name = step[0]._opname
    check(chain((PERMUTE, LAST), step), [name, "permute"])
    check(chain((PERMUTE, LAST), step, (PERMUTE, FIRST)), [name])


def test_a_whole_tower_trades_places():
    check(chain((PERMUTE, LAST), *ELEMENTWISE[:3], (PERMUTE, FIRST)), ["relu", "leaky_relu", "clamp"])


@pytest.mark.parametrize("step", [(aten.softmax.int, 1), (aten.flatten.using_ints, 1, 2),
                                  (aten.slice.Tensor, 1, 0, 2, 1), (aten.max_pool2d.default, [2, 2]),
                                  (aten.constant_pad_nd.default, [1, 1], 0.0)],
                         ids=lambda step: step[0]._opname)
def test_operators_with_axes_stay(step):
    check(chain((PERMUTE, LAST), step), ["permute", step[0]._opname])


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
        return e.call(PERMUTE, e.call(PERMUTE, t, FIRST), FIRST), e.call(aten.softmax.int, t, 1)

    module = graph(build, X.shape)
    after = transposed(module)
    assert_same_values(module, after, X, tolerance=0)
    assert sorted(operators(after)) == ["permute", "permute", "softmax"]


@pytest.mark.parametrize("target", [aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.maximum.default,
                                    aten.minimum.default, aten.div.Tensor])
def test_equal_transposes_sink_below_two_operands(target):
    def build(e, x):
        return e.call(target, e.call(PERMUTE, e.call(aten.exp.default, x), LAST), e.call(PERMUTE, x, LAST))

    check(graph(build, X.shape), ["exp", target._opname, "permute"])


def test_one_transpose_as_both_operands_sinks():
    def build(e, x):
        t = e.call(PERMUTE, x, LAST)
        return e.call(aten.mul.Tensor, t, t)

    check(graph(build, X.shape), ["mul", "permute"])


def near_miss_axes(e, x):
    return e.call(aten.add.Tensor, e.call(PERMUTE, e.call(aten.exp.default, x), LAST), e.call(PERMUTE, x, FIRST))


def near_miss_one_operand(e, x):
    return e.call(aten.add.Tensor, e.call(PERMUTE, e.call(aten.exp.default, x), LAST), x)


def near_miss_reader(e, x):
    t = e.call(PERMUTE, e.call(aten.exp.default, x), LAST)
    return e.call(aten.add.Tensor, t, e.call(PERMUTE, x, LAST)), e.call(aten.softmax.int, t, 1)


def near_miss_shapes(e, x):
    return e.call(aten.add.Tensor, e.call(PERMUTE, x, LAST), e.call(PERMUTE, e.call(aten.mean.dim, x, [2], True), LAST))


@pytest.mark.parametrize("build", [near_miss_axes, near_miss_one_operand, near_miss_reader, near_miss_shapes])
def test_other_transposes_do_not_sink(build):
    """Other axes, one operand only, another reader, broadcasting."""
    x = draw(2, 3, 3, 3)
    module = graph(build, x.shape)
    after = transposed(module)
    assert_same_values(module, after, x, tolerance=1e-15)
    assert permuted(after) == permuted(module)
    assert next(n for n in after.graph.nodes if n.target is aten.add.Tensor).args[0].target is PERMUTE


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_equal_transposes_sink_below_a_concat(axis):
    """mrt-core 8: the concat is then along axes[dim]."""
    def build(e, x):
        parts = [e.call(PERMUTE, e.call(target, x), LAST) for target in (aten.exp.default, aten.tanh.default)]
        return e.call(aten.cat.default, parts, axis)

    after = check(graph(build, X.shape), ["exp", "tanh", "cat", "permute"])
    concat = next(n for n in after.graph.nodes if n.target is aten.cat.default)
    assert concat.args[1] == LAST[axis]


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("axes", [[1], [2], [3], [1, 2], [2, 3], [1, 3], [-1], [1, 2, 3]])
@pytest.mark.parametrize("target", [aten.sum.dim_IntList, aten.mean.dim, aten.amax.default])
@pytest.mark.parametrize("permutation", [LAST, FIRST, [0, 3, 2, 1]])
def test_reductions_trade_places(target, axes, keepdim, permutation):
    """mrt-core 9.7: reduce the mapped axes, then transpose what is left. Sums in another order: 1e-15."""
    module = chain((PERMUTE, permutation), (target, axes, keepdim))
    after = transposed(module)
    assert operators(after)[0] == target._opname
    assert_same_values(module, after, X, tolerance=1e-14)
    assert run_pass(after, fuse_transpose, Stage.FLOAT).firings == 0
    if not keepdim and len(axes) > 1:
        assert len(permuted(after)) <= 1


def test_a_reduction_of_a_transpose_with_two_readers_stays():
    def build(e, x):
        t = e.call(PERMUTE, x, LAST)
        return e.call(aten.sum.dim_IntList, t, [1], False), e.call(aten.softmax.int, t, 1)

    check(graph(build, X.shape), ["permute", "sum", "softmax"])


STEPS = st.sampled_from([*ELEMENTWISE[:5], (PERMUTE, LAST), (PERMUTE, FIRST), (PERMUTE, [0, 1, 3, 2]), "add", "cat",
                         "sum", "fork"])


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(STEPS, min_size=1, max_size=8))
def test_any_graph_keeps_its_values_and_gets_no_more_transposes(steps):
    """Oracle: the graph before. Sums in another order: 1e-12."""
    def build(e, x):
        outputs = []
        for step in steps:
            if step == "add":
                x = e.call(aten.add.Tensor, x, e.call(aten.tanh.default, x))
            elif step == "cat":
                x = e.call(aten.cat.default, [x, x], 1)
            elif step == "sum":
                x = e.call(aten.sum.dim_IntList, x, [2], True)
            elif step == "fork":
                outputs.append(e.call(aten.relu.default, x))
            else:
                x = e.call(step[0], x, *step[1:])
        return [x, *outputs]

    x = draw(2, 2, 2, 3)
    module = graph(build, x.shape)
    after = transposed(module)
    assert_same_values(module, after, x)
    assert len(permuted(after)) <= len(permuted(module))
    assert run_pass(after, fuse_transpose, Stage.FLOAT).firings == 0


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
