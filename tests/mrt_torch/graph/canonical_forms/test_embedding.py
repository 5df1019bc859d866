"""Rows chosen by computed indices. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mrt_torch.graph.capture import capture
from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import BATCHES, Function, assert_equal, check, inputs, operators

WORDS = 40


def ids(batch, *shape):
    return torch.randint(0, WORDS, (batch, *shape), generator=torch.Generator().manual_seed(batch))


def check_ids(module, *shape):
    graph = capture(module, ids(1, *shape))
    for batch in BATCHES:
        assert_equal(graph, module, [ids(batch, *shape)])
    return operators(graph)


EMBEDDING = "embedding.default"
MODULES = {
    "embedding": (nn.Embedding(WORDS, 3), [EMBEDDING]),
    "with padding": (nn.Embedding(WORDS, 3, padding_idx=0), [EMBEDDING]),
    "rows": (Function(lambda m, x: m.w[x], w=torch.randn(WORDS, 3)), [EMBEDDING]),
    "columns": (Function(lambda m, x: m.w[:, x].permute(1, 2, 0), w=torch.randn(3, WORDS)),
                ["reshape.default", "index_select.default", "reshape.default", "permute.default"]),
    "matrices": (Function(lambda m, x: m.w[x], w=torch.randn(WORDS, 3, 2)),
                 ["reshape.default", "index_select.default", "reshape.default"]),
    "index_select": (Function(lambda m, x: torch.index_select(m.w, 1, x[:, 0]).t(), w=torch.randn(3, WORDS)),
                     ["slice.Tensor", "squeeze.dims", "index_select.default", "permute.default"]),
    "take": (Function(lambda m, x: torch.take(m.w, x), w=torch.randn(WORDS)),
             ["reshape.default", EMBEDDING, "squeeze.dims"]),
    "one_hot": (Function(lambda m, x: F.one_hot(x, WORDS)), [EMBEDDING]),
}


@pytest.mark.parametrize("name", MODULES)
def test_rows(name):
    module, targets = MODULES[name]
    assert check_ids(module, 6) == targets


@pytest.mark.parametrize("mode, reduction", [("sum", "sum.dim_IntList"), ("mean", "mean.dim"), ("max", "amax.default")])
def test_bags_of_one_size(mode, reduction):
    assert check_ids(nn.EmbeddingBag(WORDS, 3, mode=mode), 6) == ["reshape.default", "reshape.default", EMBEDDING,
                                                                reduction]


def test_bags_of_several_sizes_stay():
    module = nn.EmbeddingBag(WORDS, 3, mode="sum", padding_idx=1)
    assert EMBEDDING not in check_ids(module, 6)


CONSTANT = {
    "spaced": ([0, 2, 4], ["slice.Tensor"]), "backwards": ([5, 4, 3], ["slice.Tensor", "flip.default"]),
    "any": ([3, 0, 0], ["index_select.default"]), "negative": ([-1, 0, 2], ["index_select.default"]),
}


@pytest.mark.parametrize("name", CONSTANT)
@pytest.mark.parametrize("form", ["index", "index_select"])
def test_constant_positions(name, form):
    """Of an axis of the data: a slice where they are equally spaced."""
    places, targets = CONSTANT[name]
    index = torch.tensor(places)
    if form == "index_select":
        index = index % 6
    module = Function((lambda m, x: x[:, m.i]) if form == "index" else (lambda m, x: x.index_select(1, m.i)), i=index)
    assert check_ids(module, 6) == targets


PLACES = {
    "pairs": (lambda m, x: x[(slice(None), *torch.tril_indices(4, 4, -1))], (4, 4)),
    "pairs of a buffer": (lambda m, x: x[:, m.i[0], m.i[1]], (4, 4)),
    "negative": (lambda m, x: x[:, :, m.i[0] - 3, m.i[1]], (2, 4, 4)),
    "a table of places": (lambda m, x: x[:, m.i, m.i[:1]], (4, 4, 3)),
    "one in each sample": (lambda m, x: x[torch.arange(x.shape[0]), (x[:, :, 0, 0] > 0).sum(1)], (4, 2, 3)),
    "an element of each sample": (lambda m, x: x[torch.arange(x.shape[0]), (x > 0).sum(1) - 1], (4,)),
}


@pytest.mark.parametrize("name", PLACES)
def test_places_of_several_axes(name):
    """Constant ones, and one for each sample, captured and prepared: exact."""
    function, shape = PLACES[name]
    module = Function(function, i=torch.tensor([[0, 1, 2], [3, 1, 3]]))
    graph = check(module, shape)
    assert "index.Tensor" not in operators(graph)
    assert_equal(prepare(graph), module, inputs([shape], 5), relative=0)


def test_places_across_the_batch_stay():
    """Near miss: the batch is one of the axes, and not counted."""
    graph = check(Function(lambda m, x: x[m.i, m.i], i=torch.tensor([0, 0])), (4,))
    assert "index.Tensor" in operators(graph)


def test_several_axes_stay():
    """Near miss: two computed indices."""
    assert check_ids(Function(lambda m, x: m.w[x[:, 0], x[:, 1]], w=torch.randn(WORDS, WORDS)), 6)[-1] == "index.Tensor"
