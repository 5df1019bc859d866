"""Sequences of several lengths in one tensor: SequenceMask, SequenceLast, SequenceReverse."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten


@register_converter("SequenceMask")
def convert_sequence_mask(view: NodeView) -> fx.Node:
    """``value`` (0 by default) beyond each sequence's length; the input where no lengths are used."""
    axis, lengths = _arguments(view)
    if lengths is None:
        return view.inputs[0]
    value = view.attributes.real("value", 0.0)
    within = _positions(view, axis, lengths, aten.gt.Tensor, first=0)
    if value == 0:
        return view.call(aten.mul.Tensor, view.inputs[0], within)
    # (x - value) * within + value
    shifted = view.step(aten.sub.Scalar, view.inputs[0], value)
    return view.call(aten.add.Scalar, view.step(aten.mul.Tensor, shifted, within), value)


@register_converter("SequenceLast")
def convert_sequence_last(view: NodeView) -> fx.Node:
    """The last element of each sequence: the sum of the products with 1 at its position, or the last of all."""
    axis, lengths = _arguments(view)
    if lengths is None:
        length = view.shape()[axis]
        last = view.step(aten.slice.Tensor, view.inputs[0], axis, length - 1, length, 1)
        return view.call(aten.squeeze.dims, last, [axis])
    chosen = _positions(view, axis, lengths, aten.eq.Tensor, first=1)
    return view.call(aten.sum.dim_IntList, view.step(aten.mul.Tensor, view.inputs[0], chosen), [axis], False)


@register_converter("SequenceReverse")
def convert_sequence_reverse(view: NodeView) -> fx.Node:
    """Axis 0 in the opposite order; lengths are refused."""
    if view.attributes.boolean("use_sequence_length", False):
        raise view.unsupported("it reverses each sequence within its own length")
    return view.call(aten.flip.default, view.inputs[0], [0])


def _arguments(view: NodeView) -> tuple[int, fx.Node | None]:
    """The axis of the sequence, 0 or 1, and the lengths (N,), None where they are not used."""
    used = view.attributes.boolean("use_sequence_length", False)
    view.expect_inputs(*((2,) if used else (1, 2)))
    axis, shape = view.attributes.integer("axis", 0), view.shape()
    if axis not in (0, 1) or len(shape) < 2:
        raise view.invalid(f"the input has shape {shape}, the axis of the sequence is {axis}; it must be 0 or 1")
    if used and view.shape(1) != (shape[1 - axis],):
        raise view.invalid(f"the lengths have shape {view.shape(1)} for the input shape {shape}")
    return axis, view.inputs[1] if used else None


def _positions(view: NodeView, axis: int, lengths: fx.Node, comparison: Callable, first: int) -> fx.Node:
    """1 where ``comparison(length, position)`` holds, 0 elsewhere; positions count from ``first``."""
    shape = view.shape()
    positions = torch.arange(first, first + shape[axis], dtype=view.dtype)
    compared = view.step(comparison, view.step(aten.unsqueeze.default, lengths, axis),
                         view.constant(positions.unsqueeze(1 - axis), "positions"))
    found = view.step(aten._to_copy.default, compared, dtype=view.dtype)
    for position in range(2, len(shape)):
        found = view.step(aten.unsqueeze.default, found, position)
    return found
