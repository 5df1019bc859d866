"""Tensors that depend on no values: of one number, or of numbers at equal distances."""

from __future__ import annotations

import math

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten

_MOST_ELEMENTS = 2**24  # a short text could ask for more than any memory holds


@register_converter("zeros_like")
def convert_zeros_like(view: NodeView) -> fx.Node:
    """Zeros of the input's shape, whatever the batch."""
    return view.call(aten.zeros_like.default, view.inputs[0])


@register_converter("ones_like")
def convert_ones_like(view: NodeView) -> fx.Node:
    """Ones of the input's shape, whatever the batch."""
    return view.call(aten.ones_like.default, view.inputs[0])


@register_converter("_zeros", "_ones", "_full", needs_inputs=False)
def convert_filled(view: NodeView) -> fx.Node:
    """A constant of ``shape``; a shape that is not known until bound is refused."""
    shape = view.attributes.integers("shape")
    if not shape or any(dim < 1 for dim in shape):
        raise view.unsupported(f"its shape is {shape}; positive numbers are expected")
    number = {"_zeros": 0.0, "_ones": 1.0}.get(view.operator)
    number = view.attributes.real("value") if number is None else number
    _check_size(view, math.prod(shape))
    value = torch.tensor(number, dtype=view.dtype).expand(shape)  # one number in memory, whatever the shape
    return view.constant(value, "value")


@register_converter("_arange", needs_inputs=False)
def convert_arange(view: NodeView) -> fx.Node:
    """start, start + step, ... before ``stop``, each ``repeat`` times; without ``stop``, 0 to start (exclusive)."""
    attributes = view.attributes
    if attributes.boolean("infer_range", False):
        raise view.unsupported("its length is inferred from what reads it", "give arange its stop")
    start, stop = attributes.real("start", 0.0), attributes.optional_real("stop")
    start, stop = (0.0, start) if stop is None else (start, stop)
    step, repeat = attributes.real("step", 1.0), attributes.integer("repeat", 1)
    length = (stop - start) / step if step else 0.0
    if not (0 < length and repeat >= 1):
        raise view.invalid(f"start {start}, stop {stop}, step {step} and repeat {repeat} give no number")
    _check_size(view, length * repeat)
    return view.constant(_numbers(math.ceil(length), start, step, repeat).to(view.dtype), "value")


@register_converter("_linspace", needs_inputs=False)
def convert_linspace(view: NodeView) -> fx.Node:
    """``num`` numbers from ``start`` to ``stop``, at equal distances; without ``endpoint`` stop is left out."""
    attributes = view.attributes
    start, stop, count = attributes.real("start"), attributes.real("stop"), attributes.integer("num")
    _check_size(view, count)
    if count < 1:
        raise view.unsupported(f"it has {count} numbers; at least one is expected")
    intervals = count - 1 if attributes.boolean("endpoint", True) else count
    step = (stop - start) / intervals if intervals else 0.0
    return view.constant(_numbers(count, start, step, 1).to(view.dtype), "value")


@register_converter("_eye", needs_inputs=False)
def convert_eye(view: NodeView) -> fx.Node:
    """(N, M) zeros with ones on the k-th diagonal; M is N by default."""
    rows, columns = view.attributes.integer("N"), view.attributes.integer("M", 0)
    columns = columns or rows
    if rows < 1 or columns < 1:
        raise view.unsupported(f"its shape is {(rows, columns)}; positive numbers are expected")
    _check_size(view, rows * columns)
    diagonal = torch.arange(columns)[None, :] - torch.arange(rows)[:, None]
    return view.constant((diagonal == view.attributes.integer("k", 0)).to(view.dtype), "value")


@register_converter("_contrib_arange_like", "arange_like")
def convert_arange_like(view: NodeView) -> fx.Node:
    """Numbers from ``start`` by ``step``, ``repeat`` of each: as many as the input holds, or as ``axis`` is long."""
    attributes = view.attributes
    repeat, axis = attributes.integer("repeat", 1), attributes.optional_integer("axis")
    if repeat < 1:
        raise view.invalid(f"repeat is {repeat}; a positive number is expected")
    axis = None if axis is None else view.axis(axis)
    return view.call(torch.ops.mrt.arange_like.default, view.inputs[0], attributes.real("start", 0.0),
                     attributes.real("step", 1.0), repeat, axis)


def _numbers(count: int, start: float, step: float, repeat: int) -> torch.Tensor:
    return (start + step * torch.arange(count, dtype=torch.float64)).repeat_interleave(repeat)


def _check_size(view: NodeView, count: float) -> None:
    if count > _MOST_ELEMENTS:
        raise view.unsupported(f"it has {count:.0f} elements; {_MOST_ELEMENTS} are supported")
