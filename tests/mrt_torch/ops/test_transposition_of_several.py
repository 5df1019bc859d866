"""Transposes moved below operators of several tensors, constants among them, and below whatever comes, exactly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.ops import Explanation
from mrt_torch.passes import fuse_transpose, simplify
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, operators, transposed
from tests.mrt_torch.ops.transposed_graphs import BY_AXIS, ELEMENTWISE, FIRST, LAST, PERMUTE, X, chain, check, permuted

CONSTANTS = [(3,), (1,), (), (5, 3), (4, 1, 1), (1, 4, 5, 3), (4, 5, 3)]


@pytest.mark.parametrize("shape", CONSTANTS, ids=str)
@pytest.mark.parametrize("target", [aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.maximum.default])
def test_constants_are_transposed_back(target, shape):
    """T(X) + c = T(X + T^-1(c)), whatever the axes of c. Oracle: the graph before, at two batches."""
    def build(e, x):
        return e.call(target, e.constant("c", draw(*shape) if shape else draw(1)[0]), e.call(PERMUTE, x, LAST))

    module = graph(build, X.shape)
    after = check(module, [target._opname, "permute"])
    assert_same_values(module, after, draw(5, 3, 4, 5), tolerance=0)


def test_a_constant_of_more_axes_stays():
    """It gives the result an axis that the transpose does not know."""
    def build(e, x):
        return e.call(aten.add.Tensor, e.call(PERMUTE, x, [0, 2, 1]), e.constant("c", draw(2, 1, 4, 1)))

    check(graph(build, (3, 5, 4)), ["permute", "add"], draw(3, 5, 4))


def test_constants_beside_transposes_in_a_concat():
    def build(e, x):
        c = e.constant("c", draw(2, 4, 1, 3))
        return e.call(aten.cat.default, [e.call(PERMUTE, x, LAST), c], 2)

    after = check(graph(build, X.shape), ["cat", "permute"])
    assert next(n for n in after.graph.nodes if n.target is aten.cat.default).args[1] == 3


def test_operands_of_one_rank_broadcast_below():
    """The transposes of a tensor and of its mean: both sink, although the shapes differ."""
    def build(e, x):
        return e.call(aten.mul.Tensor, e.call(PERMUTE, e.call(aten.tanh.default, x), LAST),
                      e.call(PERMUTE, e.call(aten.mean.dim, x, [2, 3], True), LAST))

    check(graph(build, X.shape), ["tanh", "mean", "mul", "permute"])


def test_reasons_of_one_operand():
    def build(e, x):
        t = e.call(PERMUTE, x, LAST)
        other = e.call(PERMUTE, e.call(aten.exp.default, x), LAST)
        return e.call(aten.relu.default, t), e.call(aten.flatten.using_ints, other, 1, 3), t

    explanation = Explanation()
    fuse_transpose(graph(build, X.shape), explanation)
    assert list(explanation.declined["Relu"].values()) == ["others read the transpose before it"]
    assert list(explanation.declined["Flatten"].values()) == [
        "it merges or splits axes that the transpose before it takes apart"]


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


@pytest.mark.parametrize("build", [near_miss_axes, near_miss_one_operand, near_miss_reader])
def test_other_transposes_do_not_sink(build):
    """Other axes, one operand only, another reader."""
    x = draw(2, 3, 3, 3)
    module = graph(build, x.shape)
    after = transposed(module)
    assert_same_values(module, after, x, tolerance=1e-15)
    assert permuted(after) == permuted(module)
    assert next(n for n in after.graph.nodes if n.target is aten.add.Tensor).args[0].target is PERMUTE


@pytest.mark.parametrize("build, reason", [
    (near_miss_axes, "the transposes before it differ"),
    (near_miss_one_operand, "not all of its inputs are transposed"),
    (near_miss_reader, "others read a transpose before it")])
def test_reasons_are_given(build, reason):
    """Of the transposes that stay (mrt-torch inspect --explain)."""
    explanation = Explanation()
    fuse_transpose(graph(build, (2, 3, 3, 3)), explanation)
    assert reason in explanation.declined["BroadcastAdd"].values()


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


STEPS = st.sampled_from([
    *ELEMENTWISE[:5], *BY_AXIS, (PERMUTE, LAST), (PERMUTE, FIRST), (PERMUTE, [0, 1, 3, 2]), (PERMUTE, [1, 0, 2, 3]),
    "add", "constant", "scalar row", "cat", "cat constant", "sum", "max", "fork", "merge", "split", "unsqueeze",
    "swap"])


def take_step(e, x, step, outputs):
    """One more operator on ``x``; steps with a name need more than a target."""
    shape = shape_of(x)
    if step == "add":
        return e.call(aten.add.Tensor, x, e.call(aten.tanh.default, x))
    if step == "constant":
        every_other = (1 if axis % 2 else extent for axis, extent in enumerate(shape))
        return e.call(aten.mul.Tensor, x, e.constant("c", draw(*every_other)))
    if step == "scalar row":
        return e.call(aten.sub.Tensor, e.constant("c", draw(shape[-1])), x)
    if step == "cat":
        return e.call(aten.cat.default, [x, x], 1)
    if step == "cat constant":
        return e.call(aten.cat.default, [e.constant("c", draw(*shape)), x], 2)
    if step in ("sum", "max"):
        return e.call(aten.sum.dim_IntList if step == "sum" else aten.amax.default, x, [2], True)
    if step == "merge":
        return e.call(aten.unsqueeze.default, e.call(aten.flatten.using_ints, x, 1, 2), 3)
    if step == "split":
        return e.call(aten.flatten.using_ints, e.call(aten.reshape.default, x, [*shape[:3], 1, shape[3]]), 2, 3)
    if step == "unsqueeze":
        return e.call(aten.squeeze.dims, e.call(PERMUTE, e.call(aten.unsqueeze.default, x, 1), [0, 2, 1, 4, 3]), [2])
    if step == "swap":
        return e.call(PERMUTE, x, [0, 2, 1, 3])
    if step == "fork":
        outputs.append(e.call(aten.relu.default, x))
        return x
    return e.call(step[0], x, *step[1:])


@settings(deadline=None, max_examples=100)
@given(steps=st.lists(STEPS, min_size=1, max_size=7), shape=st.tuples(*[st.integers(1, 3)] * 4))
def test_any_graph_keeps_its_values_and_gets_no_more_transposes(steps, shape):
    """Oracle: the graph before. Sums in another order: 1e-12. A second run finds nothing to do."""
    def build(e, x):
        outputs = []
        for step in steps:
            x = take_step(e, x, step, outputs)
        return [x, *outputs]

    module = graph(build, shape)
    after = transposed(module)
    assert_same_values(module, after, draw(*shape))
    assert len(permuted(after)) <= len(permuted(module))
    assert run_pass(after, fuse_transpose, Stage.FLOAT).firings == 0


@settings(deadline=None, max_examples=40)
@given(steps=st.lists(STEPS, min_size=1, max_size=7), shape=st.tuples(*[st.integers(1, 3)] * 4))
def test_all_rules_together_reach_a_fixed_point(steps, shape):
    """fuse_transpose, rewrite and fuse_constant in turns. Oracle: the graph before, at two batches."""
    def build(e, x):
        outputs = []
        for step in steps:
            x = take_step(e, x, step, outputs)
        return [x, *outputs]

    module = graph(build, shape)
    after = run_pass(module, simplify, Stage.FLOAT).module
    assert_same_values(module, after, draw(*shape))
    assert len(permuted(after)) <= len(permuted(module))
    assert run_pass(after, simplify, Stage.FLOAT).firings == 0
