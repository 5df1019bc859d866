"""Which observer watches which activation when the user does not say."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from mrt_torch.calibration.extremes import ChannelMinMaxObserver, MinMaxObserver
from mrt_torch.calibration.histogram_observer import HistogramObserver
from mrt_torch.calibration.insert_observers import ObserverFactory, of_node
from mrt_torch.calibration.observers import AbsmaxObserver, Observer
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.free_axis import free_axis

aten = torch.ops.aten
CONVOLUTION, LINEAR = aten.conv2d.default, aten.linear.default

# Operators that give no value below zero, and those that give none where their input has none.
FROM_ZERO = {aten.relu.default, aten.sigmoid.default, aten.exp.default, aten.abs.default, aten.softmax.int}
KEEPING = {aten.max_pool2d.default, aten.flatten.using_ints, aten.reshape.default, aten.permute.default,
           aten.dropout.default, aten.unsqueeze.default, aten.squeeze.dims, aten.amax.default, aten.mean.dim,
           aten.adaptive_avg_pool2d.default, aten.avg_pool2d.default}


def default_observers(module: fx.GraphModule) -> Callable[[fx.Node], Observer]:
    """Makes the default observer of every activation of a prepared graph.

    * the data operand of a convolution or dense layer, but for inputs of the graph: a histogram, by channel where a
      grouped convolution reads it, and the extremes as below;
    * whole numbers and truth values: the largest magnitude;
    * others: the extremes of each channel of axis 1; those of the tensor where it has no such axis, or axis 1 is the
      batch.
    """
    readers = operand_groups(module)

    def make(node: fx.Node) -> Observer:
        if not node.meta["val"].dtype.is_floating_point:
            return AbsmaxObserver()
        channels = len(shape_of(node)) >= 2 and free_axis(node) != 1
        if node.name in readers:
            return HistogramObserver(signed=not is_from_zero(node), by_channel=channels and max(readers[node.name]) > 1,
                                     extremes_by_channel=channels)
        return ChannelMinMaxObserver() if channels else MinMaxObserver()
    return make


def chosen_observers(module: fx.GraphModule, lambd: float | None = None, observer: ObserverFactory | None = None
                     ) -> Callable[[fx.Node], Observer]:
    """Makes the observer of every activation: by ``observer``, with ``lambd``, or by ``default_observers``.

    Raises:
        InvalidArgumentError: both ``lambd`` and ``observer``.
    """
    if lambd is not None and observer is not None:
        raise InvalidArgumentError("lambd is a setting of the built-in observer", why="an observer was given too",
                                   remedy="give one of them; an observer of your own has its own settings")
    if observer is not None:
        return of_node(observer)
    return default_observers(module) if lambd is None else lambda node: AbsmaxObserver(lambd)


def operand_groups(module: fx.GraphModule) -> dict[str, tuple[int, ...]]:
    """Data operands of convolutions and dense layers that are activations, by name: the group counts of their readers.

    1 is always among them.
    """
    found: dict[str, set[int]] = {}
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target in (CONVOLUTION, LINEAR):
            operand = node.args[0]
            if operand.op == "call_function":
                groups = node.args[6] if node.target is CONVOLUTION and len(node.args) > 6 else 1
                found.setdefault(operand.name, {1}).add(groups)
    return {name: tuple(sorted(groups)) for name, groups in found.items()}


def is_from_zero(node: fx.Node) -> bool:
    """Whether the operators that lead to a node show that no value is below zero."""
    while node.op == "call_function" and node.target in KEEPING:
        node = node.args[0]
    if node.op != "call_function":
        return False
    if node.target is aten.clamp.default:
        low = node.args[1] if len(node.args) > 1 else None
        return isinstance(low, (int, float)) and low >= 0
    return node.target in FROM_ZERO
