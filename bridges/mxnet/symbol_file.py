"""Read and write MXNet symbol files (`model-symbol.json`) of the versions 0.8 to 1.9, without MXNet."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from bridges.mxnet.symbol import VARIABLE, Entry, Symbol, SymbolNode, find_fault, show
from bridges.mxnet.symbol_upgrade import CURRENT_VERSION, OLDEST_VERSION, upgrade
from bridges.mxnet.symbol_writer import format_symbol
from mrt_torch.atomic_file import atomic_write
from mrt_torch.errors import InvalidFileError

__all__ = ["Symbol", "SymbolNode", "format_symbol", "parse_symbol", "read_symbol", "write_symbol"]

# 0.8 keeps operator parameters in "param" and user attributes in "attr"; later both are in "attr" or "attrs".
_ATTRIBUTE_KEYS = ("param", "attr", "attrs")
_NODE_KEYS = {"op", "name", "inputs", "backward_source_id", "control_deps", "subgraphs", *_ATTRIBUTE_KEYS}
_GRAPH_KEYS = {"nodes", "arg_nodes", "node_row_ptr", "heads", "attrs"}
_GRAPH_ATTRIBUTE_KINDS = {"int": int, "str": str, "list_int": int, "list_str": str}  # kinds MXNet 1.9.1 reads
_LONGEST_INTEGER = 20  # characters; nothing in the format is wider than 64 bits


def read_symbol(path: str | os.PathLike[str]) -> Symbol:
    """Read an MXNet symbol file; see `parse_symbol`.

    Raises:
        InvalidFileError: the file cannot be read, or is no symbol.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        _fail(str(path), "", str(error), "check the path and the permissions")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        _fail(str(path), f"byte {error.start}", "the text is not UTF-8")
    return parse_symbol(text, source=str(path))


def parse_symbol(text: str, source: str = "symbol JSON") -> Symbol:
    """Return the symbol that the JSON text of MXNet 0.8 to 1.9 describes, upgraded to 1.9.1.

    What `mx.sym.load` of MXNet 1.9.1 does, without MXNet: attributes come from "param", "attr" and "attrs",
    entries have two or three numbers, nodes that no head needs are dropped, and `symbol_upgrade.upgrade` is
    applied. Attribute values that are no strings are taken as Python prints them.

    Args:
        text: the JSON text.
        source: the name of the text in errors, usually the path.

    Raises:
        InvalidFileError: syntax, types or indices are wrong, or the symbol holds subgraphs (control flow).
    """
    graph = _load_json(text, source)
    if not isinstance(graph, dict) or not isinstance(graph.get("nodes"), list):
        _fail(source, "top level", 'there is no list "nodes"', "give the file that ends in -symbol.json")
    _refuse_unknown_keys(graph, _GRAPH_KEYS, source, "top level")
    attributes = _parse_graph_attributes(graph.get("attrs", {}), source)
    nodes = tuple(_parse_node(node, f"node {index}", source) for index, node in enumerate(graph["nodes"]))
    heads = _parse_entries(graph.get("heads"), source, "heads")
    fault = find_fault(nodes, heads, attributes)
    if fault is not None:
        _fail(source, *fault)
    _check_arguments(graph.get("arg_nodes", []), nodes, source)
    version = attributes.get("mxnet_version", ("int", OLDEST_VERSION))[1]
    nodes, heads = upgrade(*_keep_needed(nodes, heads), version)
    attributes["mxnet_version"] = ("int", max(version, CURRENT_VERSION))
    return Symbol(nodes, heads, attributes)


def write_symbol(symbol: Symbol, path: str | os.PathLike[str]) -> None:
    """Write `format_symbol(symbol)` to a file, in one step.

    Raises:
        InvalidArgumentError: `path` is a folder, or its parent folder does not exist.
    """
    atomic_write(path, format_symbol(symbol).encode("utf-8"))


def _fail(source: str, where: str, why: str,
          remedy: str = "save the symbol again with MXNet, or fetch the file again") -> NoReturn:
    raise InvalidFileError("an MXNet symbol cannot be read", where=f"{source}, {where}" if where else source,
                           why=why, remedy=remedy)


def _load_json(text: str, source: str) -> Any:
    def parse_integer(literal: str) -> int:
        if len(literal) > _LONGEST_INTEGER:
            _fail(source, "", f"an integer has {len(literal)} characters: {literal[:_LONGEST_INTEGER]}...")
        return int(literal)

    def parse_number(literal: str) -> float:
        number = float(literal)
        if math.isinf(number):
            _fail(source, "", f"the number {literal[:40]} is too large")
        return number

    def refuse_constant(literal: str) -> NoReturn:
        _fail(source, "", f"{literal} is no JSON number")

    def build_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(members)
        if len(built) != len(members):
            for key, _ in members:
                if key not in built:
                    keys = show([key for key, _ in members])
                    _fail(source, "", f"the key {show(key)} stands twice in an object with the keys {keys}")
                del built[key]
        return built

    try:
        return json.loads(text, parse_int=parse_integer, parse_float=parse_number,
                          parse_constant=refuse_constant, object_pairs_hook=build_object)
    except json.JSONDecodeError as error:
        _fail(source, f"line {error.lineno}, column {error.colno} (character {error.pos})", error.msg)
    except RecursionError:
        _fail(source, "", "brackets are nested too deep")


