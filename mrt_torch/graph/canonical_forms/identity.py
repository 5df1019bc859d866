"""Operators that change nothing in a graph for inference."""

from __future__ import annotations

from torch import fx

from mrt_torch.graph.source_call import Call, aten, canonical_form

# torch gives these back their input itself in evaluation, which its fake kernels do not show.
DROPOUTS = ("dropout.default", "feature_dropout.default", "alpha_dropout.default", "feature_alpha_dropout.default")


@canonical_form("alias.default", "clone.default", "contiguous.default", "detach.default", "detach_.default",
                "lift.default", "lift_fresh.default", "lift_fresh_copy.default", "alias_copy.default",
                "detach_copy.default", "positive.default", "resolve_conj.default", "resolve_neg.default")
def identity(call: Call) -> fx.Node:
    """The input."""
    return call.args[0]


@canonical_form("to.dtype", "to.device", "to.dtype_layout", "to.other", "_to_copy.default", "type_as.default",
                "_to_cpu.default")
def conversion(call: Call) -> fx.Node:
    """The input, when the dtype stays, else a cast: on which device a graph runs is not the graph's affair."""
    dtype = call.node.meta["val"].dtype
    return call.args[0] if dtype == call.args[0].meta["val"].dtype \
        else call.emit(aten._to_copy.default, call.args[0], dtype=dtype)


@canonical_form(*DROPOUTS)
def dropout(call: Call) -> fx.Node:
    """The identity, as one dropout that does nothing; one that is active stays, to be refused."""
    if call["train"] and call["p"] != 0:
        return call.keep()
    return call.emit(aten.dropout.default, call["input"], call["p"], False)


@canonical_form("native_dropout.default")
def native_dropout(call: Call) -> fx.Node | tuple:
    """A dropout whose mask nothing reads."""
    if call["train"] or call.reads_part(1):
        return call.keep()
    return call.emit(aten.dropout.default, call["input"], call["p"], False), None


@canonical_form("copy.default")
def copy(call: Call) -> fx.Node:
    """What is copied, when it has the shape and dtype of the tensor it overwrites."""
    source, before = call["src"].meta["val"], call["self"].meta["val"]
    return call["src"] if (source.shape, source.dtype) == (before.shape, before.dtype) else call.keep()
