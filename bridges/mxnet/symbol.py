"""The graph of an MXNet model as plain data: nodes, inputs, heads and string attributes."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from mrt_torch.errors import InvalidGraphError

VARIABLE = "null"  # MXNet's operator name of a node that computes nothing

# Inputs that an operator updates in training ("auxiliary states"), by input position.
# Source: FMutateInputs of the operators in MXNet 1.9.1.
_MOVING_MOMENTS = {3: "moving_mean", 4: "moving_var"}
AUXILIARY_INPUTS: Mapping[str, Mapping[int, str]] = {
    "BatchNorm": _MOVING_MOMENTS,
    "BatchNorm_v1": _MOVING_MOMENTS,
    "CuDNNBatchNorm": _MOVING_MOMENTS,
    "_contrib_BatchNormWithReLU": _MOVING_MOMENTS,
    "_contrib_SyncBatchNorm": _MOVING_MOMENTS,
    "IdentityAttachKLSparseReg": {1: "moving_avg"},
}

# MXNet's own reader knows no escape for these, and UTF-8 has no form for lone surrogates.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_HIGHEST_INTEGER = 2**31 - 1  # MXNet stores indices and the attributes of a symbol in 32 bits

Entry = tuple[int, int]

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 200
show = _repr.repr  # for messages: bounded in length and depth, whatever a hostile file holds


@dataclass(frozen=True)
class SymbolNode:
    """One node.

    Args:
        operator: MXNet's operator name; "null" is a variable.
        name: the node's name; names may repeat.
        attributes: operator parameters, and user attributes such as `__shape__` or `__lr_mult__`.
        inputs: (node index, output index) of each input.
    """

    operator: str
    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Entry, ...] = ()

    @property
    def is_variable(self) -> bool:
        return self.operator == VARIABLE


@dataclass(frozen=True)
class Symbol:
    """A graph in topological order: every input of a node stands before the node.

    Args:
        nodes: all nodes.
        heads: (node index, output index) of each output of the model.
        attributes: facts on the whole graph as (kind, value), where the kind is "int", "str", "list_int" or
            "list_str" and lists are tuples: `{"mxnet_version": ("int", 10901)}`.

    Raises:
        InvalidGraphError: an index is out of range or out of order, a variable has inputs, there are no
            heads, or a text cannot be written to a file.
    """

    nodes: tuple[SymbolNode, ...]
    heads: tuple[Entry, ...]
    attributes: Mapping[str, tuple[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fault = find_fault(self.nodes, self.heads, self.attributes)
        if fault is not None:
            where, why = fault
            raise InvalidGraphError("an MXNet symbol is malformed", where=where, why=why,
                                    remedy="list every node after its inputs, and use existing outputs only")

    @property
    def variables(self) -> tuple[SymbolNode, ...]:
        """Inputs, parameters and auxiliary states, in order."""
        return tuple(node for node in self.nodes if node.is_variable)

    @property
    def operators(self) -> tuple[SymbolNode, ...]:
        """The nodes that compute, in order."""
        return tuple(node for node in self.nodes if not node.is_variable)

    @property
    def argument_names(self) -> tuple[str, ...]:
        """Names of the variables that are no auxiliary states, in order (MXNet's `list_arguments`)."""
        return tuple(node.name for index, node in enumerate(self.nodes)
                     if node.is_variable and index not in self._auxiliary_indices)

    @property
    def auxiliary_names(self) -> tuple[str, ...]:
        """Names of the auxiliary states, in order (MXNet's `list_auxiliary_states`)."""
        return tuple(self.nodes[index].name for index in sorted(self._auxiliary_indices))

    @cached_property
    def _auxiliary_indices(self) -> frozenset[int]:
        found = set()
        for node in self.nodes:
            for position in AUXILIARY_INPUTS.get(node.operator, ()):
                if position < len(node.inputs) and self.nodes[node.inputs[position][0]].is_variable:
                    found.add(node.inputs[position][0])
        return frozenset(found)


def find_fault(nodes: tuple[SymbolNode, ...], heads: tuple[Entry, ...],
               attributes: Mapping[str, tuple[str, object]]) -> tuple[str, str] | None:
    """Return (where, why) of the first broken rule of `Symbol`, or None."""
    for index, node in enumerate(nodes):
        where = f"node {index} ({show(node.operator)}, named {show(node.name)})"
        for text in (node.operator, node.name, *node.attributes, *node.attributes.values()):
            why = _find_text_fault(text)
            if why is not None:
                return where, why
        if node.is_variable and node.inputs:
            return where, f"a variable has {len(node.inputs)} inputs"
        for position, entry in enumerate(node.inputs):
            why = _find_entry_fault(nodes, entry, index)
            if why is not None:
                return f"{where}, input {position}", why
    for key, (_, setting) in attributes.items():
        for element in setting if isinstance(setting, tuple) else (setting,):
            why = _find_text_fault(key) or (None if isinstance(element, int) else _find_text_fault(element))
            if why is not None or (isinstance(element, int) and abs(element) > _HIGHEST_INTEGER):
                return f"attribute {show(key)} of the symbol", why or f"{element} is wider than 32 bits"
    if not heads:
        return "heads", "the symbol has no output"
    for position, entry in enumerate(heads):
        why = _find_entry_fault(nodes, entry, len(nodes))
        if why is not None:
            return f"head {position}", why
    return None


def _find_text_fault(text: object) -> str | None:
    if not isinstance(text, str):
        return f"{show(text)} is no text"
    if _UNWRITABLE.search(text):
        return f"the text {show(text)} holds a control character or a lone surrogate"
    return None


def _find_entry_fault(nodes: tuple[SymbolNode, ...], entry: Entry, limit: int) -> str | None:
    node, output = entry
    if not 0 <= node < limit:
        return f"node index {node} is none of the {limit} nodes that come before"
    if not 0 <= output <= _HIGHEST_INTEGER:
        return f"output index {output} is not in 0..{_HIGHEST_INTEGER}"
    if output and nodes[node].is_variable:
        return f"output index {output} of the variable {show(nodes[node].name)}, which has one output"
    return None
