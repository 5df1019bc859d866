"""Writes MXNet nodes one after another: unique names, attribute texts and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import fx

from bridges.mxnet.symbol import VARIABLE, Entry, Symbol, SymbolNode
from mrt_torch.graph.editor import sanitise
from mrt_torch.graph.facts import source_name

# mshadow's numbers of the element types, which ``__dtype__`` holds.
_TYPE_FLAGS = {np.dtype(name): flag for flag, name in enumerate(
    ("float32", "float64", "float16", "uint8", "int32", "int8", "int64"))}


def attribute_text(value: Any) -> str:
    """A parameter as MXNet's Python front end prints it."""
    if isinstance(value, str):
        return value
    if isinstance(value, (tuple, list)):
        return str(tuple(value))
    return str(value)


class SymbolBuilder:
    """A symbol and its parameters under construction.

    Args:
        reserved: names that only their owners may take; see `plan_names`.
    """

    def __init__(self, reserved: Iterable[str] = ()):
        self._nodes: list[SymbolNode] = []
        self._taken = set(reserved)
        self.params: dict[str, np.ndarray] = {}

    def variable(self, name: str, shape: Sequence[int], dtype: np.dtype, **hidden: Any) -> Entry:
        """An input of the model; ``hidden`` become attributes ``__key__``."""
        attributes = {"__shape__": tuple(shape), "__dtype__": _TYPE_FLAGS[np.dtype(dtype)],
                      **{f"__{key}__": value for key, value in hidden.items()}}
        return self._append(VARIABLE, name, (), attributes)

    def parameter(self, name: str, array: np.ndarray, *, auxiliary: bool = False) -> Entry:
        """A variable with a value; its shape and type, which MXNet cannot always infer, are stored too."""
        self.params[f"{'aux' if auxiliary else 'arg'}:{name}"] = np.ascontiguousarray(array)
        return self.variable(name, array.shape, array.dtype)

    def operator(self, operator: str, inputs: Sequence[Entry], name: str, **attributes: Any) -> Entry:
        """Output 0 of a new node; attributes that are None are left out."""
        return self._append(operator, name, inputs,
                            {key: value for key, value in attributes.items() if value is not None})

    def unused_name(self, name: str) -> str:
        """``name``, or the first ``name_1``, ``name_2``, ... that no other node has or reserves."""
        candidate, counter = name, 1
        while candidate in self._taken:
            candidate, counter = f"{name}_{counter}", counter + 1
        self._taken.add(candidate)
        return candidate

    def build(self, heads: Sequence[Entry]) -> Symbol:
        """The finished symbol."""
        return Symbol(tuple(self._nodes), tuple(heads))

    def _append(self, operator: str, name: str, inputs: Sequence[Entry], attributes: dict[str, Any]) -> Entry:
        texts = {key: attribute_text(value) for key, value in attributes.items()}
        self._nodes.append(SymbolNode(operator, name, texts, tuple(inputs)))
        return len(self._nodes) - 1, 0


@dataclass(frozen=True)
class NodeWriter:
    """Writes the MXNet nodes that stand for one node of a graph.

    Attributes:
        name: name of the node of the result; other nodes get it with a suffix.
        builder: where nodes go.
    """

    name: str
    builder: SymbolBuilder

    def result(self, operator: str, *inputs: Entry, **attributes: Any) -> Entry:
        """The node of the result."""
        return self.builder.operator(operator, inputs, self.name, **attributes)

    def part(self, suffix: str, operator: str, *inputs: Entry, **attributes: Any) -> Entry:
        """A node on the way to the result."""
        return self.builder.operator(operator, inputs, self.builder.unused_name(f"{self.name}_{suffix}"),
                                     **attributes)

    def constant(self, suffix: str, array: np.ndarray, *, auxiliary: bool = False) -> Entry:
        """A parameter that the graph does not have."""
        return self.builder.parameter(self.builder.unused_name(f"{self.name}_{suffix}"), array,
                                      auxiliary=auxiliary)


def plan_names(graph: fx.Graph) -> dict[fx.Node, str]:
    """Unique names for all nodes: the user's names where possible, otherwise with a suffix.

    Several nodes may stem from one node of the model; the last of them, which gives its result, keeps the
    name. Nodes that read the same buffer share one name. Inputs choose first, then parameters.
    """
    chosen: dict[fx.Node, str] = {}
    taken: set[str] = set()

    def choose(node: fx.Node, wanted: str) -> None:
        candidate, counter = wanted, 1
        while candidate in taken:
            candidate, counter = f"{wanted}_{counter}", counter + 1
        taken.add(candidate)
        chosen[node] = candidate

    for node in graph.nodes:
        if node.op == "placeholder":  # an input that a pass renamed, to data, keeps its new name
            renamed = node.name != sanitise(source_name(node))
            choose(node, node.name if renamed else source_name(node))
    buffers: dict[str, str] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            if node.target in buffers:
                chosen[node] = buffers[node.target]
            else:
                choose(node, source_name(node))
                buffers[node.target] = chosen[node]
    last = {source_name(node): node for node in graph.nodes if node.op == "call_function"}
    for name, node in last.items():
        choose(node, name)
    for node in graph.nodes:
        if node.op == "call_function" and node not in chosen:
            operator = getattr(node.target, "overloadpacket", node.target).__name__
            choose(node, f"{source_name(node)}_{operator}")
    return chosen
