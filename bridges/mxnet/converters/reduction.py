"""Reductions over axes: sum, mean, max and min."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten


@register_converter("sum", "sum_axis")
def convert_sum(view: NodeView) -> fx.Node:
    """The sum over ``axis``: all axes when absent, all others when ``exclude``."""
    return _reduce(view, aten.sum.dim_IntList)


@register_converter("mean")
def convert_mean(view: NodeView) -> fx.Node:
    """The mean; axes as in `convert_sum`."""
    return _reduce(view, aten.mean.dim)


@register_converter("max", "max_axis")
def convert_max(view: NodeView) -> fx.Node:
    """The maximum; axes as in `convert_sum`."""
    return _reduce(view, aten.amax.default)


@register_converter("min", "min_axis")
def convert_min(view: NodeView) -> fx.Node:
    """The minimum, as -max(-x); axes as in `convert_sum`."""
    return _reduce(view, aten.amax.default, negate=True)


def _reduce(view: NodeView, target: Callable, negate: bool = False) -> fx.Node:
    rank = len(view.shape())
    axes = sorted({view.axis(axis) for axis in view.attributes.optional_integers("axis") or ()})
    if view.attributes.boolean("exclude", False):
        axes = [axis for axis in range(rank) if axis not in axes]
    elif not axes:
        axes = list(range(rank))
    keep = view.attributes.boolean("keepdims", False)
    if not axes:
        return view.inputs[0]
    to_scalar = not keep and len(axes) == rank  # MXNet gives shape (1,) where torch gives ()
    data = view.step(aten.neg.default, view.inputs[0]) if negate else view.inputs[0]
    data = (view.step if negate or to_scalar else view.call)(target, data, axes, keep)
    if to_scalar:
        data = (view.step if negate else view.call)(aten.reshape.default, data, [1])
    return view.call(aten.neg.default, data) if negate else data
