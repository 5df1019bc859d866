"""How a shift of each channel passes the operators of a path: what becomes of x when it was lowered by c."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import fx

from mrt_torch.graph.editor import shape_of, tensor_of
from mrt_torch.ops.activation import clip_bounds
from mrt_torch.ops.convolution import convolution_arguments
from mrt_torch.ops.reduction import reduction_arguments
from mrt_torch.passes.channel_parameters import values_on_axis_1
from mrt_torch.passes.channel_paths import FOREIGN, RULES, ChannelPath, aten, constant_operand, keeps_channels


class Shift(NamedTuple):
    """By how much each position on axis 1 of a node is lowered, and what is known of it before and after.

    Attributes:
        amount: (E,) float64, old value - new value.
        above: (E,) bool, both values are at least 0.
        below: (E,) bool, both values are at most 0.
    """

    amount: torch.Tensor
    above: torch.Tensor
    below: torch.Tensor

    def scaled(self, factor: torch.Tensor) -> Shift:
        """Of the values times ``factor``, (E,) or (1,)."""
        return Shift(self.amount * factor, torch.where(factor < 0, self.below, self.above),
                     torch.where(factor < 0, self.above, self.below))

    def taken(self, positions: torch.Tensor) -> Shift:
        """Of the values at other positions; what is not from here does not move."""
        kept = positions != FOREIGN
        return Shift(torch.where(kept, self.amount[positions], 0.0), kept & self.above[positions],
                     kept & self.below[positions])


def still(extent: int) -> Shift:
    """Nothing moves, and nothing is known."""
    return Shift(torch.zeros(extent, dtype=torch.float64), *torch.zeros(2, extent, dtype=torch.bool))


def shifts_along(module: fx.GraphModule, path: ChannelPath, amount: torch.Tensor) -> dict[fx.Node, Shift] | str:
    """Shifts of all nodes of a path whose producer's channels are lowered by ``amount`` and stay at least 0 by that.

    ``amount`` is (C,) float64, 0 for channels that stay. The reason instead, where an operator does not pass them on.
    """
    shifts = {path.producer: Shift(amount, amount > 0, torch.zeros(len(amount), dtype=torch.bool))}
    for node in list(path.owners)[1:]:
        found = _passed(module, node, shifts)
        if found is None:
            return f"{node.target} does not pass on a shift of its channels"
        shifts[node] = found
    return shifts


def _passed(module: fx.GraphModule, node: fx.Node, shifts: dict[fx.Node, Shift]) -> Shift | None:
    if node.target is aten.cat.default:
        return _joined(node, shifts)
    if node.target in (aten.add.Tensor, aten.sub.Tensor):
        return _sum(node, shifts)
    if node.target is aten.mul.Tensor:
        return _product(module, node, shifts)
    sources = [shifts[operand] for operand in node.all_input_nodes if operand in shifts]
    if not any(bool((source.amount != 0).any()) for source in sources):
        return still(shape_of(node)[1])
    if node.target in MOVING:
        positions = RULES[node.target](node, {node.args[0]: torch.arange(shape_of(node.args[0])[1])})
        return None if isinstance(positions, str) else sources[0].taken(positions)
    if node.target is aten.conv2d.default:
        return _averaged(module, node, sources[0])
    rule = PASSING.get(node.target)
    return None if rule is None else rule(node, sources[0])


def _joined(node: fx.Node, shifts: dict[fx.Node, Shift]) -> Shift | None:
    parts = [shifts.get(part) or still(shape_of(part)[1]) for part in node.args[0]]
    if (node.args[1] if len(node.args) > 1 else 0) % len(shape_of(node)) != 1:
        same = all(torch.equal(part.amount, parts[0].amount) for part in parts)
        return parts[0] if same else None
    return Shift(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _sum(node: fx.Node, shifts: dict[fx.Node, Shift]) -> Shift:
    """Of two tensors of the path, or of one and a constant."""
    first, second = (shifts.get(operand) or still(shape_of(node)[1]) for operand in node.args)
    if node.target is aten.sub.Tensor:
        second = second.scaled(torch.tensor([-1.0], dtype=torch.float64))
    return Shift(first.amount + second.amount, first.above & second.above, first.below & second.below)


def _product(module: fx.GraphModule, node: fx.Node, shifts: dict[fx.Node, Shift]) -> Shift | None:
    """With a constant that has one factor for each position."""
    x, constant = shifts[next(operand for operand in node.args if operand in shifts)], constant_operand(node)
    factor = None if constant is None else values_on_axis_1(tensor_of(module, constant), shape_of(node))
    if factor is not None:
        return x.scaled(factor.to(torch.float64))
    return None if bool((x.amount != 0).any()) else still(shape_of(node)[1])


def _averaged(module: fx.GraphModule, node: fx.Node, x: Shift) -> Shift | None:
    """A sum over windows, alike for all channels, that no padding enters."""
    _, weight, _, _, padding, *_ = convolution_arguments(node)
    kernel = tensor_of(module, weight)[0].to(torch.float64)
    if not keeps_channels(module, node) or padding != [0, 0] or bool((kernel < 0).any()):
        return None
    return x.scaled(kernel.sum().reshape(1))


def _rectified(node: fx.Node, x: Shift) -> Shift | None:
    """relu(x - c) = relu(x) - c where both are at least 0; both are 0 where x and x - c are at most 0."""
    moved = x.amount != 0
    if bool((moved & ~x.above & ~x.below).any()):
        return None
    return Shift(torch.where(x.below, 0.0, x.amount), torch.ones_like(moved), x.below)


def _clamped(node: fx.Node, x: Shift) -> Shift | None:
    low, high = clip_bounds(node)
    return _rectified(node, x) if low == 0 and high == math.inf else None


def _scaled(node: fx.Node, x: Shift) -> Shift:
    factor = 1 / node.args[1] if node.target is aten.div.Scalar else node.args[1]
    return x.scaled(torch.tensor([factor], dtype=torch.float64))


def _negated(node: fx.Node, x: Shift) -> Shift:
    return x.scaled(torch.tensor([-1.0], dtype=torch.float64))


def _summed(node: fx.Node, x: Shift) -> Shift:
    axes, _ = reduction_arguments(node)
    return x.scaled(torch.tensor([math.prod(shape_of(node.args[0])[axis] for axis in axes)], dtype=torch.float64))


def _same(node: fx.Node, x: Shift) -> Shift:
    return x


# Operators that only move or choose elements, or weigh them with shares of one.
MOVING = (aten.flatten.using_ints, aten.reshape.default, aten.unsqueeze.default, aten.squeeze.dims,
          aten.permute.default, aten.slice.Tensor)
PASSING: dict[Callable, Callable[[fx.Node, Shift], Shift | None]] = {
    **dict.fromkeys((aten.max_pool2d.default, aten.mean.dim, aten.amax.default, aten.amin.default,
                     aten.adaptive_avg_pool2d.default, aten.upsample_nearest2d.default,
                     aten.upsample_bilinear2d.default, aten.dropout.default), _same),
    aten.relu.default: _rectified, aten.clamp.default: _clamped, aten.neg.default: _negated,
    aten.mul.Scalar: _scaled, aten.div.Scalar: _scaled, aten.sum.dim_IntList: _summed,
}
