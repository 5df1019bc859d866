"""Batch normalization with running statistics."""

from __future__ import annotations

from torch import fx

from mrt_torch.graph.source_call import Call, aten, canonical_form


def _batch_norm(call: Call, epsilon: float, momentum: float) -> fx.Node:
    return call.emit(aten.batch_norm.default, call["input"], call["weight"], call["bias"], call["running_mean"],
                     call["running_var"], False, momentum, epsilon, False)


@canonical_form("batch_norm.default")
def batch_norm(call: Call) -> fx.Node:
    """(x - mean) / sqrt(var + eps) * weight + bias; with the statistics of the batch it stays, to be refused."""
    if call["training"] or call["running_mean"] is None or call["running_var"] is None:
        return call.keep()
    return _batch_norm(call, call["eps"], call["momentum"])


@canonical_form("_native_batch_norm_legit_no_training.default")
def legit_batch_norm(call: Call) -> fx.Node | tuple:
    """The same; the saved statistics are empty in evaluation."""
    return call.keep() if _reads_statistics(call) else (_batch_norm(call, call["eps"], call["momentum"]), None, None)


@canonical_form("native_batch_norm.default", "_native_batch_norm_legit.default")
def native_batch_norm(call: Call) -> fx.Node | tuple:
    """The same, when it does not train."""
    if call["training"] or call["running_mean"] is None or call["running_var"] is None or _reads_statistics(call):
        return call.keep()
    return _batch_norm(call, call["eps"], call["momentum"]), None, None


@canonical_form("cudnn_batch_norm.default", "miopen_batch_norm.default")
def device_batch_norm(call: Call) -> fx.Node | tuple:
    """The same, as some devices name it."""
    if call["training"] or call["running_mean"] is None or call["running_var"] is None or _reads_statistics(call):
        return call.keep()
    return _batch_norm(call, call["epsilon"], call["exponential_average_factor"]), None, None, None


def _reads_statistics(call: Call) -> bool:
    return call.reads_part(1) or call.reads_part(2) or call.reads_part(3)
