"""Reads a deployed CVM model back into an integer graph."""

from __future__ import annotations

import keyword
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from bridges.cvm.export import EXTENSION_FILE, PARAMS_FILE, SYMBOL_FILE
from bridges.cvm.params_file import parse_params
from bridges.cvm.symbol_file import INPUT_NAME, CvmSymbol, Shape, SymbolNode
from bridges.cvm.symbol_parser import parse_symbol
from mrt_torch.cvm.analysis import call_of
from mrt_torch.cvm.attribute_text import parse_boolean, parse_integers
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.limits import precision_limits
from mrt_torch.cvm.operator import OPERATORS
from mrt_torch.errors import InvalidFileError, MRTError, UnsupportedOperatorError
from mrt_torch.extension_file import load_ext
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, input_nodes, output_nodes, shape_of
from mrt_torch.graph.facts import facts_of, set_facts

# Attributes that repeat what the operands say; the runtime compares some and corrupts its memory with others.
REDUNDANT_ATTRIBUTES = {"channels": parse_integers, "kernel_size": parse_integers, "units": parse_integers,
                        "in_dim": parse_integers, "use_bias": parse_boolean}
# The runtime replaces the outputs by an index; the graph would return other integers.
UNSUPPORTED_POSTPROCESS = "argmax"
PROBLEMS_SHOWN = 20


def load_cvm(directory: str | os.PathLike[str]) -> tuple[fx.GraphModule, dict[str, Any] | None]:
    """Integer graph of the deployed model in a folder, and its extension (None when there is no ``ext``).

    Any valid model of the CVM runtime is read whose operators all have a row here and whose back ends agree
    on it, also one this library did not write. The graph computes the same int32 values; nodes are named as
    in the file, made Python identifiers. Precisions and value ranges are analysed afresh, scales come from
    the extension. Heads have the shapes of the file; those from before the export are the extension's
    ``output_shapes``.

    Raises:
        InvalidFileError: a file is missing, malformed or inconsistent.
        UnsupportedOperatorError: lists every node that cannot be expressed, with its reason.
    """
    directory = Path(directory)
    paths = directory / SYMBOL_FILE, directory / PARAMS_FILE
    symbol, parameters = (parse(_read(path), str(path)) for parse, path in zip((parse_symbol, parse_params), paths))
    module = graph_of(symbol, parameters, str(directory))
    extension = _load_extension(directory / EXTENSION_FILE)
    if extension is not None:
        _set_scales(module, extension)
    return module, extension


def graph_of(symbol: CvmSymbol, parameters: Mapping[str, np.ndarray],
             source: str = "symbol and params") -> fx.GraphModule:
    """Integer graph of the content of the two files, which errors call ``source``.

    Raises:
        InvalidFileError: parameters are missing, superfluous or out of range, or shapes disagree.
        UnsupportedOperatorError: lists every node that cannot be expressed, with its reason.
    """
    _check_operators(symbol, source)
    _check_parameters(symbol, parameters, source)
    module = empty_graph_module()
    editor = GraphEditor(module)
    built: list[fx.Node] = []
    for node, shape in zip(symbol.nodes, symbol.shapes, strict=True):
        built.append(_build(editor, node, shape, [built[index] for index, _ in node.inputs], parameters))
    editor.output([built[index] for index, _ in symbol.heads])
    _move_input_first(module)
    module.graph.lint()
    module.recompile()
    _analyse(symbol, built, parameters, source)
    return module


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidFileError(
            f"the file '{path.name}' of a deployed CVM model cannot be read", where=str(path), why=str(error),
            remedy="give the folder that holds 'symbol' and 'params'") from error


