"""Reads a deployed CVM model back into an integer graph."""

from __future__ import annotations

import keyword
import logging
import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from bridges.cvm.export import EXTENSION_FILE, PARAMS_FILE, SYMBOL_FILE
from bridges.cvm.extension import load_extension, set_scales
from bridges.cvm.params_file import parse_params
from bridges.cvm.storage import check_storage, stored_tensors
from bridges.cvm.symbol_file import INPUT_NAME, CvmSymbol, Reference, Shape, SymbolNode
from bridges.cvm.symbol_parser import parse_symbol
from mrt_torch.cvm.analysis import call_of, selected_output
from mrt_torch.cvm.attribute_text import parse_boolean, parse_integers
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.limits import precision_limits
from mrt_torch.cvm.operator import OPERATORS
from mrt_torch.errors import InvalidFileError, MRTError, UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, input_nodes, shape_of
from mrt_torch.graph.facts import set_facts

# Attributes that repeat what the operands say; the runtime compares some and corrupts its memory with others.
REDUNDANT_ATTRIBUTES = {"channels": parse_integers, "kernel_size": parse_integers, "units": parse_integers,
                        "in_dim": parse_integers, "use_bias": parse_boolean}
# The runtime replaces the outputs by an index; the graph would return other integers.
UNSUPPORTED_POSTPROCESS = "argmax"
DEPLOYED = frozenset(row.name for row in OPERATORS if not row.composite)
# Names that the runtime registers without a kernel, and what they mean.
ALIASES = {"add": "broadcast_add", "__add_symbol__": "broadcast_add", "subtract": "broadcast_sub",
           "__sub_symbol__": "broadcast_sub", "multiply": "broadcast_mul", "__mul_symbol__": "broadcast_mul",
           "__div_symbol__": "broadcast_div", "__max_symbol__": "broadcast_max",
           "__greater_symbol__": "broadcast_greater", "nn.relu": "relu",
           "vision.non_max_suppression": "non_max_suppression"}
PROBLEMS_SHOWN = 20

logger = logging.getLogger(__name__)


def load_cvm(directory: str | os.PathLike[str]) -> tuple[fx.GraphModule, dict[str, Any] | None]:
    """Integer graph of the deployed model in a folder, and its extension (None when there is no ``ext``).

    Any valid model of the CVM runtime is read, also one this library did not write. The graph computes the same
    int32 values; where the CPU back end may fail or compute others, those of FORMAL, the specified arithmetic,
    and a warning names the nodes. Nodes are named as in the file, made Python identifiers. Precisions and value
    ranges are analysed afresh, scales come from the extension. Heads have the shapes of the file; those from
    before the export are the extension's ``output_shapes``.

    Raises:
        InvalidFileError: a file is missing, malformed or inconsistent, or tensors overwrite each other.
        UnsupportedOperatorError: lists every node that the runtime would refuse, with its reason.
    """
    directory = Path(directory)
    paths = directory / SYMBOL_FILE, directory / PARAMS_FILE
    symbol, parameters = (parse(_read(path), str(path)) for parse, path in zip((parse_symbol, parse_params), paths))
    module = graph_of(symbol, parameters, str(directory))
    extension = load_extension(directory / EXTENSION_FILE)
    if extension is not None:
        set_scales(module, extension)
    return module, extension


def graph_of(symbol: CvmSymbol, parameters: Mapping[str, np.ndarray],
             source: str = "symbol and params") -> fx.GraphModule:
    """Integer graph of the content of the two files, which errors call ``source``.

    Raises:
        InvalidFileError: parameters are missing, superfluous or out of range, shapes disagree, or tensors
            overwrite each other.
        UnsupportedOperatorError: lists every node that the runtime would refuse, with its reason.
    """
    _check_operators(symbol, source)
    _check_parameters(symbol, parameters, source)
    _check_storage(symbol, source)
    module = empty_graph_module()
    editor = GraphEditor(module)
    built: dict[Reference, fx.Node] = {}
    for position, (node, entry) in enumerate(zip(symbol.nodes, symbol.row_offsets)):
        shapes = symbol.shapes[entry:entry + node.outputs]
        results = _build(editor, node, shapes, [built[reference] for reference in node.inputs], parameters)
        built |= {(position, output): result for output, result in enumerate(results)}
    editor.output([built[head] for head in symbol.heads])
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


def _check_operators(symbol: CvmSymbol, source: str) -> None:
    """Everything that makes nodes inexpressible, at once."""
    reasons = []
    for node in symbol.nodes:
        if not node.is_variable:
            reasons += (_input_count_reasons(node) if node.operator in DEPLOYED
                        else [f"{_where(node)}: {_unknown_reason(node.operator)}"])
    if symbol.postprocess == UNSUPPORTED_POSTPROCESS:
        reasons.append(f"the postprocess '{symbol.postprocess}' is not supported")
    _refuse_operators(reasons, source)


