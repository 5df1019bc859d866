"""Reductions over axes: sum, mean, max, min, prod, norm and moments."""

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
    """The minimum; axes as in `convert_sum`."""
    return _reduce(view, aten.amin.default)


@register_converter("prod")
def convert_prod(view: NodeView) -> fx.Node:
    """The product, over one axis after another; axes as in `convert_sum`."""
    axes, keep = _axes(view)
    data = view.inputs[0]
    for axis in axes:
        data = view.step(aten.prod.dim_int, data, axis, True)
    return data if keep or not axes else _without(view, data, axes)


@register_converter("nansum", "nanprod")
def convert_nansum(view: NodeView) -> fx.Node:
    """Refused: integers hold no NaN, so what to leave out would be lost."""
    raise view.unsupported("it leaves out NaN, which no integer stands for", "use sum or prod, or split the model here")


@register_converter("_square_sum", "square_sum")
def convert_square_sum(view: NodeView) -> fx.Node:
    """sum(x * x); axes as in `convert_sum`."""
    return _reduce(view, aten.sum.dim_IntList, view.step(aten.mul.Tensor, view.inputs[0], view.inputs[0]))


@register_converter("norm")
def convert_norm(view: NodeView) -> fx.Node:
    """(sum(abs(x)**ord))**(1 / ord) for ord 1 and 2; axes as in `convert_sum`."""
    order = view.attributes.integer("ord", 2)
    if order not in (1, 2):
        raise view.invalid(f"ord is {order}; MXNet has 1 and 2")
    axes, keep = _axes(view)
    if not axes:
        return view.call(aten.abs.default, view.inputs[0])
    if keep or len(axes) < len(view.shape()):
        return view.call(aten.linalg_vector_norm.default, view.inputs[0], order, axes, keep)
    return _without(view, view.step(aten.linalg_vector_norm.default, view.inputs[0], order, axes, True), axes)


@register_converter("moments")
def convert_moments(view: NodeView) -> tuple[fx.Node, fx.Node]:
    """Mean and variance, over ``axes``: all when absent."""
    rank = len(view.shape())
    axes = sorted({view.axis(axis) for axis in view.attributes.optional_integers("axes") or ()}) or list(range(rank))
    mean = view.step(aten.mean.dim, view.inputs[0], axes, True)
    deviation = view.step(aten.sub.Tensor, view.inputs[0], mean)
    variance = view.step(aten.mean.dim, view.step(aten.mul.Tensor, deviation, deviation), axes, True)
    if view.attributes.boolean("keepdims", False):
        return mean, variance
    return _without(view, mean, axes), _without(view, variance, axes)


def _axes(view: NodeView) -> tuple[list[int], bool]:
    """Axes that are reduced, ascending, and keepdims."""
    rank = len(view.shape())
    axes = sorted({view.axis(axis) for axis in view.attributes.optional_integers("axis") or ()})
    if view.attributes.boolean("exclude", False):
        axes = [axis for axis in range(rank) if axis not in axes]
    return axes or ([] if view.attributes.boolean("exclude", False) else list(range(rank))), \
        view.attributes.boolean("keepdims", False)


def _without(view: NodeView, data: fx.Node, axes: list[int]) -> fx.Node:
    """A reduced tensor without its axes of extent 1; MXNet gives shape (1,) where torch gives ()."""
    if len(axes) == len(view.shape()):
        return view.call(aten.reshape.default, data, [1])
    return view.call(aten.squeeze.dims, data, axes)


def _reduce(view: NodeView, target: Callable, data: fx.Node | None = None) -> fx.Node:
    data = view.inputs[0] if data is None else data
    axes, keep = _axes(view)
    if not axes:
        return data
    if keep or len(axes) < len(view.shape()):
        return view.call(target, data, axes, keep)
    return view.call(aten.reshape.default, view.step(target, data, axes, False), [1])