def _refuse_unknown_keys(members: dict[str, Any], known: set[str], source: str, where: str) -> None:
    unknown = [key for key in members if key not in known]
    if unknown:
        _fail(source, where, f"the key {show(unknown[0])} is unknown; known are {sorted(known)}")


def _parse_graph_attributes(members: Any, source: str) -> dict[str, tuple[str, Any]]:
    if not isinstance(members, dict):
        _fail(source, "attrs", f"an object is expected, {show(members)} is found")
    parsed = {}
    for key, pair in members.items():
        where = f"attrs, {show(key)}"
        kind, setting = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
        element_type = _GRAPH_ATTRIBUTE_KINDS.get(kind) if isinstance(kind, str) else None
        if element_type is None:
            _fail(source, where,
                  f"[kind, value] is expected, of a kind in {list(_GRAPH_ATTRIBUTE_KINDS)}, not {show(pair)}")
        is_list = kind.startswith("list_")
        elements = setting if is_list else [setting]
        if not isinstance(elements, list) or any(type(element) is not element_type for element in elements):
            _fail(source, where, f"{show(setting)} is not of the kind {kind!r}")
        parsed[key] = (kind, tuple(elements) if is_list else setting)
    kind, version = parsed.get("mxnet_version", ("int", OLDEST_VERSION))
    if kind != "int" or version < 0:
        _fail(source, "attrs, 'mxnet_version'", f"a number such as 10901 is expected, not {show(version)}")
    return parsed


def _parse_node(members: Any, where: str, source: str) -> SymbolNode:
    if not isinstance(members, dict):
        _fail(source, where, f"an object is expected, {show(members)} is found")
    for key in ("op", "name"):
        if not isinstance(members.get(key), str):
            _fail(source, where, f"{key!r} is {show(members.get(key))}; a string is expected")
    where = f"{where} ({show(members['op'])}, named {show(members['name'])})"
    _refuse_unknown_keys(members, _NODE_KEYS, source, where)
    if members.get("subgraphs"):
        _fail(source, where, "the node holds subgraphs (control flow, or a partitioned graph)",
              "save the model without control flow operators and before partitioning")
    if members.get("control_deps"):
        _fail(source, where, "the node must run after others whose result it does not use (control_deps)",
              "save the model without control dependencies")
    attributes: dict[str, str] = {}
    for key in _ATTRIBUTE_KEYS:
        for name, text in _parse_attributes(members.get(key, {}), source, f"{where}, {key!r}").items():
            if attributes.setdefault(name, text) != text:
                _fail(source, where, f"{show(name)} is both {show(attributes[name])} and {show(text)}")
    return SymbolNode(members["op"], members["name"], attributes,
                      _parse_entries(members.get("inputs"), source, f"{where}, inputs"))


def _parse_attributes(members: Any, source: str, where: str) -> dict[str, str]:
    if not isinstance(members, dict):
        _fail(source, where, f"an object is expected, {show(members)} is found")
    for name, setting in members.items():
        if isinstance(setting, (list, dict)):
            _fail(source, where, f"attribute {show(name)} is {show(setting)}; a string is expected")
    return {name: setting if isinstance(setting, str) else str(setting) for name, setting in members.items()}


def _parse_entries(entries: Any, source: str, where: str) -> tuple[Entry, ...]:
    if not isinstance(entries, list):
        _fail(source, where, f"a list is expected, {show(entries)} is found")
    for position, entry in enumerate(entries):
        # The third number counts writes to a variable in training; every value of it names the same output.
        if not isinstance(entry, list) or len(entry) not in (2, 3) or any(type(n) is not int for n in entry):
            _fail(source, f"{where}, element {position}",
                  f"[node, output] or [node, output, version] is expected, {show(entry)} is found")
    return tuple((entry[0], entry[1]) for entry in entries)


def _check_arguments(indices: Any, nodes: Sequence[SymbolNode], source: str) -> None:
    if not isinstance(indices, list):
        _fail(source, "arg_nodes", f"a list is expected, {show(indices)} is found")
    for index in indices:
        if type(index) is not int or not 0 <= index < len(nodes) or not nodes[index].is_variable:
            _fail(source, "arg_nodes", f"{show(index)} is not the index of an operator {VARIABLE!r} node")


def _keep_needed(nodes: tuple[SymbolNode, ...],
                 heads: tuple[Entry, ...]) -> tuple[tuple[SymbolNode, ...], tuple[Entry, ...]]:
    """Drop the nodes no head depends on."""
    needed = {node for node, _ in heads}
    for index in range(len(nodes) - 1, -1, -1):
        if index in needed:
            needed.update(source for source, _ in nodes[index].inputs)
    moved = {old: new for new, old in enumerate(sorted(needed))}

    def renumber(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        return tuple((moved[source], output) for source, output in entries)

    return tuple(replace(nodes[old], inputs=renumber(nodes[old].inputs)) for old in moved), renumber(heads)
