"""One call of an exported program as a canonical form sees it, and the table of canonical forms."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from mrt_torch.errors import InvalidArgumentError, MRTError, UnsupportedOperatorError
from mrt_torch.graph.batch_axis import BatchAxis, SymbolicSize, is_free
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe

aten = torch.ops.aten
Value = fx.Node | tuple | SymbolicSize | None
MOST_FOLDED = 64  # nodes that are looked at to see whether a value is a constant


@dataclass
class Call:
    """A call of the exported program with its arguments resolved to nodes of the new graph.

    Attributes:
        node: the call in the exported program; its ``val`` has symbolic sizes.
        target: its operator, the functional one where the program's works in place.
        args, kwargs: as the program gives them: numbers, nodes of the new graph, SymbolicSize.
        editor: writes the new graph.
        batch: the free axis.
        materialise: makes a node of the new graph that computes a SymbolicSize.
        created: the nodes emitted so far.
        folded: tensors that were read while the form was chosen.
    """

    node: fx.Node
    target: Callable
    args: tuple
    kwargs: dict[str, Any]
    editor: GraphEditor
    batch: BatchAxis
    materialise: Callable[[SymbolicSize], fx.Node | int]
    created: list[fx.Node] = field(default_factory=list)
    folded: list[torch.Tensor] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        """An argument by its name in the operator's schema; its default when the program leaves it out."""
        for position, argument in enumerate(self.target._schema.arguments):
            if argument.name == name:
                if position < len(self.args):
                    return self.args[position]
                return self.kwargs.get(name, argument.default_value)
        raise KeyError(f"{self.target} has no argument '{name}'")

    def source(self, name: str) -> fx.Node:
        """The node of the exported program behind a tensor argument."""
        for position, argument in enumerate(self.target._schema.arguments):
            if argument.name == name:
                return self.node.args[position] if position < len(self.node.args) else self.node.kwargs[name]
        raise KeyError(f"{self.target} has no argument '{name}'")

    def emit(self, target: Callable, *args: Any, **kwargs: Any) -> fx.Node:
        """A node of the new graph."""
        node = self.editor.call(target, *self._plain(args), **self._plain(kwargs))
        value = node.meta["val"]
        if isinstance(value, torch.Tensor) and value.device.type != "meta":  # made by an operator without inputs
            node.meta["val"] = value.to("meta")
        self.created.append(node)
        return node

    def keep(self) -> fx.Node:
        """The operator as it is: it has no canonical form, and validation will say so."""
        try:
            return self.emit(self.target, *self.args, **self.kwargs)
        except MRTError as error:
            raise UnsupportedOperatorError(
                f"{self.target} cannot be captured", where=describe(self.node), why=error.why,
                remedy="split the model before this operator (Model.split), and run the rest in torch") from error

    def _plain(self, argument: Any) -> Any:
        if isinstance(argument, SymbolicSize):
            return self.materialise(argument)
        if isinstance(argument, (list, tuple)):
            return type(argument)(self._plain(item) for item in argument)
        if isinstance(argument, dict):
            return {key: self._plain(item) for key, item in argument.items()}
        return argument

    def constant_tensor(self, value: Any) -> torch.Tensor | None:
        """The tensor of a constant, or of what a few plain operators compute from constants alone; None for others."""
        if not isinstance(value, fx.Node):
            return None
        nodes = _computed_from_constants(value)
        if nodes is None:
            return None
        tensors: dict[fx.Node, torch.Tensor] = {}
        with torch.no_grad():
            for node in nodes:
                args, kwargs = fx.map_arg((node.args, node.kwargs), tensors.get)
                tensors[node] = self.editor.tensor_of(node) if node.op == "get_attr" else node.target(*args, **kwargs)
        self.folded += [self.editor.tensor_of(node) for node in nodes if node.op == "get_attr"]
        return tensors[value]

    def shape(self) -> list[int]:
        """Shape of the result for the example batch."""
        return self.batch.shape_of(self.node)

    def is_free_axis(self, name: str, axis: int) -> bool:
        """True when an axis of a tensor argument follows the batch."""
        return is_free(self.source(name).meta["val"].shape[axis])

    def reads_part(self, index: int) -> bool:
        """True when something reads output ``index`` of an operator of several outputs."""
        readers = [user for user in self.node.users if user.target is operator.getitem and user.args[1] == index]
        return any(reader.users for reader in readers)


CanonicalForm = Callable[[Call], Value]


class CanonicalForms:
    """One function by ATen operator (``"relu6.default"``): it emits the operator's canonical form.

    A form returns the node (or tuple of nodes) that holds the result, or calls ``call.keep()``.
    """

    def __init__(self):
        self._forms: dict[str, CanonicalForm] = {}

    def register(self, names: Sequence[str], form: CanonicalForm, override: bool = False) -> None:
        for name in names:
            if name in self._forms and not override:
                raise InvalidArgumentError(f"aten.{name} has a canonical form already",
                                           remedy="pass override=True to replace it")
            self._forms[name] = form

    def unregister(self, name: str) -> None:
        """Let the operator stay as it is."""
        del self._forms[name]

    def get(self, target: Callable) -> CanonicalForm | None:
        """The form of an operator; None when it stays as it is."""
        name = str(target)
        return self._forms.get(name.removeprefix("aten.")) if name.startswith("aten.") else None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._forms))


CANONICAL_FORMS = CanonicalForms()


def canonical_form(*names: str, override: bool = False) -> Callable[[CanonicalForm], CanonicalForm]:
    """Decorator: the function gives the canonical form of these ATen operators.

    Raises:
        InvalidArgumentError: one of them has a form and ``override`` is False.
    """
    def decorate(form: CanonicalForm) -> CanonicalForm:
        CANONICAL_FORMS.register(names, form, override)
        return form
    return decorate


def pair(value: Sequence[int] | int) -> list[int]:
    """Two numbers, for the vertical and the horizontal axis."""
    values = [value] if isinstance(value, int) else list(value)
    return values * 2 if len(values) == 1 else values


def rank_of(node: fx.Node) -> int:
    """Number of axes of a node's value."""
    return len(shape_of(node))


def permuted(call: Call, x: fx.Node, axes: Sequence[int]) -> fx.Node:
    """``x`` with its axes in another order."""
    return x if list(axes) == sorted(axes) else call.emit(aten.permute.default, x, list(axes))


def _computed_from_constants(value: fx.Node) -> list[fx.Node] | None:
    """``value`` and all it is computed from, in the order of the graph; None unless these are a few constants."""
    found, pending = {value}, [value]
    while pending:
        node = pending.pop()
        plain = node.op == "call_function" and node.target is not operator.getitem and node.all_input_nodes \
            and torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ())
        if node.op != "get_attr" and not plain or len(found) > MOST_FOLDED:
            return None
        new = set(node.all_input_nodes) - found
        found |= new
        pending += new
    return sorted(found)
