"""Changes of shape and order: reshape, transpose, concatenate, pad."""

from __future__ import annotations

import torch
from torch import fx

from bridges.mxnet.converters.reshape_target import free_target
from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.graph.free_axis import free_axis

aten = torch.ops.aten


@register_converter("Flatten", "flatten")
def convert_flatten(view: NodeView) -> fx.Node:
    """(N, a, b, ...) becomes (N, a * b * ...), (N,) becomes (N, 1)."""
    if len(view.shape()) == 1:
        return view.call(aten.unsqueeze.default, view.inputs[0], 1)
    return view.call(aten.flatten.using_ints, view.inputs[0], 1, -1)


@register_converter("Reshape", "reshape")
def convert_reshape(view: NodeView) -> fx.Node:
    """reshape, with the target's special numbers worked out and -1 on the axis that follows the batch."""
    attributes = view.attributes
    target, reverse = attributes.integers("shape", ()), attributes.boolean("reverse", False)
    if not target:  # the name of MXNet 0.7 and older: 0 is inferred, and axis 0 is kept when ``keep_highest``
        target = [-1 if dim == 0 else dim for dim in attributes.integers("target_shape")]
        if attributes.boolean("keep_highest", False):
            target[0:1] = [0]
        reverse = False
    try:
        result = free_target(view.shape(), free_axis(view.inputs[0]), target, reverse)
    except ValueError as error:
        raise view.invalid(str(error)) from error
    return view.call(aten.reshape.default, view.inputs[0], result)


@register_converter("transpose")
def convert_transpose(view: NodeView) -> fx.Node:
    """permute; without ``axes`` the axes are reversed."""
    rank = len(view.shape())
    axes = [view.axis(axis) for axis in view.attributes.integers("axes", ())] or list(reversed(range(rank)))
    if sorted(axes) != list(range(rank)):
        raise view.invalid(f"axes {tuple(axes)} are no order of the {rank} axes of the input")
    return view.call(aten.permute.default, view.inputs[0], axes)


@register_converter("SwapAxis", "swapaxes")
def convert_swap_axis(view: NodeView) -> fx.Node:
    """permute with ``dim1`` and ``dim2`` exchanged."""
    axes = list(range(len(view.shape())))
    first = view.axis(view.attributes.integer("dim1", 0))
    second = view.axis(view.attributes.integer("dim2", 0))
    axes[first], axes[second] = axes[second], axes[first]
    return view.call(aten.permute.default, view.inputs[0], axes)


@register_converter("expand_dims")
def convert_expand_dims(view: NodeView) -> fx.Node:
    """A new axis of length 1 at ``axis``."""
    axis = view.axis(view.attributes.integer("axis"), len(view.shape()) + 1)
    return view.call(aten.unsqueeze.default, view.inputs[0], axis)


@register_converter("squeeze")
def convert_squeeze(view: NodeView) -> fx.Node:
    """Without the axes of length 1 given as ``axis``; by default all but the batch."""
    shape, axes = view.shape(), view.attributes.optional_integers("axis")
    if axes is None:
        free = free_axis(view.inputs[0])
        axes = tuple(axis for axis in range(len(shape)) if shape[axis] == 1 and axis != free)
        axes = axes[1:] if len(axes) == len(shape) else axes  # MXNet keeps one axis
    axes = sorted({view.axis(axis) for axis in axes})
    if any(shape[axis] != 1 for axis in axes):
        raise view.invalid(f"axes {tuple(axes)} of the input shape {shape} are not all of length 1")
    if not axes:
        return view.inputs[0]
    return view.call(aten.squeeze.dims, view.inputs[0], axes)


@register_converter("Concat", "concat")
def convert_concat(view: NodeView) -> fx.Node:
    """The inputs one after the other along ``dim`` (1 by default)."""
    return view.call(aten.cat.default, list(view.inputs), view.axis(view.attributes.integer("dim", 1)))


@register_converter("stack")
def convert_stack(view: NodeView) -> fx.Node:
    """The inputs one after the other along a new axis."""
    axis = view.axis(view.attributes.integer("axis", 0), len(view.shape()) + 1)
    parts = [view.step(aten.unsqueeze.default, node, axis) for node in view.inputs]
    return view.call(aten.cat.default, parts, axis)


_MODES = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}


@register_converter("Pad", "pad")
def convert_pad(view: NodeView) -> fx.Node:
    """A border of one number, of the edge, or of the mirrored inside."""
    attributes = view.attributes
    mode = _MODES[attributes.choice("mode", tuple(_MODES))]
    widths, shape = attributes.integers("pad_width"), view.shape()
    if len(widths) != 2 * len(shape) or any(width < 0 for width in widths):
        raise view.invalid(f"pad_width is {widths}; the shape {shape} asks for {2 * len(shape)} numbers")
    pairs = list(zip(widths[::2], widths[1::2]))
    if mode == "reflect" and any(width >= extent for pair, extent in zip(pairs, shape) for width in pair if width):
        raise view.invalid(f"pad_width {widths} mirrors more than the shape {shape} has")
    if not any(widths):
        return view.inputs[0]
    # torch lists the last axis first
    padding = [width for pair in reversed(pairs) for width in pair]
    if mode != "constant" and (len(shape) < 3 or any(padding[-4:])):
        raise view.invalid(f"pad_width {widths} pads the first two axes of {shape}, which mode {mode} leaves alone")
    while padding[-2:] == [0, 0] and (mode == "constant" or len(padding) > 2 * len(shape) - 4):
        del padding[-2:]
    if mode == "constant":
        number = attributes.real("constant_value", 0.0)
        return view.call(aten.constant_pad_nd.default, view.inputs[0], padding, number)
    return view.call(aten.pad.default, view.inputs[0], padding, mode)
