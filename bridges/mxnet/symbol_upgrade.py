"""Bring symbols of older MXNet versions to the conventions of 1.9.1.

The steps are those of MXNet's own loader (src/nnvm/legacy_json_util.cc of the releases 1.0 to 1.9) as far as
they concern inference; initializers, which concern training alone, are not added.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bridges.mxnet.symbol import AUXILIARY_INPUTS, VARIABLE, Entry, SymbolNode

CURRENT_VERSION = 10901  # 10000 * major + 100 * minor + patch, the form MXNet stores
OLDEST_VERSION = 800  # what MXNet takes a file without a version for

# kHiddenKeys of src/c_api/c_api_symbolic.cc: user attributes that once had no underscores.
_HIDDEN_KEYS = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage")
_HIDDEN_SUFFIXES = tuple(f"_{key}" for key in _HIDDEN_KEYS)


def upgrade(nodes: Iterable[SymbolNode], heads: Iterable[Entry],
            version: int) -> tuple[tuple[SymbolNode, ...], tuple[Entry, ...]]:
    """Return the nodes and heads as MXNet 1.9.1 would have them.

    * before 1.9.1: the user attribute `lr_mult` becomes `__lr_mult__` (so do `ctx_group`, ...), and on an
      operator `weight_lr_mult` too: operators refuse parameters they do not know, but skip `__names__`;
    * before 0.9.5: `axis` -1 of `argmax` and `argmin` meant all axes: it is removed;
    * before 0.9.0: auxiliary states were not stored: the variables are added, as `<node name>_moving_mean`,
      just before their node.
    """
    nodes, heads = tuple(nodes), tuple(heads)
    if version < CURRENT_VERSION:
        nodes = tuple(_hide_user_attributes(node) for node in nodes)
    if version < 905:
        nodes = tuple(_drop_axis_of_all(node) for node in nodes)
    if version < 900:
        nodes, heads = _add_auxiliary_states(nodes, heads)
    return nodes, heads


def _hide_user_attributes(node: SymbolNode) -> SymbolNode:
    attributes = {}
    for key, text in node.attributes.items():
        if key in _HIDDEN_KEYS or (not node.is_variable and key.endswith(_HIDDEN_SUFFIXES)):
            attributes.setdefault(f"__{key}__", text)
        else:
            attributes[key] = text
    return replace(node, attributes=attributes)


def _drop_axis_of_all(node: SymbolNode) -> SymbolNode:
    if node.operator not in ("argmax", "argmin") or node.attributes.get("axis") != "-1":
        return node
    return replace(node, attributes={key: text for key, text in node.attributes.items() if key != "axis"})


def _add_auxiliary_states(nodes: tuple[SymbolNode, ...],
                          heads: tuple[Entry, ...]) -> tuple[tuple[SymbolNode, ...], tuple[Entry, ...]]:
    upgraded: list[SymbolNode] = []
    moved: list[int] = []  # old index -> new index
    for node in nodes:
        inputs = [(moved[source], output) for source, output in node.inputs]
        for position, state in AUXILIARY_INPUTS.get(node.operator, {}).items():
            if position == len(inputs):
                inputs.append((len(upgraded), 0))
                upgraded.append(SymbolNode(VARIABLE, f"{node.name}_{state}" if node.name else state))
        moved.append(len(upgraded))
        upgraded.append(replace(node, inputs=tuple(inputs)))
    return tuple(upgraded), tuple((moved[source], output) for source, output in heads)
