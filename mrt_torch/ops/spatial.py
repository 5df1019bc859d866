"""What the operators on images, tensors of the axes (N, C, H, W), have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.free_axis import free_axis


def not_an_image(op: fx.Node, rank: int = 4) -> str | None:
    """Reason why the first input of an operator is no batch of images (or, with rank 5, of volumes); None if it is."""
    seen, names = len(shape_of(op.args[0])), "N, C, H, W" if rank == 4 else "N, C, D, H, W"
    if seen != rank:
        return f"the input has {seen} axes, expected {rank} ({names})"
    axis = free_axis(op.args[0])
    return None if axis in (None, 0) else f"the batch is axis {axis} of the input, expected axis 0 ({names})"


def is_normalized(op: fx.Node) -> bool:
    """Whether a BatchNorm, which folds into a convolution's weight, is all that reads its result, or its row."""
    readers = list(op.users)
    if len(readers) == 1 and readers[0].target is torch.ops.aten.squeeze.dims:
        readers = list(readers[0].users)
    return len(readers) == 1 and readers[0].target is torch.ops.aten.batch_norm.default


def numbers(value: Sequence[int] | int, count: int = 2) -> tuple[int, ...]:
    """One number for each spatial axis; a single one stands for all."""
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * count if len(values) == 1 else values)


def argument(op: fx.Node, position: int, default: Any) -> Any:
    """A positional argument of a node, or its default."""
    return op.args[position] if len(op.args) > position else default
