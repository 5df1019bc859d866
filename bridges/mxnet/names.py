"""Node names: thresholds, precisions and exported files are keyed by them, so each must be one node's alone."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace

from bridges.mxnet.symbol import Symbol
from mrt_torch.errors import InvalidGraphError

logger = logging.getLogger(__name__)


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
            remedy="rename them, or let bridges.mxnet.unify_names(symbol) do it, as Model.load does")


def unify_names(symbol: Symbol) -> Symbol:
    """The symbol with ``_1``, ``_2``, ... added to operator names already taken. (MRT's ``unify_name_json``.)

    Gluon gives a block that is called several times, as one ReLU often is, the same name each time. What is renamed is
    logged.
    """
    taken = {node.name for node in symbol.variables}
    counters: Counter[str] = Counter()
    nodes = []
    for node in symbol.nodes:
        name = node.name
        while not node.is_variable and name in taken:
            counters[node.name] += 1
            name = f"{node.name}_{counters[node.name]}"
        taken.add(name)
        nodes.append(node if name == node.name else replace(node, name=name))
    if counters:
        logger.warning("operators that share their names were told apart by numbers: %s",
                       ", ".join(f"'{name}' (+{count})" for name, count in list(counters.items())[:20]))
    return replace(symbol, nodes=tuple(nodes))
