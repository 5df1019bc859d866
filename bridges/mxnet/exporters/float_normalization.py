"""Float normalizations and norms as MXNet nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry
from mrt_torch.graph.free_axis import free_shape
from mrt_torch.ops.layer_normalization import RMSNorm

aten = torch.ops.aten


def _parameter(view: FloatCall, name: str, shape: Sequence[int], neutral: float) -> Entry:
    """A scale or shift in another shape; ones or zeros where there is none."""
    node = view.arguments[name]
    if node is None:
        dtype = np.dtype(str(view.node.meta["val"].dtype).removeprefix("torch."))
        return view.constant("gamma" if neutral else "beta", np.full(tuple(shape), neutral, dtype))
    view.require(node.op == "get_attr", f"its {name} is computed")
    if tuple(node.meta["val"].shape) == tuple(shape):
        return view.entries[node]
    return view.part(name, "Reshape", view.entries[node], shape=tuple(shape))


def _affine(view: FloatCall, entry: Entry, shape: Sequence[int]) -> Entry:
    """``entry * weight + bias``, where there are such, broadcast in ``shape``; it takes the name of the result."""
    steps = [(operator, _parameter(view, name, shape, 0.0)) for operator, name in (
        ("broadcast_mul", "weight"), ("broadcast_add", "bias")) if view.arguments.get(name) is not None]
    for position, (operator, parameter) in enumerate(steps):
        write = view.result if position == len(steps) - 1 else lambda *a, **k: view.part("scaled", *a, **k)
        entry = write(operator, entry, parameter)
    return entry if steps else view.result("identity", entry)


def write_layer_norm(view: FloatCall) -> Entry:
    """LayerNorm of the last axis; of several, between two Reshape."""
    shape = list(view.arguments["normalized_shape"])
    count = math.prod(shape)
    gamma, beta = _parameter(view, "weight", [count], 1.0), _parameter(view, "bias", [count], 0.0)
    data, attributes = view.entries[view.arguments["input"]], {"axis": -1, "eps": view.arguments["eps"]}
    if len(shape) == 1:
        return view.result("LayerNorm", data, gamma, beta, **attributes)
    kept = free_shape(view.node)[:-len(shape)]
    rows = view.part("rows", "Reshape", data, shape=(*kept, count))
    normal = view.part("normal", "LayerNorm", rows, gamma, beta, **attributes)
    return view.result("Reshape", normal, shape=tuple(free_shape(view.node)))


def write_rms_norm(view: FloatCall) -> Entry:
    """L2Normalization of rows, times the square root of their length: x / sqrt(sum(x**2) + n * eps) * sqrt(n)."""
    shape = list(view.arguments["normalized_shape"])
    count = math.prod(shape)
    rows = view.part("rows", "Reshape", view.entries[view.arguments["input"]], shape=(-1, count))
    unit = view.part("unit", "L2Normalization", rows, eps=count * RMSNorm.epsilon(view.node), mode="instance")
    normal = view.part("normal", "_mul_scalar", unit, scalar=math.sqrt(count))
    return _affine(view, view.part("shaped", "Reshape", normal, shape=tuple(free_shape(view.node))), shape)


def write_group_norm(view: FloatCall) -> Entry:
    """GroupNorm, whose scale and shift are one a group, and those of the channels behind it."""
    view.require(len(view.shape) > 2, f"the input has shape {view.shape}; three axes at least are expected")
    groups = view.arguments["num_groups"]
    dtype = np.dtype(str(view.node.meta["val"].dtype).removeprefix("torch."))
    normal = view.part("normal", "GroupNorm", view.entries[view.arguments["input"]],
                       view.constant("gamma", np.ones(groups, dtype)), view.constant("beta", np.zeros(groups, dtype)),
                       num_groups=groups, eps=view.arguments["eps"])
    return _affine(view, normal, [1, view.shape[1]] + [1] * (len(view.shape) - 2))


def write_instance_norm(view: FloatCall) -> Entry:
    """InstanceNorm."""
    view.require(view.arguments["use_input_stats"], "it normalizes by running statistics: export it after prepare")
    view.require(len(view.shape) > 2, f"the input has shape {view.shape}; three axes at least are expected")
    channels = view.shape[1:2]
    return view.result("InstanceNorm", view.entries[view.arguments["input"]], _parameter(view, "weight", channels, 1.0),
                       _parameter(view, "bias", channels, 0.0), eps=view.arguments["eps"])


def write_vector_norm(view: FloatCall) -> Entry:
    """The sum or maximum of magnitudes, or the square root of the sum of squares: MXNet's norm has two axes at most."""
    order, axes = float(view.arguments["ord"]), view.arguments["dim"]
    axes = axes if isinstance(axes, (list, tuple)) else range(len(view.shape)) if axes is None else [axes]
    reduced = {"axis": tuple(sorted(axis % len(view.shape) for axis in axes)),
               "keepdims": bool(view.arguments["keepdim"])}
    view.require(order in (1, 2, math.inf), f"its order is {order}")
    if order != 2:
        return view.result("sum" if order == 1 else "max", view.part("magnitude", "abs", *view.inputs), **reduced)
    total = view.part("total", "sum", view.part("squares", "square", *view.inputs), **reduced)
    return view.result("sqrt", total)


def write_log_softmax(view: FloatCall) -> Entry:
    """log_softmax."""
    return view.result("log_softmax", *view.inputs, axis=view.axis("dim"))


NORMALIZATION_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    aten.layer_norm.default: write_layer_norm, aten.rms_norm.default: write_rms_norm,
    aten.group_norm.default: write_group_norm, aten.instance_norm.default: write_instance_norm,
    aten.linalg_vector_norm.default: write_vector_norm, aten.log_softmax.int: write_log_softmax,
}
