"""Normalizations: by moving statistics, and by those of each sample or its neighbourhood."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.graph.rows import along_rows

aten = torch.ops.aten

_DEFAULT_EPSILON = 0.0010000000474974513  # MXNet 1.9.1: 1e-3 as float32
_UNUSED_MOMENTUM = 0.1  # inference never updates the moving statistics


@register_converter("BatchNorm", "BatchNorm_v1", "CuDNNBatchNorm", "_contrib_SyncBatchNorm",
                    parameters=("gamma", "beta", "moving_mean", "moving_var"))
def convert_batch_norm(view: NodeView) -> fx.Node:
    """(x - moving_mean) / sqrt(moving_var + eps) * gamma + beta.

    gamma is 1 when ``fix_gamma``, the default. Another channel axis than 1 is brought there, and back.
    """
    return _batch_norm(view, view.call)


@register_converter("_contrib_BatchNormWithReLU", parameters=("gamma", "beta", "moving_mean", "moving_var"))
def convert_batch_norm_with_relu(view: NodeView) -> fx.Node:
    """The relu of a BatchNorm."""
    return view.call(aten.relu.default, _batch_norm(view, view.step))


def _batch_norm(view: NodeView, emit: Callable[..., fx.Node]) -> fx.Node:
    view.expect_inputs(5)
    attributes = view.attributes
    epsilon = attributes.real("eps", _DEFAULT_EPSILON)
    rank = len(view.shape())
    if rank < 2:
        raise view.invalid(f"the input has shape {view.shape()}; at least two axes are expected")
    axis = view.axis(attributes.integer("axis", 1))
    for position, meaning in enumerate(("gamma", "beta", "moving_mean", "moving_var"), start=1):
        view.expect_shape(position, (view.shape()[axis],), meaning)
    gamma = None if attributes.boolean("fix_gamma", True) else view.inputs[1]
    arguments = (gamma, *view.inputs[2:], False, _UNUSED_MOMENTUM, epsilon, False)
    if axis == 1:
        return emit(aten.batch_norm.default, view.inputs[0], *arguments)
    order = [0, axis, *(other for other in range(1, rank) if other != axis)] if axis else list(range(rank))
    if axis == 0:
        order[0], order[1] = 1, 0
    data = view.step(aten.permute.default, view.inputs[0], order)
    data = view.step(aten.batch_norm.default, data, *arguments)
    return emit(aten.permute.default, data, [order.index(position) for position in range(rank)])


def _refuse_statistics(view: NodeView) -> None:
    if any(position > 0 for position in view.outputs_read):
        raise view.unsupported("its mean or deviation is read (output_mean_var)",
                               "compute them by mean and subtraction")


@register_converter("LayerNorm", parameters=("gamma", "beta"))
def convert_layer_norm(view: NodeView) -> fx.Node:
    """(x - mean) / sqrt(var + eps) * gamma + beta along one axis, the last by default."""
    view.expect_inputs(3)
    _refuse_statistics(view)
    axis = view.axis(view.attributes.integer("axis", -1))
    for position, meaning in enumerate(("gamma", "beta"), start=1):
        view.expect_shape(position, (view.shape()[axis],), meaning)
    epsilon = view.attributes.real("eps", 1e-5)
    if axis == len(view.shape()) - 1:
        return view.call(aten.layer_norm.default, view.inputs[0], [view.shape()[axis]], *view.inputs[1:], epsilon)
    order = [*(other for other in range(len(view.shape())) if other != axis), axis]
    rows = view.step(aten.permute.default, view.inputs[0], order)
    rows = view.step(aten.layer_norm.default, rows, [view.shape()[axis]], *view.inputs[1:], epsilon)
    return view.call(aten.permute.default, rows, [order.index(position) for position in range(len(order))])


@register_converter("InstanceNorm", parameters=("gamma", "beta"))
def convert_instance_norm(view: NodeView) -> fx.Node:
    """(x - mean) / sqrt(var + eps) * gamma + beta over all axes but batch and channels."""
    view.expect_inputs(3)
    if len(view.shape()) < 3:
        raise view.invalid(f"the input has shape {view.shape()}; at least three axes are expected")
    for position, meaning in enumerate(("gamma", "beta"), start=1):
        view.expect_shape(position, view.shape()[1:2], meaning)
    return view.call(aten.instance_norm.default, *view.inputs, None, None, True, _UNUSED_MOMENTUM,
                     view.attributes.real("eps", 1e-3), False)


@register_converter("GroupNorm", parameters=("gamma", "beta"))
def convert_group_norm(view: NodeView) -> fx.Node:
    """(x - mean) / sqrt(var + eps) * gamma + beta over groups of channels and what is behind them.

    MXNet 1.9.1 has one gamma and one beta for each group, torch one for each channel.
    """
    view.expect_inputs(3)
    _refuse_statistics(view)
    groups, shape = view.attributes.integer("num_groups", 1), view.shape()
    if len(shape) < 3 or groups < 1 or shape[1] % groups:
        raise view.invalid(f"the input has shape {shape}; three axes at least, and channels in {groups} equal groups, "
                           "are expected")
    per_channel = []
    for position, meaning in enumerate(("gamma", "beta"), start=1):
        view.expect_shape(position, (groups,), meaning)
        if view.value(position) is None:
            raise view.unsupported(f"its {meaning} is computed")
        per_channel.append(view.constant(view.value(position).repeat_interleave(shape[1] // groups), meaning))
    return view.call(aten.group_norm.default, view.inputs[0], groups, *per_channel, view.attributes.real("eps", 1e-5))


@register_converter("L2Normalization")
def convert_l2_normalization(view: NodeView) -> fx.Node:
    """x / sqrt(sum(x**2) + eps), as rms_norm(x, eps / n) / sqrt(n).

    The sum is over channels (mode "channel"), over what is behind them ("spatial"), or over both ("instance").
    """
    rank = len(view.shape())
    mode = view.attributes.choice("mode", ("instance", "channel", "spatial"), "instance")
    axes = {"instance": list(range(1, rank)), "channel": [1], "spatial": list(range(2, rank))}[mode]
    if not axes or axes[-1] >= rank:
        raise view.invalid(f"the input has shape {view.shape()} for the mode {mode}")
    count = math.prod(view.shape()[axis] for axis in axes)
    epsilon = view.attributes.real("eps", 1e-10) / count
    normal = along_rows(view.step, view.inputs[0], axes, lambda rows, length: view.step(
        aten.rms_norm.default, rows, [length], None, epsilon))
    return view.call(aten.mul.Scalar, normal, count ** -0.5)


@register_converter("LRN")
def convert_local_response_norm(view: NodeView) -> fx.Node:
    """x * (knorm + alpha / n * sum(x**2))**-beta, the sum over n neighbouring channels."""
    attributes, shape = view.attributes, view.shape()
    size = attributes.integer("nsize")
    if len(shape) != 4 or size < 1 or size % 2 == 0:
        raise view.invalid(f"the input has shape {shape}; four axes and an odd nsize, not {size}, are expected")
    alpha, beta, offset = (attributes.real(name, default) for name, default in (
        ("alpha", 1e-4), ("beta", 0.75), ("knorm", 2.0)))
    squares = view.step(aten.mul.Tensor, view.inputs[0], view.inputs[0])
    padded = view.step(aten.constant_pad_nd.default, squares, [0, 0, 0, 0, size // 2, size // 2], 0.0)
    total = None
    for begin in range(size):
        part = view.step(aten.slice.Tensor, padded, 1, begin, begin + shape[1])
        total = part if total is None else view.step(aten.add.Tensor, total, part)
    base = view.step(aten.add.Scalar, view.step(aten.mul.Scalar, total, alpha / size), offset)
    return view.call(aten.mul.Tensor, view.inputs[0], view.step(aten.pow.Tensor_Scalar, base, -beta))