def _refuse_operators(reasons: list[str], source: str) -> None:
    if reasons:
        hidden = len(reasons) - PROBLEMS_SHOWN
        raise UnsupportedOperatorError(
            "the CVM model holds operators that the runtime refuses", where=source,
            why="; ".join(reasons[:PROBLEMS_SHOWN]) + (f"; {hidden} more" if hidden > 0 else ""),
            remedy="supported are " + ", ".join(sorted(DEPLOYED)))


def _unknown_reason(operator: str) -> str:
    if operator in ALIASES:
        return f"the runtime has no kernel for this other name of {ALIASES[operator]}"
    return "the CVM has no such operator"


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


def _check_storage(symbol: CvmSymbol, source: str) -> None:
    """The runtime checks no lifetimes: a plan that reuses a storage too early gives other integers than the graph."""
    problems = check_storage(stored_tensors(symbol.nodes, symbol.shapes), map(symbol.entry, symbol.heads),
                             symbol.storage_ids)
    if problems:
        raise InvalidFileError("tensors of the CVM model overwrite each other", where=source,
                               why="; ".join(problems[:PROBLEMS_SHOWN]),
                               remedy="export the model again, with storage ids that are not reused too early")


def _build(editor: GraphEditor, node: SymbolNode, shapes: Sequence[Shape], operands: list[fx.Node],
           parameters: Mapping[str, np.ndarray]) -> list[fx.Node]:
    """One fx node for each output."""
    if node.is_variable:
        if node.name == INPUT_NAME:
            return [editor.input(node.name, shapes[0], torch.int32)]
        # A Python keyword cannot be an attribute in the code that fx generates.
        name = f"{node.name}_" if keyword.iskeyword(node.name) else node.name
        constant = editor.constant(name, torch.from_numpy(parameters[node.name].astype(np.int32)))
        set_facts(constant, source_name=node.name)
        return [constant]
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
    results = [built] if row.outputs == 1 else [
        editor.call(operator.getitem, built, output, name=f"{node.name}_{output}") for output in range(row.outputs)]
    for result, shape in zip(results, shapes, strict=True):
        if shape_of(result) != tuple(shape):
            raise InvalidFileError("a shape in the CVM symbol file is wrong", where=_where(node),
                                   why=f"the file says {tuple(shape)}, the operator gives {shape_of(result)}",
                                   remedy="export the model again; the symbol file is corrupt")
    return results


def _move_input_first(module: fx.GraphModule) -> None:
    """fx wants placeholders before everything else; files may name the input after parameters."""
    first = next(iter(module.graph.nodes))
    for node in input_nodes(module.graph):
        if node is not first:
            first.prepend(node)


def _analyse(symbol: CvmSymbol, built: Mapping[Reference, fx.Node], parameters: Mapping[str, np.ndarray],
             source: str) -> None:
    """Set the facts of all nodes and check the runtime's rules, all at once.

    Parameters keep the precision the file declares, which may be more than their values need: the runtime
    infers from it, and ``where`` relies on that.
    """
    reasons, problems, divergences = [], [], []
    for position, node in enumerate(symbol.nodes):
        results = [built[position, output] for output in range(node.outputs)]
        if node.is_variable:
            precision = symbol.precisions[symbol.entry((position, 0))]
            set_facts(results[0], precision=precision, value_range=Interval.symmetric(precision)
                      if node.name == INPUT_NAME else _interval(parameters[node.name]))
            continue
        row, call = call_of((selected_output(results[0]) or results)[0])
        reasons += [f"{_where(node)}: {reason}" for reason in row.limits(call)]
        for result, precision, values in zip(results, row.precisions(call), row.value_ranges(call), strict=True):
            reasons += [f"{_where(node)}: {reason}" for reason in precision_limits(precision)]
            if values.precision > precision:
                reasons.append(f"{_where(node)}: its values need {values.precision} bits, "
                               f"the runtime infers {precision}")
            set_facts(result, precision=precision, value_range=values)
        divergences += [f"{_where(node)}: {reason}" for reason in row.divergences(call)]
        problems += _contradictions(node, row.write_attributes(call))
    _refuse_file(problems, source)
    _refuse_operators(reasons, source)
    if divergences:
        logger.warning("%s: back ends of the CVM may disagree; the graph follows FORMAL:\n    %s", source,
                       "\n    ".join(divergences))


def _contradictions(node: SymbolNode, written: Mapping[str, str]) -> list[str]:
    given = node.attributes
    return [f"{_where(node)}: {name} is {given[name]}, its operands say {written[name]}"
            for name, parse in REDUNDANT_ATTRIBUTES.items()
            if name in given and name in written and parse(given[name]) != parse(written[name])]


def _interval(array: np.ndarray) -> Interval:
    return Interval(int(array.min()), int(array.max()))
