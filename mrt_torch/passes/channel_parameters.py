"""Gives a node another constant, under the name of the one it had."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.facts import source_name
from mrt_torch.passes.names import claim_name


def set_operand(editor: GraphEditor, node: fx.Node, position: int, tensor: torch.Tensor) -> None:
    """Let ``node`` read ``tensor``, a new constant, as its argument at ``position``.

    The constant has the source name of the one before, which stays for others that read it, and its fx name too where
    there are none.
    """
    before = node.args[position]
    with editor.before(node):
        constant = editor.constant(source_name(before), tensor)
    node.update_arg(position, constant)
    if not before.users:
        name = before.name
        editor.erase_unread(before)
        claim_name(constant, name)


def along_axis_1(values: torch.Tensor, rank: int) -> torch.Tensor:
    """(E,) as (1, E, 1, ...), which broadcasts along axis 1 of a tensor of ``rank`` axes."""
    return values.reshape([1, -1] + [1] * (rank - 2))


def values_on_axis_1(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor | None:
    """The number that each position on axis 1 of a tensor of ``shape`` meets in ``tensor``, which broadcasts to it.

    (E,), or None where positions meet several.
    """
    full = tensor.reshape([1] * (len(shape) - tensor.dim()) + list(tensor.shape))
    if any(extent != 1 for axis, extent in enumerate(full.shape) if axis != 1):
        return None
    return full.reshape(-1).expand(shape[1])
