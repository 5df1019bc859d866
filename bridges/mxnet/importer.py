"""Imports an MXNet symbol and its parameters as a graph of ATen operators."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import fx

import bridges.mxnet.converters  # noqa: F401  (registers the built-in converters)
from bridges.mxnet.attributes import Attributes
from bridges.mxnet.model_inputs import find_model_inputs, needed_nodes, resolve_input_shapes
from bridges.mxnet.names import check_names
from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import CONVERTERS
from bridges.mxnet.symbol import Symbol, SymbolNode
from mrt_torch.errors import InvalidFileError, InvalidGraphError, UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.runner import drop_unused_buffers

logger = logging.getLogger(__name__)

Results = dict[int, dict[int, fx.Node]]  # imported outputs by position, of each node of the symbol

__all__ = ["find_model_inputs", "import_symbol"]


def import_symbol(symbol: Symbol, params: Mapping[str, np.ndarray],
                  input_shapes: Mapping[str, Sequence[int]] | Sequence[int] | None = None, *,
                  dtype: torch.dtype = torch.float32) -> fx.GraphModule:
    """Return the float graph of an MXNet model in inference mode.

    Inputs are the variables without a parameter; labels of training losses are dropped. Nodes keep the
    model's names. Axis 0 of an input shape is an example of the batch: the graph accepts any other.

    Args:
        symbol: the graph.
        params: parameters and auxiliary states by name, without ``arg:``/``aux:``. Unused ones are dropped.
        input_shapes: shapes by input name, or the shape of the only input. None, and inputs left out, fall
            back on the ``__shape__`` attribute of the variable. 0 or -1 on axis 0 means 1.
        dtype: element type of the graph; parameters of any numeric type are converted to it.

    Returns:
        A GraphModule of ATen operators; it returns a tuple with one tensor per head.

    Raises:
        InvalidArgumentError: an input shape is unknown, malformed, or given for a name that is no input.
        InvalidFileError: parameters are missing or not finite, or an attribute is malformed.
        InvalidGraphError: shapes contradict each other, or nodes share a name.
        UnsupportedOperatorError: lists every operator without a converter, before anything is built; or names
            the node that uses an operator in an unsupported way.
    """
    check_names(symbol)
    _refuse_unknown_operators(symbol)
    shapes = resolve_input_shapes(symbol, params, input_shapes)
    editor = GraphEditor(empty_graph_module())
    placeholders = {name: editor.input(name, shape, dtype) for name, shape in shapes.items()}
    results: Results = {}
    constants: dict[str, fx.Node] = {}
    needed = needed_nodes(symbol)
    read = _outputs_read(symbol, needed)
    for index in needed:
        node = symbol.nodes[index]
        if not node.is_variable:
            results[index] = _convert(symbol, node, results, editor, dtype, read[index])
        elif node.name in placeholders:
            results[index] = {0: placeholders[node.name]}
        else:
            if node.name not in constants:
                value = _to_tensor(node.name, params[node.name], dtype)
                constants[node.name] = editor.constant(node.name, value)
            results[index] = {0: constants[node.name]}
    editor.output([_output(symbol, results, head, "a head") for head in symbol.heads])
    editor.graph.eliminate_dead_code()
    dropped = drop_unused_buffers(editor.module)
    editor.graph.lint()
    editor.module.recompile()
    logger.info("imported %d MXNet nodes, %d parameters were of no use", len(results), dropped)
    return editor.module


def _refuse_unknown_operators(symbol: Symbol) -> None:
    unknown: dict[str, list[str]] = {}
    for index in needed_nodes(symbol):
        node = symbol.nodes[index]
        if not node.is_variable and node.operator not in CONVERTERS:
            unknown.setdefault(node.operator, []).append(node.name)
    if not unknown:
        return
    lines = []
    for operator, names in unknown.items():
        nearest = CONVERTERS.nearest(operator)
        hint = f"; nearest supported: {nearest}" if nearest else ""
        lines.append(f"{operator}: {len(names)} node{'s' * (len(names) > 1)}, first '{names[0]}'{hint}")
    raise UnsupportedOperatorError(
        f"{len(unknown)} MXNet operator{'s' * (len(unknown) > 1)} of the model cannot be imported",
        where=f"first at node '{next(iter(unknown.values()))[0]}' ({next(iter(unknown))})",
        why="\n    ".join(lines),
        remedy="rewrite the model with supported operators, cut the symbol before these nodes in MXNet "
               "(get_internals), or add a converter: decorate a function of a NodeView with "
               "bridges.mxnet.registry.register_converter")


def _to_tensor(name: str, value: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    array = np.array(value, order="C")  # a copy: the graph must not change when the caller's array does
    try:
        tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False)).to(dtype)
    except TypeError as error:
        raise InvalidFileError("a parameter cannot be used", where=f"parameter '{name}'",
                               why=f"its element type is {array.dtype}",
                               remedy="store it as float32") from error
    finite = torch.isfinite(tensor)
    if not bool(finite.all()):
        raise InvalidFileError("a parameter holds NaN or infinity", where=f"parameter '{name}'",
                               why=f"{int((~finite).sum())} of its {tensor.numel()} values, as {dtype}",
                               remedy="training diverged, or the file is damaged: take another checkpoint")
    return tensor


def _outputs_read(symbol: Symbol, needed: Sequence[int]) -> dict[int, set[int]]:
    """Positions of the outputs of each node that a head or a needed node reads."""
    read: dict[int, set[int]] = {index: set() for index in needed}
    for source, output in (*symbol.heads, *(entry for index in needed for entry in symbol.nodes[index].inputs)):
        if source in read:  # a label is not
            read[source].add(output)
    return read


def _convert(symbol: Symbol, node: SymbolNode, results: Results, editor: GraphEditor, dtype: torch.dtype,
             outputs_read: Collection[int]) -> dict[int, fx.Node]:
    converter = CONVERTERS[node.operator]
    where = f"node '{node.name}' ({node.operator})"
    inputs = [_output(symbol, results, entry, where) for position, entry in enumerate(node.inputs)
              if not converter.is_label(position)]
    attributes = Attributes(node.operator, node.name, node.attributes)
    view = NodeView(node.operator, node.name, attributes, inputs, editor, dtype, outputs_read)
    if not inputs and converter.needs_inputs:
        raise view.invalid("it has no inputs")
    result = converter.convert(view)
    if not isinstance(result, dict):
        result = dict(enumerate(result if isinstance(result, tuple) else (result,)))
    if not all(isinstance(output, fx.Node) for output in result.values()):
        raise InvalidGraphError("a converter must return an fx node or several of them", where=where,
                                why=f"it returned {result!r:.80}", remedy="correct the converter")
    return result


def _output(symbol: Symbol, results: Results, entry: tuple[int, int], reader: str) -> fx.Node:
    index, output = entry
    if output not in results[index]:
        node = symbol.nodes[index]
        raise UnsupportedOperatorError(
            "an output is read that inference does not have", where=f"node '{node.name}' ({node.operator})",
            why=f"{reader} reads output {output}; the import gives it {sorted(results[index])}",
            remedy="read the first output only, and save the symbol again")
    return results[index][output]
