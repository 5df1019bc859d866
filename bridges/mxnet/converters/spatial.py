"""What converters of operators on images have in common: layouts, numbers by axis, chains of nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView

aten = torch.ops.aten

LAYOUTS = {"NCW": 1, "NCHW": 2, "NCDHW": 3, "NWC": 1, "NHWC": 2, "NDHWC": 3}  # and their spatial axes
Stage = tuple[Any, ...]  # a target, and its arguments after the tensor


@dataclass(frozen=True)
class Layout:
    """The order of the axes of an operator's data.

    Attributes:
        spatial: number of spatial axes.
        channels_last: whether the channels are the last axis.
    """

    spatial: int
    channels_last: bool = False

    @classmethod
    def of(cls, view: NodeView, spatial: int) -> Layout:
        """The attribute ``layout``; without it the channels come first.

        Raises:
            InvalidGraphError: it has other spatial axes than the kernel, or the data other axes.
        """
        name = view.attributes.choice("layout", ("None", *LAYOUTS), "None")
        if LAYOUTS.get(name, spatial) != spatial:
            raise view.invalid(f"layout is {name}; the kernel has {spatial} axes")
        if len(view.shape()) != spatial + 2:
            raise view.invalid(f"the input has shape {view.shape()}; {spatial + 2} axes are expected")
        return cls(spatial, name.endswith("C"))

    @property
    def to_first(self) -> list[int]:
        """Permutation that brings the channels to axis 1."""
        return [0, self.spatial + 1, *range(1, self.spatial + 1)]

    @property
    def opening(self) -> list[Stage]:
        """Brings data to channels first."""
        return [(aten.permute.default, self.to_first)] if self.channels_last else []

    @property
    def closing(self) -> list[Stage]:
        """Brings a result back."""
        return [(aten.permute.default, [0, *range(2, self.spatial + 2), 1])] if self.channels_last else []

    def shape(self, view: NodeView) -> tuple[int, ...]:
        """Shape of the data with the channels first."""
        shape = view.shape()
        return tuple(shape[axis] for axis in self.to_first) if self.channels_last else shape

    def weight(self, view: NodeView, extra: bool = False) -> fx.Node:
        """The weight with its channels, axis 1, before the kernel; ``extra`` adds a kernel axis of length 1."""
        node, tensor = view.inputs[1], view.value(1)
        if tensor is None:
            stages = [*self.opening, *[(aten.unsqueeze.default, self.spatial + 2)] * extra]
            return chain(view, node, *stages, named=False)
        if not self.channels_last and not extra:
            return node
        tensor = tensor.permute(self.to_first).contiguous() if self.channels_last else tensor
        return view.constant(tensor.unsqueeze(-1) if extra else tensor, "weight")


def chain(view: NodeView, data: fx.Node, *stages: Stage, named: bool = True) -> fx.Node:
    """Every stage applied to the result of the one before it; the last node takes the model's name if ``named``."""
    for position, (target, *arguments) in enumerate(stages, start=1):
        last = named and position == len(stages)
        data = (view.call if last else view.step)(target, data, *arguments)
    return data


def spatial(view: NodeView, attribute: str, rank: int, default: int) -> list[int]:
    """A parameter with one number for each spatial axis; absent or () means ``default`` everywhere."""
    numbers = list(view.attributes.integers(attribute, ())) or [default] * rank
    if len(numbers) != rank or any(number < default for number in numbers):
        raise view.invalid(f"{attribute} is {tuple(numbers)}; {rank} numbers from {default} on are expected")
    return numbers


def row(target: Callable, *arguments: Any) -> list[Stage]:
    """A stage of two spatial axes for data of one, which gets another of length 1 behind it."""
    return [(aten.unsqueeze.default, 3), (target, *arguments), (aten.squeeze.dims, [3])]
