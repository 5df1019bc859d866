"""Node names: thresholds, precisions and exported files are keyed by them, so each must be one node's alone."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection
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
            remedy="rename them, or let bridges.mxnet.unify_names(symbol) do it")


def unify_names(symbol: Symbol) -> Symbol:
    """The symbol with ``_1``, ``_2``, ... added to operator names already taken. (MRT's ``unify_name_json``.)"""
    return _unified(symbol, {node.name for node in symbol.operators})


def unify_repeated_calls(symbol: Symbol) -> Symbol:
    """The symbol with the calls of a gluon block told apart, which is one ReLU that several layers share.

    Gluon gives them one name; they are operators of one kind with equal attributes. Other nodes that share a name keep
    it, for ``check_names`` to refuse: there the file is damaged, or was edited by hand. What is renamed is logged.
    """
    kinds: dict[str, set] = defaultdict(set)
    for node in symbol.operators:
        kinds[node.name].add((node.operator, frozenset(node.attributes.items())))
    variables = {node.name for node in symbol.variables}
    unified = _unified(symbol, {name for name, seen in kinds.items() if len(seen) == 1 and name not in variables})
    renamed = [f"'{new.name}'" for old, new in zip(symbol.nodes, unified.nodes, strict=True) if old.name != new.name]
    if renamed:
        logger.warning("%d operators that share their names were told apart by numbers: %s", len(renamed),
                       ", ".join(renamed[:20]))
    return unified


def _unified(symbol: Symbol, names: Collection[str]) -> Symbol:
    """The symbol with operators of these names told apart."""
    taken = {node.name for node in symbol.variables}
    counters: Counter[str] = Counter()
    nodes = []
    for node in symbol.nodes:
        name = node.name
        while not node.is_variable and node.name in names and name in taken:
            counters[node.name] += 1
            name = f"{node.name}_{counters[node.name]}"
        taken.add(name)
        nodes.append(node if name == node.name else replace(node, name=name))
    return replace(symbol, nodes=tuple(nodes))
