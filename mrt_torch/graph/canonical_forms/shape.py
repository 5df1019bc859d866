"""Operators that change the shape only."""

from __future__ import annotations

from torch import fx

from mrt_torch.graph.batch_axis import is_free
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, permuted, rank_of


@canonical_form("view.default", "_unsafe_view.default", "reshape.default", "unflatten.int", "view_as.default",
                "reshape_as.default", "_reshape_alias.default", "view_copy.default", "ravel.default")
def reshape(call: Call) -> fx.Node:
    """The batch axis becomes -1, every other axis its extent."""
    x, before, after = call["self"], call.source("self").meta["val"].shape, call.node.meta["val"].shape
    target = call.batch.target_shape(call.node, after, before)
    if target is None:
        return call.keep()
    unchanged = len(before) == len(after) and all(a == b for a, b in zip(shape_of(x), call.shape(), strict=True))
    return x if unchanged else call.emit(aten.reshape.default, x, target)


@canonical_form("flatten.using_ints")
def flatten(call: Call) -> fx.Node:
    """Merge axes into one; where the batch is among them, a reshape."""
    x, rank = call["self"], rank_of(call["self"])
    if not rank:
        return reshape(call)
    start, end = call["start_dim"] % rank, call["end_dim"] % rank
    if start == end:
        return x
    return call.emit(aten.flatten.using_ints, x, start, end) if start else reshape(call)


def permutation(call: Call) -> list[int] | None:
    """The axes of any operator that permutes them; None for others."""
    name, rank = str(call.target).removeprefix("aten."), rank_of(call["self"])
    if name in ("permute.default", "permute_copy.default"):
        return [axis % rank for axis in call["dims"]]
    axes = list(range(rank))
    if name in ("transpose.int", "swapaxes.default", "swapdims.default"):
        first, second = (axis % rank for axis in call.args[1:3])
        axes[first], axes[second] = axes[second], axes[first]
    elif name in ("numpy_T.default", "t.default"):
        axes.reverse()
    elif name in ("mT.default", "adjoint.default"):
        axes[-2:] = axes[:-3:-1]
    elif name in ("movedim.int", "moveaxis.int", "movedim.intlist", "moveaxis.intlist"):
        source, target = ([axis % rank for axis in ([given] if isinstance(given, int) else given)]
                          for given in (call["source"], call["destination"]))
        axes = [axis for axis in axes if axis not in source]
        for to, moved in sorted(zip(target, source, strict=True)):
            axes.insert(to, moved)
    else:
        return None
    return axes


@canonical_form("permute.default", "permute_copy.default", "transpose.int", "swapaxes.default", "swapdims.default",
                "numpy_T.default", "t.default", "mT.default", "movedim.int", "moveaxis.int", "movedim.intlist",
                "moveaxis.intlist")
def permute(call: Call) -> fx.Node:
    """All axes named; the input where none moves."""
    return permuted(call, call["self"], permutation(call))


def squeezed(call: Call, x: fx.Node, axes: list[int]) -> fx.Node:
    """``x`` without ``axes``, whose extent is 1."""
    return call.emit(aten.squeeze.dims, x, sorted(axes)) if axes else x


@canonical_form("squeeze.default", "squeeze.dim", "squeeze.dims")
def squeeze(call: Call) -> fx.Node:
    """Axes of extent 1 removed, the batch never: it may be 1 by chance."""
    x, sizes = call["self"], call.source("self").meta["val"].shape
    given = range(len(sizes))
    if str(call.target) != "aten.squeeze.default":
        given = [call["dim"]] if isinstance(call["dim"], int) else call["dim"]
    axes = {axis % max(len(sizes), 1) for axis in given}
    return squeezed(call, x, [axis for axis in axes if not is_free(sizes[axis]) and sizes[axis] == 1])


@canonical_form("unsqueeze.default")
def unsqueeze(call: Call) -> fx.Node:
    """A new axis of extent 1."""
    return call.emit(aten.unsqueeze.default, call["self"], call["dim"] % (rank_of(call["self"]) + 1))
