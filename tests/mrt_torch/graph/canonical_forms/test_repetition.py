"""Tensors repeated, also along the batch. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.graph.free_axis import is_batch_free
from tests.mrt_torch.graph.captured import Function, check

EXPAND, REPEAT, LIKE, CAT = "expand.default", "repeat.default", "mrt.broadcast_like.default", "cat.default"
TOKEN = torch.randn(1, 1, 5, generator=torch.Generator().manual_seed(0))
CASES = {
    "expand": (lambda m, x: x[:, :1].expand(-1, 7, -1), [EXPAND]),
    "expand to the batch": (lambda m, x: x[:, :1].expand(x.shape[0], 7, 5), [EXPAND]),
    "expand to itself": (lambda m, x: x.expand(x.shape).neg(), ["neg.default"]),
    "expand with a new axis": (lambda m, x: x.expand(3, -1, -1, -1).sum(0), [EXPAND, "sum.dim_IntList"]),
    "expand as": (lambda m, x: x[:, :, :1].expand_as(x), [EXPAND]),
    "broadcast to": (lambda m, x: torch.broadcast_to(x[:, :1], x.shape), [EXPAND]),
    "class token": (lambda m, x: torch.cat([m.token.expand(x.shape[0], -1, -1), x], 1), [LIKE, CAT]),
    "class token by repeat": (lambda m, x: torch.cat([m.token.repeat(x.shape[0], 1, 1), x], 1), [LIKE, CAT]),
    "class tokens": (lambda m, x: torch.cat([m.token.expand(x.shape[0], 3, 5), x], 1), [EXPAND, LIKE, CAT]),
    "token as the batch": (lambda m, x: m.token[0].expand(x.shape[0], 5) + x[:, 0], None),
    "repeat": (lambda m, x: x.repeat(1, 2, 3), [REPEAT]),
    "repeat with a new axis": (lambda m, x: x.repeat(2, 1, 1, 1).sum(0), [REPEAT, "sum.dim_IntList"]),
    "repeat of nothing": (lambda m, x: x.repeat(1, 1, 1).neg(), ["neg.default"]),
    "tile": (lambda m, x: x.tile((2,)), [REPEAT]),
    "tile more axes": (lambda m, x: torch.tile(x, (2, 1, 1, 2)).sum(0), [REPEAT, "sum.dim_IntList"]),
    "repeat interleave": (lambda m, x: x.repeat_interleave(3, 1), ["repeat_interleave.self_int"]),
    "repeat interleave of the batch": (lambda m, x: x.repeat_interleave(2, 0), ["repeat_interleave.self_int"]),
    "broadcast tensors": (lambda m, x: torch.broadcast_tensors(x, x[:, :1])[1], None),
}


@pytest.mark.parametrize("name", CASES)
def test_repetition(name):
    function, targets = CASES[name]
    graph = check(Function(function, token=TOKEN), (4, 5))
    if targets is not None:
        found = [str(n.target).removeprefix("aten.") for n in graph.graph.nodes if n.op == "call_function"]
        assert [name for name in found if not name.startswith(("slice", "squeeze"))] == targets
    assert is_batch_free(graph)


@pytest.mark.parametrize("function", [lambda m, x: x.expand(x.shape[0], x.shape[0], 4, 5)[:, 0],
                                      lambda m, x: x.repeat(x.shape[0], 1, 1),
                                      lambda m, x: m.token.expand(2 * x.shape[0], 4, 5)],
                         ids=["two axes", "the batch itself", "twice the batch"])
def test_other_sizes_that_follow_the_batch_stay(function):
    """For validation to refuse; the graph computes the same."""
    graph = check(Function(function, token=TOKEN), (4, 5), batches=(1, 2, 3))
    assert any("sym_size" in str(node.target) for node in graph.graph.nodes)
