"""Cuts a symbol in two at keys, as MXNet's ``get_internals`` does, also where operators have no converter."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bridges.mxnet.model_inputs import needed_nodes, outputs_read
from bridges.mxnet.symbol import VARIABLE, Entry, Symbol, SymbolNode
from mrt_torch.errors import InvalidArgumentError

_OUTPUT = re.compile(r"(?P<node>.+)_output(?P<position>\d{0,9})", re.DOTALL)


class KeyNames:
    """What keys mean in a symbol.

    A key is the name of an operator or of an input, or as MXNet names outputs: ``name_output`` the first of a node,
    ``name_output2`` the third. Of a node several outputs of which are read, the name alone says too little.
    """

    def __init__(self, symbol: Symbol, params: Collection[str]):
        needed = needed_nodes(symbol)
        self._read = outputs_read(symbol, needed)
        self._nodes = {symbol.nodes[index].name: index for index in reversed(needed)
                       if not (symbol.nodes[index].is_variable and symbol.nodes[index].name in params)}

    def find(self, key: str) -> Entry | None:
        """The output that a key names; None where there is none such, or it names several."""
        if key in self._nodes:
            outputs = self._read[self._nodes[key]]
            return (self._nodes[key], 0) if outputs <= {0} else None
        match = _OUTPUT.fullmatch(key)
        if match and match["node"] in self._nodes:
            index, position = self._nodes[match["node"]], int(match["position"] or 0)
            return (index, position) if position in self._read[index] or not position else None
        return None

    def entries(self, keys: Sequence[str]) -> list[Entry]:
        """The outputs that keys name, in topological order.

        Raises:
            InvalidArgumentError: a key names no output or several, an output is named twice, or there are no keys.
        """
        found = []
        for key in keys:
            entry = self.find(key)
            if entry is None and key in self._nodes:
                outputs = ", ".join(f"'{key}_output{position}'" for position in sorted(self._read[self._nodes[key]]))
                raise InvalidArgumentError(f"node '{key}' has several outputs", where="keys", remedy=f"name {outputs}")
            if entry is None:
                raise InvalidArgumentError(
                    f"the symbol has no node '{key}'", where="keys",
                    remedy="give names of operators or inputs of the symbol; 'mrt-torch inspect --suggest-split' names "
                           "keys that cut the model below what is not supported")
            found.append(entry)
        if not found or len(set(found)) != len(found):
            raise InvalidArgumentError("split takes distinct node names", why=f"saw {list(keys)}",
                                       remedy="name each node once, and at least one")
        return sorted(found)


def below(symbol: Symbol, entries: Sequence[Entry]) -> Symbol:
    """The symbol that returns ``entries``: all they depend on, and nothing else."""
    return _part(symbol, entries, {})


def above(symbol: Symbol, variables: Mapping[Entry, SymbolNode]) -> Symbol:
    """The symbol with the same heads that reads ``variables`` in place of the outputs they stand for.

    Outputs may share a variable. Variables of one name in ``symbol`` are one variable, as MXNet binds them.
    """
    inputs = {symbol.nodes[index].name: variable for (index, _), variable in variables.items()
              if symbol.nodes[index].is_variable}
    repeated = {(index, 0): inputs[node.name] for index, node in enumerate(symbol.nodes)
                if node.is_variable and node.name in inputs}
    return _part(symbol, symbol.heads, {**variables, **repeated})


def params_of(symbol: Symbol, params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters that the variables of a symbol name, in the order of ``params``."""
    names = {node.name for node in symbol.variables}
    return {name: array for name, array in params.items() if name in names}


def _part(symbol: Symbol, heads: Sequence[Entry], variables: Mapping[Entry, SymbolNode]) -> Symbol:
    """What ``heads`` depend on, where variables stand for some outputs."""
    needed = {index for index, output in heads if (index, output) not in variables}
    for index in range(len(symbol.nodes) - 1, -1, -1):
        if index in needed:
            needed.update(source for source, output in symbol.nodes[index].inputs if (source, output) not in variables)
    by_name = {variable.name: variable for variable in variables.values()}
    nodes, order = list(by_name.values()), list(by_name)
    places: dict[Entry, Entry] = {entry: (order.index(variable.name), 0) for entry, variable in variables.items()}
    indices: dict[int, int] = {}

    def moved(entry: Entry) -> Entry:
        return places[entry] if entry in places else (indices[entry[0]], entry[1])
    for index in sorted(needed):
        node = symbol.nodes[index]
        indices[index] = len(nodes)
        nodes.append(replace(node, inputs=tuple(moved(entry) for entry in node.inputs)))
    return Symbol(tuple(nodes), tuple(moved(entry) for entry in heads), symbol.attributes)


def input_variable(name: str, shape: Sequence[int]) -> SymbolNode:
    """An input of float32."""
    return SymbolNode(VARIABLE, name, {"__shape__": str(tuple(shape)), "__dtype__": "0"})
