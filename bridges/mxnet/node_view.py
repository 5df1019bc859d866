"""What a converter sees of the model: one MXNet node, its imported inputs, and the means to write nodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import fx

from bridges.mxnet.attributes import Attributes
from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, sanitise, shape_of
from mrt_torch.graph.facts import set_facts
from mrt_torch.graph.masking import without_mask


class NodeView:
    """One MXNet node during import.

    Attributes:
        operator: MXNet's name of the operator.
        name: the node's name in the model.
        attributes: the node's parameters.
        inputs: the fx nodes of its inputs; every one has a shape.
        dtype: element type of the graph.
        outputs_read: positions of the outputs that other nodes or the heads read; only these must be made.
    """

    def __init__(self, operator: str, name: str, attributes: Attributes, inputs: Sequence[fx.Node],
                 editor: GraphEditor, dtype: torch.dtype, outputs_read: Collection[int] = (0,)):
        self.operator = operator
        self.name = name
        self.attributes = attributes
        self.inputs = tuple(inputs)
        self.dtype = dtype
        self.outputs_read = outputs_read
        self._editor = editor

    @property
    def where(self) -> str:
        """The node, for messages."""
        return f"node '{self.name}' ({self.operator})"

    def shape(self, position: int = 0) -> tuple[int, ...]:
        """Shape of an input."""
        return shape_of(self.inputs[position])

    def axis(self, axis: int, rank: int | None = None) -> int:
        """``axis``, counted from the end when negative, as an index from 0.

        Raises:
            InvalidGraphError: there is no such axis.
        """
        rank = len(self.shape()) if rank is None else rank
        if not -rank <= axis < rank:
            raise self.invalid(f"axis {axis} is not in [{-rank}, {rank - 1}]")
        return axis % rank

    def value(self, position: int) -> torch.Tensor | None:
        """Value of an input that is a parameter; None for a computed input."""
        node = self.inputs[position]
        return self._editor.tensor_of(node) if node.op == "get_attr" else None

    def call(self, target: Callable, *args: Any, output: int | None = None, **keywords: Any) -> fx.Node:
        """The node of the result, which takes the model's name; of several results, the one at ``output``."""
        name = self.name if output is None else f"{self.name}_output{output}"
        return self._editor.call(target, *args, name=name, source_operator=self.operator, **keywords)

    def step(self, target: Callable, *args: Any, **keywords: Any) -> fx.Node:
        """A node on the way to the result."""
        operation = getattr(target, "overloadpacket", target).__name__
        node = self._editor.call(target, *args, name=sanitise(f"{self.name}_{operation}"),
                                 source_operator=self.operator, **keywords)
        set_facts(node, source_name=self.name)
        return node

    def constant(self, tensor: torch.Tensor, suffix: str) -> fx.Node:
        """A new constant named after the node."""
        node = self._editor.constant(f"{self.name}_{suffix}", tensor)
        set_facts(node, source_operator=self.operator)
        return node

    def reshaped(self, position: int, shape: Sequence[int]) -> fx.Node:
        """An input in another shape: a new constant when it is a parameter, else a reshape."""
        if self.shape(position) == tuple(shape):
            return self.inputs[position]
        tensor = self.value(position)
        if tensor is None:
            return self.step(torch.ops.aten.reshape.default, self.inputs[position], list(shape))
        return self.constant(tensor.reshape(tuple(shape)), f"input{position}")

    def without_mask(self, scores: fx.Node) -> tuple[fx.Node, fx.Node] | None:
        """Scores before a mask excluded some of them, and the mask; see ``mrt_torch.graph.masking``."""
        return without_mask(self.step, self._editor, scores)

    def expect_inputs(self, *counts: int) -> None:
        """Raise InvalidGraphError unless the node has one of these numbers of inputs."""
        if len(self.inputs) not in counts:
            expected = " or ".join(map(str, counts))
            raise self.invalid(f"it has {len(self.inputs)} inputs; {expected} are expected")

    def expect_shape(self, position: int, expected: Sequence[int], meaning: str) -> None:
        """Raise InvalidGraphError unless an input has the shape its operator's parameters ask for."""
        if self.shape(position) != tuple(expected):
            raise self.invalid(f"{meaning} has shape {self.shape(position)}; {tuple(expected)} is expected "
                               f"for the input shape {self.shape()}")

    def invalid(self, why: str) -> InvalidGraphError:
        """The error of a node whose inputs or parameters contradict each other."""
        return InvalidGraphError(
            f"MXNet operator {self.operator} is used wrongly", where=self.where, why=why,
            remedy="check the input shape, and that symbol and parameters belong together")

    def unsupported(self, why: str, remedy: str | None = None) -> UnsupportedOperatorError:
        """The error of a variant that cannot be imported."""
        return UnsupportedOperatorError(
            f"this use of MXNet operator {self.operator} is not supported", where=self.where, why=why,
            remedy=remedy or "change the model, or register a converter of your own with "
                             "bridges.mxnet.registry.register_converter(..., override=True)")
