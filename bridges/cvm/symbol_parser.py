"""Reads a CVM ``symbol`` file and checks everything in it that does not need the meaning of the operators.

The runtime does not check indices and crashes on some files this reader refuses: a file that passes here is
safe to hand to it as far as its structure goes.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from bridges.cvm.symbol_file import INPUT_NAME, UNSET_PRECISION, VERSION, CvmSymbol, SymbolNode
from mrt_torch.cvm.limits import LARGEST_EXTENT, LARGEST_RANK, LARGEST_SIZE
from mrt_torch.cvm.operator import MAXIMUM_PRECISION
from mrt_torch.errors import InvalidFileError

# This version recomputes ``arg_nodes`` and ``node_row_ptr``, after a look at the latter, and needs no ``dltype``.
RELAXED_VERSION = "cvm_1.1.0"
TOP_KEYS = {"nodes", "heads", "attrs", "arg_nodes", "node_row_ptr", "version", "postprocess"}
NODE_KEYS = {"op", "name", "inputs", "attrs", "precision"}
NODE_ATTRIBUTE_KEYS = {"func_name", "num_inputs", "num_outputs", "op_attrs", "flatten_data"}
GRAPH_ATTRIBUTE_TAGS = {"shape": ("list_shape",), "storage_id": ("list_int",), "precision": ("list_int",),
                        "dltype": ("list_str",), "op_attrs": ("list_str",), "dtype": ("list_int", "list_str"),
                        "device_index": ("list_int",)}
REQUIRED_GRAPH_ATTRIBUTES = {"shape", "storage_id", "precision", "op_attrs"}
LONGEST_POSTPROCESS = 31
LARGEST_STORAGE_ID = 2 ** 24
PROBLEMS_SHOWN = 20


def parse_symbol(data: bytes | str, source: str = "symbol") -> CvmSymbol:
    """Content of a ``symbol`` file of version ``cvm_1.0.0`` (also when it names none) or ``cvm_1.1.0``.

    A trailing ``_<digits>`` of ``func_name`` is removed, as the runtime does. Errors name ``source``, usually the path.

    Raises:
        InvalidFileError: lists every problem found.
    """
    try:
        return _parse(_load_json(data, "the file"))
    except InvalidFileError as error:
        raise InvalidFileError(error.what, where=source, why=error.why, remedy=error.remedy) from error


def _parse(document: Any) -> CvmSymbol:
    problems: list[str] = []
    if not isinstance(document, dict):
        _refuse(["the file holds no JSON object"])
    problems += _key_problems(document, TOP_KEYS, {"nodes", "heads", "attrs", "node_row_ptr"}, "the file")
    version = document.get("version", VERSION)
    if version not in (VERSION, RELAXED_VERSION):
        problems.append(f"version {version!r} is neither '{VERSION}' nor '{RELAXED_VERSION}'")
    postprocess = document.get("postprocess", "")
    if not isinstance(postprocess, str) or len(postprocess) > LONGEST_POSTPROCESS:
        problems.append(f"postprocess is not a text of at most {LONGEST_POSTPROCESS} characters")
    attributes = _graph_attributes(document.get("attrs"), problems)
    raw_nodes = document.get("nodes")
    if not isinstance(raw_nodes, list) or not raw_nodes:
        _refuse([*problems, "'nodes' is not a filled list"])
    _require_length(attributes, "op_attrs", len(raw_nodes), problems)
    if problems:
        _refuse(problems)
    nodes = [_node(index, raw, op_attrs, problems)
             for index, (raw, op_attrs) in enumerate(zip(raw_nodes, attributes["op_attrs"], strict=True))]
    heads = _references(document["heads"], "heads", problems)
    if not heads:
        problems.append("the graph has no heads")
    if problems:
        _refuse(problems)

    symbol = CvmSymbol(tuple(nodes), heads, tuple(map(tuple, attributes["shape"])),
                       tuple(attributes["precision"]), tuple(attributes["storage_id"]), postprocess)
    _check_indices(symbol, document, version, attributes, problems)
    _check_entries(symbol, problems)
    if problems:
        _refuse(problems)
    return symbol


def _refuse(problems: list[str]) -> None:
    hidden = len(problems) - PROBLEMS_SHOWN
    shown = problems[:PROBLEMS_SHOWN] + ([f"{hidden} more"] if hidden > 0 else [])
    raise InvalidFileError("not a valid CVM symbol file", why="; ".join(shown),
                           remedy="export the model again; the file may be truncated or of another format")


def _load_json(data: bytes | str, what: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated = [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]
        if repeated:
            raise ValueError(f"keys are repeated: {repeated[:5]}")
        return dict(pairs)

    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        return json.loads(text, object_pairs_hook=unique)
    except RecursionError:
        raise InvalidFileError("not a valid CVM symbol file", why=f"{what} is nested too deeply",
                               remedy="export the model again; the file is corrupt") from None
    except ValueError as error:
        raise InvalidFileError("not a valid CVM symbol file", why=f"{what} is no JSON: {error}",
                               remedy="check that the file is complete") from error


def _key_problems(mapping: Mapping[str, Any], known: set[str], required: set[str], where: str) -> list[str]:
    return ([f"{where} has the unknown key {key!r}" for key in mapping if key not in known]
            + [f"{where} lacks '{key}'" for key in sorted(required) if key not in mapping])


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_integer, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_ITEMS: dict[str, Callable[[Any], bool]] = {
    "list_shape": _is_shape, "list_int": _is_integer, "list_str": _is_text}


def _graph_attributes(raw: Any, problems: list[str]) -> dict[str, list]:
    if not isinstance(raw, dict):
        problems.append("'attrs' is not an object")
        return {}
    problems += _key_problems(raw, set(GRAPH_ATTRIBUTE_TAGS), REQUIRED_GRAPH_ATTRIBUTES, "'attrs'")
    attributes = {}
    for key, value in raw.items():
        tags = GRAPH_ATTRIBUTE_TAGS.get(key, ())
        pair = (isinstance(value, list) and len(value) == 2 and value[0] in tags
                and (isinstance(value[1], list) or key == "dtype"))
        if not pair:
            problems.append(f"attribute '{key}' is not a pair of {' or '.join(tags) or 'a type'} and a list")
        elif key != "dtype":  # skipped by the runtime too
            wrong = [item for item in value[1] if not _ITEMS[value[0]](item)]
            if wrong:
                problems.append(f"attribute '{key}' holds {str(wrong[0])[:40]!r}, no item of {value[0]}")
            attributes[key] = value[1]
    if attributes.get("device_index"):
        problems.append("attribute 'device_index' is not empty")
    return attributes


def _require_length(attributes: Mapping[str, list], key: str, length: int, problems: list[str]) -> None:
    if key in attributes and len(attributes[key]) != length:
        problems.append(f"attribute '{key}' has {len(attributes[key])} items, expected {length}")


def _references(raw: Any, where: str, problems: list[str]) -> tuple[tuple[int, int], ...]:
    valid = isinstance(raw, list) and all(
        isinstance(item, list) and len(item) in (2, 3)
        and all(_is_integer(part) and part >= 0 for part in item) for item in raw)
    if not valid:
        problems.append(f"{where}: expected a list of [node, output] pairs")
        return ()
    return tuple((item[0], item[1]) for item in raw)


def _node(index: int, raw: Any, op_attrs: str, problems: list[str]) -> SymbolNode:
    where = f"node {index}"
    if not isinstance(raw, dict):
        problems.append(f"{where} is no object")
        return SymbolNode("")
    problems += _key_problems(raw, NODE_KEYS, {"op", "name", "inputs"}, where)
    name = raw.get("name")
    if not isinstance(name, str):
        problems.append(f"{where}: the name is no text")
        name = ""
    where = f"node {index} '{name[:60]}'"
    inputs = _references(raw.get("inputs", []), f"{where}: inputs", problems)
    if raw.get("op") == "null":
        if inputs:
            problems.append(f"{where} is a variable and has inputs")
        return SymbolNode(name)
    if raw.get("op") != "cvm_op":
        problems.append(f"{where}: op {str(raw.get('op'))[:60]!r} is neither 'null' nor 'cvm_op'")
    attributes = raw.get("attrs")
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        problems.append(f"{where}: attrs is no object of texts")
        attributes = {}
    problems += _key_problems(attributes, NODE_ATTRIBUTE_KEYS, {"func_name"}, f"attrs of {where}")
    operator = re.sub(r"_[0-9]*\Z", "", attributes.get("func_name", ""))
    return SymbolNode(name, operator, inputs, _operator_attributes(op_attrs, where, problems))


def _operator_attributes(text: str, where: str, problems: list[str]) -> dict[str, str]:
    try:
        attributes = _load_json(text, f"op_attrs of {where}")
    except InvalidFileError as error:
        problems.append(error.why)
        return {}
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        problems.append(f"op_attrs of {where} is no object of texts")
        return {}
    return attributes


def _check_indices(symbol: CvmSymbol, document: Mapping[str, Any], version: str,
                   attributes: Mapping[str, list], problems: list[str]) -> None:
    """Names, references, order, and the lists that repeat what the nodes say."""
    offsets = symbol.row_offsets
    rows = document["node_row_ptr"]
    if not (rows == offsets if version == VERSION else _are_readable(rows, symbol)):
        problems.append("'node_row_ptr' does not follow from the nodes")
    if version == VERSION:
        if document.get("arg_nodes") != symbol.variables:
            problems.append("'arg_nodes' does not list the variables")
        if attributes.get("dltype") != ["int32"] * offsets[-1]:
            problems.append("attribute 'dltype' is not 'int32' for every tensor")
    for key in ("shape", "precision", "storage_id"):
        _require_length(attributes, key, offsets[-1], problems)
    names = Counter(symbol.nodes[index].name for index in symbol.variables)
    problems += [f"the variable name {name[:60]!r} is used {times} times"
                 for name, times in names.items() if times > 1]
    if INPUT_NAME not in names:
        problems.append(f"no variable is named '{INPUT_NAME}'")
    for index, node in enumerate(symbol.nodes):
        problems += [f"node {index} reads output {output} of node {read}, which does not exist before it"
                     for read, output in node.inputs
                     if not (read < index and output < symbol.nodes[read].outputs)]
    problems += [f"head {head} does not exist" for head in symbol.heads
                 if head[0] >= len(symbol.nodes) or head[1] >= symbol.nodes[head[0]].outputs]


def _are_readable(rows: Any, symbol: CvmSymbol) -> bool:
    """Whether every row exists that the relaxed version reads before it computes the rows anew."""
    if not isinstance(rows, list) or not all(map(_is_integer, rows)) or len(rows) < len(symbol.nodes):
        return False
    return all(0 <= row <= len(symbol.storage_ids) - node.outputs for row, node in zip(rows, symbol.nodes))


def _check_entries(symbol: CvmSymbol, problems: list[str]) -> None:
    """Limits of shapes, precisions and storage ids."""
    for entry, shape in enumerate(symbol.shapes):
        if not (1 <= len(shape) <= LARGEST_RANK and all(1 <= extent <= LARGEST_EXTENT for extent in shape)
                and math.prod(shape) <= LARGEST_SIZE):
            problems.append(f"tensor {entry} has the shape {str(shape)[:60]}")
    problems += [f"tensor {entry} has the precision {precision}"
                 for entry, precision in enumerate(symbol.precisions)
                 if precision != UNSET_PRECISION and not 1 <= precision <= MAXIMUM_PRECISION]
    problems += [f"tensor {entry} has the storage id {storage}"
                 for entry, storage in enumerate(symbol.storage_ids)
                 if not 0 <= storage <= LARGEST_STORAGE_ID]
    offsets = symbol.row_offsets
    if len(symbol.precisions) == offsets[-1]:
        problems += [f"variable '{symbol.nodes[index].name[:60]}' has no precision"
                     for index in symbol.variables if symbol.precisions[offsets[index]] == UNSET_PRECISION]
