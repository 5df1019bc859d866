"""Node names: thresholds, precisions and exported files are keyed by them, so each must be one node's alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from bridges.mxnet.symbol import Symbol
from mrt_torch.errors import InvalidGraphError


def check_names(symbol: Symbol) -> None:
    """Raise when two operators, or an operator and a variable, share a name. (MRT's ``name_duplicate_check``.)

    Variables of one name are one variable, as MXNet binds them.

    Raises:
        InvalidGraphError: lists the repeated names.
    """
    counts = Counter([node.name for node in symbol.operators] + list({node.name for node in symbol.variables}))
    repeated = [f"'{name}' ({count} times)" for name, count in counts.items() if count > 1]
    if repeated:
        raise InvalidGraphError(
            "nodes of the MXNet symbol share their names", where=f"first at node {repeated[0].partition(' (')[0]}",
            why=", ".join(repeated[:20]),
            remedy="rename them, or let bridges.mxnet.unify_names do it: "
                   "write_symbol(unify_names(read_symbol(path)), new_path)")


def unify_names(symbol: Symbol) -> Symbol:
    """The symbol with ``_1``, ``_2``, ... added to operator names already taken. (MRT's ``unify_name_json``.)"""
    taken = {node.name for node in symbol.variables}
    nodes = []
    for node in symbol.nodes:
        name, counter = node.name, 0
        while not node.is_variable and name in taken:
            counter += 1
            name = f"{node.name}_{counter}"
        taken.add(name)
        nodes.append(node if name == node.name else replace(node, name=name))
    return replace(symbol, nodes=tuple(nodes))
