"""What a float writer sees: one node, its arguments by name, and the means to write MXNet nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from torch import fx

from bridges.mxnet.symbol import Entry
from bridges.mxnet.symbol_builder import NodeWriter
from mrt_torch.errors import ExportError
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import describe


@dataclass(frozen=True)
class FloatCall(NodeWriter):
    """One node of a float graph.

    Attributes:
        node: the fx node.
        arguments: its arguments by the names of the ATen schema, defaults included.
        entries: MXNet outputs of the nodes before it.
    """

    node: fx.Node
    arguments: Mapping[str, Any]
    entries: Mapping[fx.Node, Entry]

    @property
    def inputs(self) -> list[Entry]:
        """MXNet outputs of all tensor arguments, in order."""
        return [self.entries[node] for node in tensor_arguments(self.node)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first tensor argument."""
        return shape_of(tensor_arguments(self.node)[0])

    @property
    def output_shape(self) -> tuple[int, ...]:
        return shape_of(self.node)

    def numbers(self, name: str, count: int) -> tuple[int, ...]:
        """A window, stride, padding or dilation with one number for each axis; a single one stands for all."""
        value = self.arguments[name]
        values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        return values * count if len(values) == 1 else values

    def pair(self, name: str) -> tuple[int, int]:
        """``numbers`` for height and width."""
        return self.numbers(name, 2)

    def axis(self, name: str, extra: int = 0) -> int:
        """An axis counted from the front, among those of the first argument and ``extra`` new ones."""
        return self.arguments[name] % (len(self.shape) + extra)

    def require(self, condition: bool, why: str) -> None:
        """Refuse unless ``condition`` holds."""
        if not condition:
            self.refuse(why)

    def require_rank(self, *ranks: int) -> None:
        """Refuse unless the first argument has one of these numbers of axes."""
        self.require(len(self.shape) in ranks, f"the input has shape {self.shape}; "
                     f"{' or '.join(map(str, ranks))} axes are expected")

    def refuse(self, why: str) -> NoReturn:
        """Raise ExportError; the driver collects the reasons of all nodes."""
        raise ExportError("a node cannot be written as MXNet", where=describe(self.node), why=why,
                          remedy="change the node, or split the model before it")


def tensor_arguments(node: fx.Node) -> list[fx.Node]:
    """Nodes among the arguments in order and with repetitions, also those in lists."""
    found = []
    for argument in [*node.args, *node.kwargs.values()]:
        items: Sequence[Any] = argument if isinstance(argument, (list, tuple)) else [argument]
        found += [item for item in items if isinstance(item, fx.Node)]
    return found


def bound_arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments of a node by name, with the schema's defaults; none for targets without a schema."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {}
    bound = {argument.name: argument.default_value for argument in schema.arguments
             if argument.has_default_value()}
    bound.update(zip((argument.name for argument in schema.arguments), node.args))
    return {**bound, **node.kwargs}
