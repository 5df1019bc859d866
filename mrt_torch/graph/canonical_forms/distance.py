"""Similarities and distances of vectors, from norms and products."""

from __future__ import annotations

from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of


@canonical_form("cosine_similarity.default")
def cosine_similarity(call: Call) -> fx.Node:
    """sum(x / max(|x|, eps) * y / max(|y|, eps)) along an axis; one that broadcasting would lengthen stays."""
    rows = call["x1"], call["x2"]
    rank = max(map(rank_of, rows))
    axis = call["dim"] % max(rank, 1) - rank  # from behind: the same for operands of fewer axes
    if any(rank_of(x) < -axis for x in rows) or len({shape_of(x)[axis] for x in rows}) > 1:
        return call.keep()
    units = []
    for x in rows:
        norm = call.emit(aten.linalg_vector_norm.default, x, 2, [axis % rank_of(x)], True)
        units.append(call.emit(aten.div.Tensor, x, call.emit(aten.clamp.default, norm, call["eps"], None)))
    return call.emit(aten.sum.dim_IntList, call.emit(aten.mul.Tensor, *units), [rank + axis], False)


@canonical_form("pairwise_distance.default")
def pairwise_distance(call: Call) -> fx.Node:
    """The norm of x - y + eps along the last axis."""
    difference = call.emit(aten.sub.Tensor, call["x1"], call["x2"])
    if call["eps"]:
        difference = call.emit(aten.add.Scalar, difference, call["eps"])
    return _norm(call, difference, call["keepdim"])


@canonical_form("cdist.default")
def distances(call: Call) -> fx.Node:
    """The norm of x - y along the last axis for every row x of one operand and y of the other."""
    x = call.emit(aten.unsqueeze.default, call["x1"], rank_of(call["x1"]) - 1)
    y = call.emit(aten.unsqueeze.default, call["x2"], rank_of(call["x2"]) - 2)
    return _norm(call, call.emit(aten.sub.Tensor, x, y), False)


def _norm(call: Call, x: fx.Node, keepdim: bool) -> fx.Node:
    return call.emit(aten.linalg_vector_norm.default, x, call["p"], [rank_of(x) - 1], keepdim)
