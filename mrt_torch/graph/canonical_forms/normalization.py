"""Normalizations: by running statistics, and by those of each sample."""

from __future__ import annotations

from typing import Any

from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of


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


@canonical_form("layer_norm.default")
def layer_norm(call: Call) -> fx.Node:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes."""
    return _layer_norm(call)


@canonical_form("native_layer_norm.default")
def native_layer_norm(call: Call) -> fx.Node | tuple:
    """The same, when nothing reads its mean and deviation."""
    return call.keep() if call.reads_part(1) or call.reads_part(2) else (_layer_norm(call), None, None)


def _layer_norm(call: Call) -> fx.Node:
    return call.emit(aten.layer_norm.default, call["input"], list(call["normalized_shape"]), call["weight"],
                     call["bias"], call["eps"])


@canonical_form("rms_norm.default")
def rms_norm(call: Call) -> fx.Node:
    """x / sqrt(mean(x**2) + eps) * weight over the last axes."""
    return call.emit(aten.rms_norm.default, call["input"], list(call["normalized_shape"]), call["weight"], call["eps"])


@canonical_form("_fused_rms_norm.default")
def fused_rms_norm(call: Call) -> fx.Node | tuple:
    """The same, when nothing reads its root mean square."""
    return call.keep() if call.reads_part(1) else (rms_norm(call), None)


@canonical_form("group_norm.default")
def group_norm(call: Call) -> fx.Node:
    """layer_norm over groups of channels, with a weight and a bias for each channel."""
    return call.emit(aten.group_norm.default, call["input"], call["num_groups"], call["weight"], call["bias"],
                     call["eps"])


@canonical_form("native_group_norm.default")
def native_group_norm(call: Call) -> fx.Node | tuple:
    """The same, when nothing reads its mean and deviation."""
    if call.reads_part(1) or call.reads_part(2):
        return call.keep()
    return call.emit(aten.group_norm.default, call["input"], call["group"], call["weight"], call["bias"],
                     call["eps"]), None, None


@canonical_form("instance_norm.default")
def instance_norm(call: Call) -> fx.Node:
    """layer_norm over the spatial axes; with running statistics, which replace its own, a batch_norm."""
    if not call["use_input_stats"] and call["running_mean"] is not None and call["running_var"] is not None:
        return _batch_norm(call, call["eps"], call["momentum"])
    return call.emit(aten.instance_norm.default, call["input"], call["weight"], call["bias"], None, None, True,
                     call["momentum"], call["eps"], False)


@canonical_form("log_softmax.int", "_log_softmax.default")
def log_softmax(call: Call) -> fx.Node:
    """x - log(sum(exp(x))) along an axis, when the result keeps the input's dtype."""
    x = call["self"]
    if call.node.meta["val"].dtype != x.meta["val"].dtype:
        return call.keep()
    return call.emit(aten.log_softmax.int, x, call["dim"] % max(rank_of(x), 1))


@canonical_form("linalg_vector_norm.default", "linalg_norm.default", "norm.ScalarOpt_dim", "norm.Scalar",
                "norm.ScalarOpt_dim_dtype", "norm.ScalarOpt_dtype", "frobenius_norm.dim")
def vector_norm(call: Call) -> fx.Node:
    """(sum(abs(x)**p))**(1 / p) over axes; a norm of matrices of an order of their own stays, to be refused."""
    x = call["self"]
    if not rank_of(x) or call.node.meta["val"].dtype != x.meta["val"].dtype:
        return call.keep()
    order = _argument(call, "ord", _argument(call, "p", 2))
    axes = _argument(call, "dim", None)
    axes = [axes] if isinstance(axes, int) else list(axes or range(rank_of(x)))
    if "linalg_norm" in str(call.target) and _argument(call, "ord", None) is not None and len(axes) > 1:
        return call.keep()
    return call.emit(aten.linalg_vector_norm.default, x, 2 if order is None else order,
                     sorted(axis % rank_of(x) for axis in axes), bool(_argument(call, "keepdim", False)))


def _argument(call: Call, name: str, default: Any) -> Any:
    try:
        return call[name]
    except KeyError:
        return default


@canonical_form("var.correction", "var.dim", "var.default")
def variance(call: Call) -> fx.Node:
    """sum((x - mean)**2) / (n - correction) over axes of a size that is known."""
    found = _deviations(call)
    if found is None:
        return call.keep()
    deviations, axes, count, keepdim = found
    total = call.emit(aten.sum.dim_IntList, call.emit(aten.mul.Tensor, deviations, deviations), axes, keepdim)
    return call.emit(aten.div.Scalar, total, count)


@canonical_form("std.correction", "std.dim", "std.default")
def deviation(call: Call) -> fx.Node:
    """The square root of the variance."""
    found = _deviations(call)
    if found is None:
        return call.keep()
    deviations, axes, count, keepdim = found
    norm = call.emit(aten.linalg_vector_norm.default, deviations, 2, axes, keepdim)
    return call.emit(aten.div.Scalar, norm, count ** 0.5)


def _deviations(call: Call) -> tuple[fx.Node, list[int], float, bool] | None:
    """x - mean, the axes, what the sum of its squares is divided by, and keepdim."""
    x = call["self"]
    given = _argument(call, "dim", None)
    axes = sorted(axis % rank_of(x) for axis in ([given] if isinstance(given, int) else given or range(rank_of(x))))
    correction = _argument(call, "correction", None)
    if correction is None:
        correction = float(_argument(call, "unbiased", True))
    count = 1
    for axis in axes:
        count *= shape_of(x)[axis]
    if not rank_of(x) or any(call.is_free_axis("self", axis) for axis in axes) or count <= correction:
        return None
    mean = call.emit(aten.mean.dim, x, axes, True)
    return call.emit(aten.sub.Tensor, x, mean), axes, count - correction, bool(_argument(call, "keepdim", False))
