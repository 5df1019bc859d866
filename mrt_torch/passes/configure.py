"""Finds the nodes that a configuration means: by name, regular expression or operator."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import fx

from mrt_torch.configuration import CHANNEL_WISE, DEFAULTS, check_served, deserialize
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.facts import describe, source_name
from mrt_torch.ops.registry import TRANSFORMERS
from mrt_torch.passes.symbol import Params, Symbol, graph_of

#: Key of all nodes that no other key names.
RESIDUAL = "_RES_"
EXPRESSION, OPERATOR = "re:", "op:"

Configuration = dict[str, dict[str, Any]]


def sym_config_infos(symbol: Symbol, params: Params, cfg_dict: Mapping[Any, Mapping[str, Any]] | None = None,
                     logger: Any = logging) -> Configuration:
    """The configuration of every node of a graph, parameters and inputs among them.

    A key of ``cfg_dict`` (or a name of a key that is a tuple) is, in the order of precedence,

    * the name of a node, in the graph or in the model it came from,
    * ``re:<expression>``: all nodes one of whose names it matches as a whole,
    * ``op:<operator>``: all nodes of an operator, by its MXNet name, such as ``op:Convolution``,
    * ``_RES_``: all nodes that no other key means, wherever it stands.

    Each attribute of a node comes from the first of these that gives it; what nothing gives is the default: layer-wise,
    UniformSymmetric, HistoricalValue. One name in the user's model may have become several nodes: all of them are
    meant, but channel-wise granularity is for those that can be sliced. (MRT GEN, ``tfm_pass.sym_config_infos``.)

    Args:
        symbol: prepared Model or its GraphModule.
        params: tensors that replace the graph's own, by name; None or {} keeps them.
        cfg_dict: as ``deserialize`` takes or returns it.
        logger: its ``warning`` is called once, with the keys that mean no node; ``_RES_`` may mean none.

    Returns:
        attributes by node name in the graph, in the order of the graph.

    Raises:
        InvalidArgumentError: see ``deserialize``; an expression that is none; two keys of the same precedence that
            disagree about a node; an optimizor and a quantizer that do not go together.
    """
    module = graph_of(symbol, params)
    given = given_configuration(module, cfg_dict or {}, logger)
    names = [node.name for node in module.graph.nodes if node.op != "output"]
    return {name: _copied({**DEFAULTS, **given.get(name, {})}) for name in names}


def given_configuration(module: fx.GraphModule, cfg_dict: Mapping[Any, Mapping[str, Any]],
                        logger: Any = logging) -> Configuration:
    """What ``cfg_dict`` says of each node, by node name, without defaults: nodes that no key means are missing.

    Raises:
        InvalidArgumentError: see ``sym_config_infos``.
    """
    groups = deserialize(cfg_dict)
    nodes = [node for node in module.graph.nodes if node.op != "output"]
    names = _names_of(nodes)
    meant = {key: _meant_by(key, nodes, names) for key in groups if key != RESIDUAL}
    unmatched = [key for key, (_, matching) in meant.items() if not matching]
    if unmatched:
        logger.warning("the configuration names no node of the graph with %s", ", ".join(map(repr, unmatched)))
    found: dict[fx.Node, dict[str, tuple[int, str, Any]]] = {}
    for key, (rank, matching) in sorted(meant.items(), key=lambda item: item[1][0]):
        sliceable = {source_name(node) for node in matching if is_sliceable(node)}
        for node in matching:
            own = found.setdefault(node, {})
            for attribute, value in groups[key].items():
                if attribute == "gn_info" and value["gn_type"] == CHANNEL_WISE and not is_sliceable(node) \
                        and source_name(node) in sliceable:
                    continue  # of the nodes that one of the user's became, such as reshape and linear, some are sliced
                _settle(own, attribute, (rank, key, value), node)
    configuration = {}
    for node in nodes:
        attributes = {name: value for name, (_, _, value) in found[node].items()} if node in found \
            else groups.get(RESIDUAL, {})
        if attributes:
            check_served({**DEFAULTS, **attributes}, describe(node))
            configuration[node.name] = _copied(attributes)
    return configuration


def _names_of(nodes: Sequence[fx.Node]) -> dict[str, list[fx.Node]]:
    """Nodes by name: the one that has it in the graph, else all that have it from the model."""
    named: dict[str, list[fx.Node]] = defaultdict(list)
    for node in nodes:
        named[source_name(node)].append(node)
    return named | {node.name: [node] for node in nodes}


def _meant_by(key: str, nodes: Sequence[fx.Node], names: Mapping[str, list[fx.Node]]) -> tuple[int, list[fx.Node]]:
    """Precedence of a key, 0 first, and its nodes. A node whose very name begins like an expression has that name."""
    if key in names:
        return 0, names[key]
    if key.startswith(EXPRESSION):
        try:
            expression = re.compile(key.removeprefix(EXPRESSION))
        except (re.error, RecursionError, OverflowError) as error:
            raise InvalidArgumentError("a key of the configuration is no regular expression", where=repr(key),
                                       why=str(error), remedy="write it as Python's re module takes it") from error
        return 1, [node for node in nodes if any(map(expression.fullmatch, (node.name, source_name(node))))]
    if key.startswith(OPERATOR):
        return 2, [node for node in nodes if _operator(node) == key.removeprefix(OPERATOR)]
    return 0, []


def _operator(node: fx.Node) -> str | None:
    target = node.target if node.op == "call_function" else node.op
    return TRANSFORMERS[target].op_name if target in TRANSFORMERS else None


def is_sliceable(node: fx.Node) -> bool:
    """Whether the node's Transformer slices channels."""
    return node.op == "call_function" and node.target in TRANSFORMERS \
        and TRANSFORMERS[node.target].overrides("slice_channel")


def _settle(own: dict[str, tuple[int, str, Any]], attribute: str, entry: tuple[int, str, Any], node: fx.Node) -> None:
    rank, key, value = entry
    if attribute not in own:
        own[attribute] = entry
        return
    settled_rank, settled_key, settled = own[attribute]
    if settled_rank == rank and settled != value:
        raise InvalidArgumentError(f"two keys disagree about {attribute} of a node", where=describe(node),
                                   why=f"{settled_key!r} says {settled!r}, {key!r} says {value!r}",
                                   remedy="give the node's own name a configuration, which counts more than "
                                          "expressions and operators, or change one of the keys")


def _copied(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """So that nodes do not share a mapping that a caller may change."""
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in attributes.items()}
