"""Symbolic sizes of an exported program: which are free, and what they are for the example batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.facts import describe

Size = int | torch.SymInt


@dataclass(frozen=True)
class SymbolicSize:
    """A size that depends on the batch, by the node of the exported program that computes it."""

    node: fx.Node


def is_free(size: Size) -> bool:
    """True for a size that follows the batch."""
    return isinstance(size, torch.SymInt) and bool(size.node.expr.free_symbols)


@dataclass(frozen=True)
class BatchAxis:
    """The batch of an exported program.

    Attributes:
        example: extent of the batch the graph's values are computed for.
        symbol: the symbol of a free batch; None for a program exported with a fixed one.
        assume_free: in a fixed program, write reshapes that keep axis 0 with -1 there. The caller has to check that
            the graph is right for other batches.
        axis: the axis of the inputs that is the batch.
    """

    example: int
    symbol: object | None
    assume_free: bool = False
    axis: int = 0

    def concrete(self, size: Size, node: fx.Node) -> int:
        """The size for the example batch.

        Raises:
            UnsupportedOperatorError: it depends on the values of a tensor.
        """
        if not isinstance(size, torch.SymInt):
            return int(size)
        expression = size.node.expr
        if expression.free_symbols - {self.symbol}:
            raise UnsupportedOperatorError(
                "a shape depends on the values of a tensor", where=describe(node), why=f"one of its sizes is {size}",
                remedy="split the model before this operator (Model.split), and run the rest in torch")
        return int(expression.subs({self.symbol: self.example}))

    def shape_of(self, node: fx.Node) -> list[int]:
        """Shape of a source node's value for the example batch."""
        return [self.concrete(size, node) for size in node.meta["val"].shape]

    def target_shape(self, node: fx.Node, sizes: Sequence[Size], before: Sequence[Size]) -> list[int] | None:
        """``sizes`` as the target of a reshape from ``before``: -1 for the axis that follows the batch.

        None when two axes do, which no target can express.
        """
        free = [axis for axis, size in enumerate(sizes) if is_free(size)]
        if len(free) > 1:
            return None
        if self.symbol is None and self.assume_free and sizes and before \
                and sizes[0] == before[0] == self.example:
            free = [0]
        return [-1 if axis in free else self.concrete(size, node) for axis, size in enumerate(sizes)]
