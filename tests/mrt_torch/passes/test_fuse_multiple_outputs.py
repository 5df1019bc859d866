"""Splits become slices. Oracle: torch's splits."""

from __future__ import annotations

import operator

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.passes import fuse_multiple_outputs, prepare, unsupported
from tests.mrt_torch.ops.free_axis_models import check_exact
from tests.mrt_torch.ops.graphs import assert_same_values, assert_within, aten, draw, graph, integer_model, operators

X = draw(2, 7, 6)
SPLITS = [(aten.split.Tensor, 3, 1), (aten.split.Tensor, 2, -1), (aten.chunk.default, 3, 1), (aten.chunk.default, 4, 2),
          (aten.split_with_sizes.default, [1, 4, 2], 1), (aten.split_with_sizes.default, [5, 1], 2)]


def splitting(target, *arguments, parts=None):
    """Every part of a split, or those listed, through relu."""
    def build(e, x):
        split = e.call(target, x, *arguments)
        indices = range(len(split.meta["val"])) if parts is None else parts
        return [e.call(aten.relu.default, e.call(operator.getitem, split, i)) for i in indices]
    return graph(build, X.shape)


@pytest.mark.parametrize("split", SPLITS, ids=lambda s: f"{s[0]._opname}-{s[2]}")
def test_each_part_is_a_slice(split):
    module = splitting(*split)
    result = run_pass(module, fuse_multiple_outputs, Stage.SOURCE)
    assert result.firings == 1
    assert set(operators(result.module)) == {"slice", "relu"}
    assert_same_values(module, result.module, X, tolerance=0)
    assert_same_values(module, result.module, draw(5, 7, 6), tolerance=0)


@pytest.mark.parametrize("parts", [[1], [2, 0], [-1], [0, 0, 2]])
def test_parts_in_any_order_some_unread_or_read_twice(parts):
    module = splitting(aten.split_with_sizes.default, [1, 4, 2], 1, parts=parts)
    result = run_pass(module, fuse_multiple_outputs, Stage.SOURCE).module
    assert_same_values(module, result, X, tolerance=0)
    assert operators(result).count("slice") == len(parts)


def test_a_split_of_a_split():
    def build(e, x):
        first = e.call(operator.getitem, e.call(aten.split.Tensor, x, 4, 1), 0)
        return e.call(operator.getitem, e.call(aten.chunk.default, first, 2, 2), 1)

    module = graph(build, X.shape)
    result = run_pass(module, fuse_multiple_outputs, Stage.SOURCE)
    assert (result.firings, operators(result.module)) == (2, ["slice", "slice"])
    assert_same_values(module, result.module, X, tolerance=0)


def test_a_split_of_a_parameter_is_folded():
    def build(e, x):
        parts = e.call(aten.split.Tensor, e.constant("w", draw(2, 6)), 1, 0)
        return e.call(aten.mul.Tensor, x, e.call(operator.getitem, parts, 1))

    module = graph(build, X.shape)
    assert operators(prepare(module)) == ["mul"]
    assert_same_values(module, prepare(module), X, tolerance=0)


@pytest.mark.parametrize("split", SPLITS, ids=lambda s: f"{s[0]._opname}-{s[2]}")
def test_quantized(split):
    """Parts keep the scale of the whole: each is exact."""
    model = integer_model(splitting(*split), X)
    parts = split[0](model.seen(X), *split[1:])
    for found, scale, part in zip(model.integers(X), model.scales, parts, strict=True):
        assert_within(found.double() / scale, part.relu(), 0)


def test_a_split_of_the_batch_is_refused():
    with pytest.raises(UnsupportedOperatorError, match="it cuts the batch axis"):
        prepare(splitting(aten.split.Tensor, 1, 0))


def test_a_shuffle():
    """Channel shuffle by chunks: cat of halves in the other order. Oracle: torch, exactly."""
    def build(e, x):
        halves = e.call(aten.chunk.default, x, 2, 2)
        return e.call(aten.cat.default, [e.call(operator.getitem, halves, i) for i in (1, 0)], 2)

    model = integer_model(graph(build, X.shape), X)
    assert torch.equal(model(X), torch.cat([model.seen(X)[:, :, 3:], model.seen(X)[:, :, :3]], 2))


@pytest.mark.parametrize("axis", [1, -1])
def test_unbind_is_slices_without_their_axis(axis):
    """Oracle: torch's unbind, also of the quantized input."""
    module = splitting(aten.unbind.int, axis)
    result = run_pass(module, fuse_multiple_outputs, Stage.SOURCE)
    assert set(operators(result.module)) == {"slice", "squeeze", "relu"}
    assert_same_values(module, result.module, draw(5, 7, 6), tolerance=0)
    model = integer_model(module, X)
    for found, scale, part in zip(model.integers(X), model.scales, model.seen(X).unbind(axis), strict=True):
        assert_within(found.double() / scale, part.relu(), 0)


def test_a_split_into_one_is_its_input():
    """Also along the batch, which stays free."""
    for axis in (0, 1):
        module = splitting(aten.split.Tensor, 99, axis)
        result = run_pass(module, fuse_multiple_outputs, Stage.SOURCE).module
        assert operators(result) == ["relu"]


def test_a_split_before_another_batch_axis():
    """(4, N): axis 0 is divided, the batch is axis 1. Oracle: torch's unbind of the quantized input."""
    def build(e, x):
        parts = e.call(aten.unbind.int, x, 0)
        return e.call(aten.cat.default, [e.call(aten.unsqueeze.default, e.call(operator.getitem, parts, i), 0)
                                         for i in (2, 0)], 0)

    check_exact(build, (4, -1), lambda x: x[[2, 0]])


def test_a_split_that_nothing_reads_by_parts_is_judged_by_validate():
    """Every part of the batch is refused where the split itself is asked."""
    def build(e, x):
        return e.call(aten.relu.default, e.call(operator.getitem, e.call(aten.unbind.int, x, 0), 0))

    module = graph(build, X.shape)
    assert any("cuts the batch axis" in line for line in unsupported(module))
