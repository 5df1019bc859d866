"""Lay out a symbol as the JSON text of MXNet 1.9.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridges.mxnet.symbol import Entry, Symbol
from bridges.mxnet.symbol_upgrade import CURRENT_VERSION

_LONGEST_LINE = 10  # list elements that MXNet's writer puts on one line


def format_symbol(symbol: Symbol) -> str:
    """Return the JSON text of a symbol as MXNet 1.9.1 lays it out; the same symbol gives the same text.

    `node_row_ptr` counts the outputs that are used, or that a split declares: `mx.sym.load` ignores it.
    """
    nodes, rows = [], [0]
    output_counts = _count_outputs(symbol)
    for index, node in enumerate(symbol.nodes):
        members = {"op": _quote(node.operator), "name": _quote(node.name)}
        if node.attributes:
            members["attrs"] = _format_object(
                {key: _quote(node.attributes[key]) for key in sorted(node.attributes)}, 3)
        members["inputs"] = _format_entries(node.inputs, 3)
        nodes.append(_format_object(members, 2, lines=True))
        rows.append(rows[-1] + output_counts[index])
    attributes = {"mxnet_version": ("int", CURRENT_VERSION), **symbol.attributes}
    variables = [str(index) for index, node in enumerate(symbol.nodes) if node.is_variable]
    return _format_object({
        "nodes": _format_list(nodes, 1, lines=True),
        "arg_nodes": _format_list(variables, 1),
        "node_row_ptr": _format_list([str(row) for row in rows], 1),
        "heads": _format_entries(symbol.heads, 1),
        "attrs": _format_object({key: _format_pair(*attributes[key]) for key in sorted(attributes)}, 1),
    }, 0, lines=True)


def _count_outputs(symbol: Symbol) -> list[int]:
    counts = [1] * len(symbol.nodes)
    for node in symbol.nodes:
        for source, output in node.inputs:
            counts[source] = max(counts[source], output + 1)
    for source, output in symbol.heads:
        counts[source] = max(counts[source], output + 1)
    for index, node in enumerate(symbol.nodes):
        declared = node.attributes.get("num_outputs", "")
        if not node.is_variable and declared.isascii() and declared.isdigit() and len(declared) < 10:
            counts[index] = max(counts[index], int(declared))
    return counts


def _format_pair(kind: str, setting: object) -> str:
    is_list = isinstance(setting, tuple)
    elements = ", ".join(_quote(element) if isinstance(element, str) else str(element)
                         for element in (setting if is_list else (setting,)))
    return f"[{_quote(kind)}, {f'[{elements}]' if is_list else elements}]"


def _quote(text: str) -> str:
    # MXNet's reader knows the escapes of these characters and no \u: the rest of the text stays as it is.
    for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(character, escape)
    return f'"{text}"'


def _format_entries(entries: Sequence[Entry], depth: int) -> str:
    return _format_list([f"[{node}, {output}, 0]" for node, output in entries], depth)


def _format_list(elements: Sequence[str], depth: int, lines: bool = False) -> str:
    if not elements or (not lines and len(elements) <= _LONGEST_LINE):
        return f"[{', '.join(elements)}]"
    return "[" + _format_lines(elements, depth) + "]"


def _format_object(members: Mapping[str, str], depth: int, lines: bool = False) -> str:
    elements = [f"{_quote(key)}: {member}" for key, member in members.items()]
    if not lines and len(elements) == 1:
        return "{" + elements[0] + "}"
    return "{" + _format_lines(elements, depth) + "}"


def _format_lines(elements: Sequence[str], depth: int) -> str:
    indent = "\n" + "  " * (depth + 1)
    return indent + f", {indent}".join(elements) + "\n" + "  " * depth
