"""BatchNorm."""

from __future__ import annotations

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten

_DEFAULT_EPSILON = 0.0010000000474974513  # MXNet 1.9.1: 1e-3 as float32
_UNUSED_MOMENTUM = 0.1  # inference never updates the moving statistics


@register_converter("BatchNorm", "BatchNorm_v1", "CuDNNBatchNorm", "_contrib_SyncBatchNorm",
                    parameters=("gamma", "beta", "moving_mean", "moving_var"))
def convert_batch_norm(view: NodeView) -> fx.Node:
    """(x - moving_mean) / sqrt(moving_var + eps) * gamma + beta.

    gamma is 1 when ``fix_gamma``, the default. Another channel axis than 1 is brought there, and back.
    """
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
        return view.call(aten.batch_norm.default, view.inputs[0], *arguments)
    order = [0, axis, *(other for other in range(1, rank) if other != axis)] if axis else list(range(rank))
    if axis == 0:
        order[0], order[1] = 1, 0
    data = view.step(aten.permute.default, view.inputs[0], order)
    data = view.step(aten.batch_norm.default, data, *arguments)
    return view.call(aten.permute.default, data, [order.index(position) for position in range(rank)])