def _load_extension(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    values = load_ext(path)
    if len(values) != 1 or not isinstance(values[0], dict):
        raise InvalidFileError("the extension of a deployed CVM model is one JSON object on one line",
                               where=str(path), why=f"it holds {len(values)} values",
                               remedy="export the model again, or remove the file: the scales are then 1")
    return values[0]


def _check_operators(symbol: CvmSymbol, source: str) -> None:
    """Everything that makes nodes inexpressible, at once."""
    reasons = [f"{_where(node)}: the operator is not supported" for node in symbol.nodes
               if not node.is_variable and node.operator not in OPERATORS]
    for node in symbol.nodes:
        if not node.is_variable and node.operator in OPERATORS:
            reasons += _input_count_reasons(node)
    if symbol.postprocess == UNSUPPORTED_POSTPROCESS:
        reasons.append(f"the postprocess '{symbol.postprocess}' is not supported")
    _refuse_operators(reasons, source)


def _refuse_operators(reasons: list[str], source: str) -> None:
    if reasons:
        hidden = len(reasons) - PROBLEMS_SHOWN
        raise UnsupportedOperatorError(
            "the CVM model holds operators that an integer graph cannot express", where=source,
            why="; ".join(reasons[:PROBLEMS_SHOWN]) + (f"; {hidden} more" if hidden > 0 else ""),
            remedy="supported are " + ", ".join(sorted(row.name for row in OPERATORS)))


def _where(node: SymbolNode) -> str:
    return f"node '{node.name[:60]}' ({(node.operator or 'variable')[:60]})"


def _input_count_reasons(node: SymbolNode) -> list[str]:
    row = OPERATORS[node.operator]
    if row.takes_list:
        return [] if node.inputs else [f"{_where(node)} has no inputs"]
    tensors = [part for part in row.schema.split("*")[0].split("->")[0].split(",") if "Tensor" in part]
    expected = len(tensors)
    if "Tensor?" in tensors[-1]:
        has_bias = node.attributes.get("use_bias", "true").strip().lower() in ("true", "1")
        expected -= not has_bias
    if len(node.inputs) != expected:
        return [f"{_where(node)} has {len(node.inputs)} inputs, expected {expected}"]
    return []


def _check_parameters(symbol: CvmSymbol, parameters: Mapping[str, np.ndarray], source: str) -> None:
    problems = []
    offsets = symbol.row_offsets
    wanted = {symbol.nodes[index].name: offsets[index] for index in symbol.variables}
    problems += [f"parameter '{name[:60]}' is missing" for name in wanted
                 if name not in parameters and name != INPUT_NAME]
    for name, array in parameters.items():
        if name not in wanted:
            problems.append(f"parameter '{name[:60]}' is no variable of the graph")
        elif name != INPUT_NAME:
            shape, precision = symbol.shapes[wanted[name]], symbol.precisions[wanted[name]]
            if array.shape != shape:
                problems.append(f"parameter '{name[:60]}' has the shape {array.shape}, "
                                f"the graph says {shape}")
            values = _interval(array)
            if not Interval.symmetric(precision).contains(values):
                problems.append(f"parameter '{name[:60]}' holds {values.minimum}..{values.maximum}, "
                                f"outside its {precision} bits")
    _refuse_file(problems, source)


def _refuse_file(problems: list[str], source: str) -> None:
    if problems:
        raise InvalidFileError("the files of the CVM model do not fit together", where=source,
                               why="; ".join(problems[:PROBLEMS_SHOWN]),
                               remedy="take 'symbol' and 'params' from the same export")


def _build(editor: GraphEditor, node: SymbolNode, shape: Shape, operands: list[fx.Node],
           parameters: Mapping[str, np.ndarray]) -> fx.Node:
    if node.is_variable:
        if node.name == INPUT_NAME:
            return editor.input(node.name, shape, torch.int32)
        # A Python keyword cannot be an attribute in the code that fx generates.
        name = f"{node.name}_" if keyword.iskeyword(node.name) else node.name
        constant = editor.constant(name, torch.from_numpy(parameters[node.name].astype(np.int32)))
        set_facts(constant, source_name=node.name)
        return constant
    row = OPERATORS[node.operator]
    try:
        attributes = row.read_attributes(node.attributes)
        arguments = (operands,) if row.takes_list else tuple(operands)
        built = editor.call(row.target, *arguments, name=node.name, source_operator=node.operator,
                            **attributes)
    except (MRTError, ArithmeticError, LookupError, ValueError, TypeError, RuntimeError) as error:
        why = error.why or error.what if isinstance(error, MRTError) else f"{type(error).__name__}: {error}"
        raise InvalidFileError("an operator of the CVM model is invalid", where=_where(node), why=why,
                               remedy="export the model again; the symbol file is corrupt") from error
    if shape_of(built) != tuple(shape):
        raise InvalidFileError("a shape in the CVM symbol file is wrong", where=_where(node),
                               why=f"the file says {tuple(shape)}, the operator gives {shape_of(built)}",
                               remedy="export the model again; the symbol file is corrupt")
    return built


def _move_input_first(module: fx.GraphModule) -> None:
    """fx wants placeholders before everything else; files may name the input after parameters."""
    first = next(iter(module.graph.nodes))
    for node in input_nodes(module.graph):
        if node is not first:
            first.prepend(node)


def _analyse(symbol: CvmSymbol, built: list[fx.Node], parameters: Mapping[str, np.ndarray], source: str) -> None:
    """Set the facts of all nodes and check the runtime's rules, all at once.

    Parameters keep the precision the file declares, which may be more than their values need: the runtime
    infers from it, and ``where`` relies on that.
    """
    reasons, problems = [], []
    for node, entry, fx_node in zip(symbol.nodes, symbol.row_offsets[:-1], built, strict=True):
        if node.is_variable:
            precision = symbol.precisions[entry]
            value_range = (Interval.symmetric(precision) if node.name == INPUT_NAME
                           else _interval(parameters[node.name]))
        else:
            row, call = call_of(fx_node)
            precision, value_range = row.precision(call), row.value_range(call)
            refused = row.limits(call) + precision_limits(precision)
            if value_range.precision > precision:
                refused.append(f"its values need {value_range.precision} bits, "
                               f"the runtime infers {precision}")
            reasons += [f"{_where(node)}: {reason}" for reason in refused]
            problems += _contradictions(node, row.write_attributes(call))
        set_facts(fx_node, precision=precision, value_range=value_range)
    _refuse_file(problems, source)
    _refuse_operators(reasons, source)


def _contradictions(node: SymbolNode, written: Mapping[str, str]) -> list[str]:
    given = node.attributes
    return [f"{_where(node)}: {name} is {given[name]}, its operands say {written[name]}"
            for name, parse in REDUNDANT_ATTRIBUTES.items()
            if name in given and name in written and parse(given[name]) != parse(written[name])]


def _interval(array: np.ndarray) -> Interval:
    return Interval(int(array.min()), int(array.max()))


def _set_scales(module: fx.GraphModule, extension: Mapping[str, Any]) -> None:
    """Scales of the input and of the heads, where the extension has them in the documented form."""
    inputs, heads = input_nodes(module.graph), output_nodes(module.graph)
    described = extension.get("inputs_ext")
    if isinstance(described, dict) and len(described) == 1:
        (only,) = described.values()
        if isinstance(only, dict) and _is_scale(only.get("scale")):
            set_facts(inputs[0], scale=float(only["scale"]))
    scales = extension.get("oscales")
    if isinstance(scales, list) and len(scales) == len(heads):
        for head, scale in zip(heads, scales, strict=True):
            if _is_scale(scale) and facts_of(head).scale is None:
                set_facts(head, scale=float(scale))


def _is_scale(value: Any) -> bool:
    # JSON has integers beyond any float
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= sys.float_info.max
