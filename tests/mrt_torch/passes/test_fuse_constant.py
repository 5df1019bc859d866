"""Constants are folded exactly, by running the operators themselves."""

from __future__ import annotations

import operator

import pytest
import torch

from mrt_torch.graph.editor import output_nodes, tensor_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.passes import fuse_constant
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, operators


def fused(module):
    return run_pass(module, fuse_constant, Stage.SOURCE)


def test_a_chain_of_constants_becomes_one():
    """Fires once for each operator without an input. Oracle: the graph before, exactly."""
    def build(e, x):
        w = e.call(aten.reshape.default, e.constant("w", draw(4, 3)), [2, 6])
        w = e.call(aten.mul.Scalar, e.call(aten.neg.default, w), 2.0)
        return e.call(aten.linear.default, x, w)

    module = graph(build, (2, 6))
    result = fused(module)
    assert (result.firings, operators(result.module)) == (3, ["linear"])
    assert_same_values(module, result.module, draw(2, 6), tolerance=0)
    assert [name for name, _ in result.module.named_buffers()] == ["mul_scalar"]


def test_operators_without_any_input_are_folded():
    """A tensor made in the network, as torch's capture leaves it."""
    def build(e, x):
        made = e.call(aten.full.default, [3], 2.0, dtype=torch.float64)
        made.meta["val"] = made.meta["val"].to("meta")
        return e.call(aten.add.Tensor, x, made)

    module = graph(build, (2, 3))
    assert operators(fused(module).module) == ["add"]
    assert_same_values(module, fused(module).module, draw(2, 3), tolerance=0)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float64])
def test_numbers_above_2_to_the_24_are_exact(dtype):
    """MRT defect 9: the original folded in float32. Oracle: Python integers."""
    values = [2 ** 24 + 1, -(2 ** 30 + 7), 2 ** 31 - 2]
    module = graph(lambda e, x: e.call(aten.neg.default, e.constant("big", torch.tensor(values).to(dtype))), (1, 3))
    result = fused(module).module
    assert tensor_of(result, output_nodes(result.graph)[0]).tolist() == [-value for value in values]
    assert result(draw(1, 3))[0].dtype == dtype


def test_what_reads_an_input_stays():
    module = graph(lambda e, x: e.call(aten.mul.Tensor, e.call(aten.relu.default, x), e.constant("w", draw(3))), (2, 3))
    result = fused(module)
    assert (result.firings, operators(result.module)) == (0, ["relu", "mul"])


def test_a_folded_output_and_a_shared_constant():
    """One constant read twice is folded for both; the output may be a constant."""
    def build(e, x):
        w = e.constant("w", draw(3))
        doubled = e.call(aten.mul.Scalar, w, 2.0, name="layer/doubled")
        return e.call(aten.add.Tensor, x, doubled), doubled, e.call(aten.mul.Tensor, x, w)

    module = graph(build, (2, 3))
    result = fused(module)
    assert (result.firings, operators(result.module)) == (1, ["add", "mul"])
    assert_same_values(module, result.module, draw(2, 3), tolerance=0)
    assert source_name(output_nodes(result.module.graph)[1]) == "layer/doubled"


def test_the_given_graph_keeps_its_operators():
    module = graph(lambda e, x: e.call(aten.add.Tensor, x, e.call(aten.neg.default, e.constant("w", draw(3)))), (2, 3))
    before, weight = module.code, module.w.clone()
    fused(module)
    assert module.code == before
    assert torch.equal(module.w, weight)


@pytest.mark.parametrize("value", [torch.tensor([True, False]), torch.tensor([3, -2 ** 40]),
                                   torch.tensor([1, 2], dtype=torch.int32)])
def test_booleans_and_integers_are_folded(value):
    """Masks and indices keep their dtype. Oracle: torch."""
    module = graph(lambda e, x: e.call(aten.flip.default, e.constant("v", value), [0]), (1, 3))
    result = fused(module).module
    folded = tensor_of(result, output_nodes(result.graph)[0])
    assert torch.equal(folded, value.flip(0)) and folded.dtype == value.dtype


def test_comparisons_are_folded_to_booleans():
    module = graph(lambda e, x: e.call(aten.gt.Scalar, e.constant("v", draw(3)), 0.0), (1, 3))
    assert tensor_of(fused(module).module, output_nodes(fused(module).module.graph)[0]).dtype is torch.bool


def test_what_is_made_like_an_input_follows_the_batch():
    """zeros_like of an input is no constant: folded, it would fix the batch."""
    module = graph(lambda e, x: e.call(aten.add.Tensor, x, e.call(aten.zeros_like.default, x)), (2, 3))
    assert fused(module).firings == 0
    assert_same_values(module, fused(module).module, draw(5, 3), tolerance=0)


def test_one_output_of_several_is_folded():
    def build(e, x):
        parts = e.call(aten.meshgrid.indexing, [e.constant("a", draw(2)), e.constant("b", draw(3))], indexing="ij")
        return e.call(aten.add.Tensor, x, e.call(operator.getitem, parts, 1))

    module = graph(build, (2, 3))
    assert operators(fused(module).module) == ["add"]
    assert_same_values(module, fused(module).module, draw(2, 3), tolerance=0)


def test_a_constant_that_would_blow_up_stays():
    """Millions of elements made of three: left to the run time. Near miss: a few thousand are folded."""
    def build(times):
        return graph(lambda e, x: e.call(aten.repeat.default, e.constant("row", draw(1, 3)), [times, 1]), (1, 3))

    assert (fused(build(2_000_000)).firings, fused(build(2_000)).firings) == (0, 1)


def test_random_numbers_stay():
    """Folded, they would be the same ever after."""
    def build(e, x):
        return e.call(aten.add.Tensor, x, e.call(aten.rand_like.default, e.constant("w", draw(3))))

    module = graph(build, (2, 3))
    assert fused(module).firings == 0


def test_a_fixed_point_is_reached_at_once():
    def build(e, x):
        w = e.constant("w", draw(4, 3))
        for _ in range(5):
            w = e.call(aten.neg.default, e.call(aten.permute.default, w, [1, 0]))
        return e.call(aten.add.Tensor, x, e.call(aten.sum.dim_IntList, w, [0], False))

    first = fused(graph(build, (2, 4)))
    assert first.firings == 11 and fused(first.module).firings == 0
