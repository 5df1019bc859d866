"""Parts of tensors and tensors side by side. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.mrt_torch.graph.captured import Function, check

SLICE, SQUEEZE, CAT, PAD = "slice.Tensor", "squeeze.dims", "cat.default", "constant_pad_nd.default"
CASES = {
    "part": (lambda m, x: x[:, 1:3], [SLICE]),
    "to the end": (lambda m, x: x[:, 1:], [SLICE]),
    "from behind": (lambda m, x: x[:, :, -2:], [SLICE]),
    "strided": (lambda m, x: x[:, :, ::2, 1::2], [SLICE, SLICE]),
    "everything": (lambda m, x: x[:, :, :].neg(), ["neg.default"]),
    "beyond the end": (lambda m, x: x[:, :99].neg(), ["neg.default"]),
    "narrow": (lambda m, x: x.narrow(1, -2, 2), [SLICE]),
    "index": (lambda m, x: x[:, 2], [SLICE, SQUEEZE]),
    "last index": (lambda m, x: x[..., -1], [SLICE, SQUEEZE]),
    "index of one": (lambda m, x: x[:, :1][:, 0], [SLICE, SQUEEZE]),
    "chunk": (lambda m, x: x.chunk(3, 2), [SLICE] * 3),
    "chunk, one read": (lambda m, x: x.chunk(2, 1)[1], [SLICE]),
    "split": (lambda m, x: x.split(3, 1), [SLICE] * 2),
    "split by sizes": (lambda m, x: torch.split(x, [1, 3], 1)[1], [SLICE]),
    "tensor_split": (lambda m, x: torch.tensor_split(x, 3, 3), [SLICE] * 3),
    "tensor_split at indices": (lambda m, x: torch.tensor_split(x, [1, 2], 1), [SLICE] * 3),
    "unbind": (lambda m, x: x.unbind(1)[3], [SLICE, SQUEEZE]),
    "cat": (lambda m, x: torch.cat([x, x * 2], -3), ["mul.Scalar", CAT]),
    "concat": (lambda m, x: torch.concat([x, x], 1), [CAT]),
    "cat with an empty one": (lambda m, x: torch.cat([torch.zeros(0), x, x], 1), [CAT]),
    "stack": (lambda m, x: torch.stack([x, x], -1), ["unsqueeze.default", "unsqueeze.default", CAT]),
    "pad": (lambda m, x: F.pad(x, (1, 2)), [PAD]),
    "pad channels": (lambda m, x: F.pad(x, (0, 0, 0, 0, 2, 1), value=1.5), [PAD]),
    "pad and crop": (lambda m, x: F.pad(x, (-1, 2)), [PAD]),
    "pad nothing": (lambda m, x: F.pad(x, (0, 0)).neg(), ["neg.default"]),
    "reflecting pad": (lambda m, x: F.pad(x, (1, 2, 0, 1), mode="reflect"), ["pad.default"]),
    "replicating pad": (lambda m, x: F.pad(x, (1, 2, 0, 1), mode="replicate"), ["pad.default"]),
    "circular pad": (lambda m, x: F.pad(x, (1, 2, 0, 0), mode="circular"), ["pad.default"]),
    "pad modules": (lambda m, x: torch.nn.ReflectionPad2d(1)(torch.nn.ReplicationPad2d(2)(x)), ["pad.default"] * 2),
    "hstack": (lambda m, x: torch.hstack([x, x]), [CAT]), "dstack": (lambda m, x: torch.dstack([x, x]), [CAT]),
    "raw pad": (lambda m, x: torch.constant_pad_nd(x, (1, 1), 2), [PAD]),
    "zeros after": (lambda m, x: torch.cat([x, torch.zeros(x.shape[0], 3, 5, 6)], 1), [PAD]),
    "zeros around": (lambda m, x: torch.cat([x.new_zeros(x.shape[0], 1, 5, 6), x, torch.zeros_like(x)], 1), [PAD]),
    "zeros around two": (lambda m, x: torch.cat([torch.zeros_like(x), x, x], 2), [CAT, PAD]),
    "zeros by full": (lambda m, x: torch.cat([x, torch.full((x.shape[0], 4, 1, 6), 0.0)], 2), [PAD]),
}


@pytest.mark.parametrize("name", CASES)
def test_part(name):
    """Every form fires, with bounds within the axis."""
    function, targets = CASES[name]
    graph = check(Function(function), (4, 5, 6), targets=targets)
    for node in graph.graph.nodes:
        if str(node.target) == "aten.slice.Tensor":
            extent = node.args[0].meta["val"].shape[node.args[1]]
            assert 0 <= node.args[2] < node.args[3] <= extent


NEAR_MISSES = {
    "one sample": (lambda m, x: x[0], "aten.select.int", (1, 2, 5)),
    "ones beside": (lambda m, x: torch.cat([x, torch.ones(x.shape[0], 3, 5, 6)], 1),
                    "mrt.broadcast_like.default", (1, 2, 5)),
    "zeros along the batch": (lambda m, x: torch.cat([x, torch.zeros_like(x)]), "aten.zeros_like.default", (1, 2, 5)),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_without_canonical_form(name):
    """The operator is kept for validation to refuse, and computes the same."""
    function, kept, batches = NEAR_MISSES[name]
    graph = check(Function(function), (4, 5, 6), batches=batches)
    assert kept in [str(node.target) for node in graph.graph.nodes]
