"""Which float nodes hold integers by nature: truth values, signs and indices, also after a cast to float."""

from __future__ import annotations

import torch
from torch import fx

aten = torch.ops.aten
CAST = aten._to_copy.default
# They move elements and change none; the tensor is their first argument.
MOVEMENT = (CAST, aten.reshape.default, aten.flatten.using_ints, aten.permute.default, aten.unsqueeze.default,
            aten.squeeze.dims, aten.slice.Tensor, aten.dropout.default)
SCALING = (aten.mul.Scalar, aten.div.Scalar, aten.neg.default, aten.abs.default, aten.relu.default)
ROUNDING = (aten.floor.default, aten.ceil.default, aten.trunc.default, aten.round.default)


def is_discrete(node: fx.Node) -> bool:
    """True for a tensor of a type without fractions, and for one that was such before it was cast or moved.

    Its integers have the scale 1 and mean what they are: they are never rescaled to fill a precision, and calibration,
    which may have met zeros only, does not bound them.
    """
    while True:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            return False
        if not value.is_floating_point() or node.target is aten.sign.default:
            return True
        if node.target is aten.cat.default:
            return all(is_discrete(part) for part in node.args[0])
        if node.target not in MOVEMENT:
            return False
        node = node.args[0]


def is_exact(node: fx.Node) -> bool:
    """True where the integers of a node are its very values: what is discrete or rounded, also scaled or moved."""
    while not is_discrete(node):
        if node.target in ROUNDING:
            return True
        if node.target not in MOVEMENT + SCALING:
            return False
        node = node.args[0]
    return True


def reads_through_movement(node: fx.Node) -> set[fx.Node]:
    """The readers of a node; those of a reader that only moves elements stand for that reader."""
    readers: set[fx.Node] = set()
    for user in node.users:
        moves = user.op == "call_function" and user.target in MOVEMENT and user.target is not CAST
        readers |= reads_through_movement(user) if moves else {user}
    return readers
