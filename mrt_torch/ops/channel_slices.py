"""Channel-wise granularity: a convolution or dense layer as operators on slices of the input channels.

Each slice of the input, and of the weight, is then calibrated and quantized by itself. (MRT GEN, ``slice_channel``.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe, source_name

aten = torch.ops.aten
CHANNEL_AXIS = 1


def slice_channels(op: fx.Node, operands: Sequence[fx.Node | None], options: Sequence[Any] = (), groups: int = 1, *,
                   editor: GraphEditor, gn_info: Mapping[str, Any]) -> fx.Node:
    """The node that replaces ``op``, a convolution or dense layer, sliced in steps of ``gn_info["step"]`` channels.

        Y = X * W + B     =>     Y = (X1 * W1 + B) + X2 * W2 + ...       Xi, Wi: slices of axis 1

    Equal but for the order of the sum. Of a grouped convolution each group becomes such a sum, and their outputs are
    concatenated; the step divides the channels of a group. (The original took a step of 1 there, and a convolution for
    each pair of input and output channels.) A layer of C channels becomes C / step operators, which costs time in
    proportion; per-channel weights, the default, cost none.

    Args:
        op: the node.
        operands: its X, W and B, which may be None; W and B are parameters.
        options: its other arguments, as for one group.
        groups: of the convolution.
        editor: writes the new nodes.
        gn_info: ``{"gn_type": "channel-wise", "ichannel": 1, "step": step}``.

    Raises:
        InvalidArgumentError: ``ichannel`` is not 1; the step does not divide the channels, or leaves one slice.
    """
    x, weight, bias = operands
    count = shape_of(x)[CHANNEL_AXIS]
    step = _checked_step(op, gn_info, count, count // groups)
    kernel, offset = editor.tensor_of(weight), None if bias is None else editor.tensor_of(bias)
    rows = len(kernel) // groups
    outputs = []
    for group in range(groups):
        begin = group * (count // groups)
        own = slice(group * rows, (group + 1) * rows)
        terms = []
        for start in range(0, count // groups, step):
            part = editor.call(aten.slice.Tensor, x, CHANNEL_AXIS, begin + start, begin + start + step, 1,
                               name=f"{source_name(op)}_x{begin + start}")
            piece = editor.constant(f"{source_name(weight)}_{begin + start}",
                                    kernel[own, start:start + step].contiguous())
            first = None if offset is None or start else \
                (bias if groups == 1 else editor.constant(f"{source_name(bias)}_{begin}", offset[own].contiguous()))
            terms.append(editor.call(op.target, part, piece, first, *options))
        outputs.append(_sum(editor, terms))
    return outputs[0] if groups == 1 else editor.call(aten.cat.default, outputs, CHANNEL_AXIS)


def _checked_step(op: fx.Node, gn_info: Mapping[str, Any], channels: int, in_group: int) -> int:
    axis, step = gn_info["ichannel"], gn_info["step"]
    if axis != CHANNEL_AXIS:
        raise InvalidArgumentError(f"channels are sliced along axis {CHANNEL_AXIS}", where=describe(op),
                                   why=f"saw ichannel {axis}", remedy=f"set ichannel to {CHANNEL_AXIS}")
    if step < 1 or in_group % step:
        group = "" if in_group == channels else " of a group"
        raise InvalidArgumentError(f"the step divides the input channels{group}", where=describe(op),
                                   why=f"saw step {step} for {in_group} channels",
                                   remedy=f"choose one of {[d for d in range(1, in_group + 1) if in_group % d == 0]}")
    if channels // step < 2:
        raise InvalidArgumentError("channel-wise granularity needs two slices at least", where=describe(op),
                                   why=f"step {step} makes one slice of {channels} channels",
                                   remedy="choose a smaller step, or layer-wise granularity")
    return step


def _sum(editor: GraphEditor, terms: Sequence[fx.Node]) -> fx.Node:
    """A balanced tree of additions: the fewest roundings lie between a term and the sum."""
    while len(terms) > 1:
        pairs = [terms[i:i + 2] for i in range(0, len(terms), 2)]
        terms = [pair[0] if len(pair) == 1 else editor.call(aten.add.Tensor, *pair) for pair in pairs]
    return terms[0]
