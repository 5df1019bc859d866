"""Reads an exported integer symbol back into an integer graph, without MXNet."""

from __future__ import annotations

import operator
from collections.abc import Mapping

import numpy as np
import torch
from torch import fx

from bridges.mxnet.attributes import Attributes
from bridges.mxnet.importers.composites import Composite, find_composites
from bridges.mxnet.importers.integer import INTEGER_READERS, CvmCall, IntegerNode
from bridges.mxnet.params_file import strip_prefixes
from bridges.mxnet.symbol import Entry, Symbol, SymbolNode
from mrt_torch.cvm.analysis import analyse
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.operator import OPERATORS
from mrt_torch.errors import InvalidFileError, UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, output_nodes
from mrt_torch.graph.facts import set_facts

_REMEDY = "read the two files of one export_integer; import float models with import_symbol"
TWO_OUTPUTS = "cvm_get_valid_counts"  # the op_type of the one operator that has them
_INT32 = np.iinfo(np.int32)


def import_integer(symbol: Symbol, params: Mapping[str, np.ndarray]) -> fx.GraphModule:
    """Return the integer graph that `export_integer` wrote: the same integers, precisions and scales.

    Only nodes as the export writes them are read. Operators that it writes in another form (``take`` without
    an axis, a reduction over no axis, a max that starts from 0, several new axes at once) come back in that form.

    Args:
        symbol: the graph, from `read_symbol`.
        params: parameters by name, with or without ``arg:``.

    Raises:
        InvalidFileError: an attribute or a parameter is not as the export writes it, or an input lacks its
            shape or precision.
        UnsupportedOperatorError: lists the operators that no integer export writes.
        InvalidGraphError: shapes contradict each other.
        PrecisionError: a value may exceed what the runtime's precision rules infer.
    """
    params = strip_prefixes(params)
    composites = find_composites(symbol, params)
    needed = _needed(symbol, composites)
    _refuse_unknown(symbol, composites, needed)
    editor = GraphEditor(empty_graph_module())
    results: dict[Entry, fx.Node] = {}
    scales: tuple[float | None, ...] = ()
    for index in needed:
        node = symbol.nodes[index]
        if node.is_variable and node.name in params:
            outputs = [editor.constant(node.name, _to_int32(node.name, params[node.name]))]
        elif node.is_variable:
            outputs = [_read_input(editor, node)]
            scales = scales or _reals(node, "__output_scales__")
        else:
            outputs = _read_operator(editor, node, composites.get(index), results)
        results |= {(index, output): result for output, result in enumerate(outputs)}
    editor.output([results[head] for head in symbol.heads])
    editor.graph.lint()
    editor.module.recompile()
    analyse(editor.module)
    _set_output_scales(editor.module, scales)
    return editor.module


def _entries(symbol: Symbol, composites: Mapping[int, Composite], index: int) -> tuple[Entry, ...]:
    return composites[index].operands if index in composites else symbol.nodes[index].inputs


def _needed(symbol: Symbol, composites: Mapping[int, Composite]) -> list[int]:
    """Nodes the heads depend on, not counting parts of composites that nothing else reads."""
    needed = {index for index, _ in symbol.heads}
    for index in range(len(symbol.nodes) - 1, -1, -1):
        if index in needed:
            needed.update(source for source, _ in _entries(symbol, composites, index))
    return sorted(needed)


def _refuse_unknown(symbol: Symbol, composites: Mapping[int, Composite], needed: list[int]) -> None:
    unknown: dict[str, list[str]] = {}
    for index, output in [*symbol.heads, *(entry for i in needed for entry in _entries(symbol, composites, i))]:
        node = symbol.nodes[index]
        several = node.operator == "Custom" and node.attributes.get("op_type") == TWO_OUTPUTS
        if not 0 <= output <= several:
            raise InvalidFileError("the symbol reads another output than an operator has",
                                   where=f"output {output} of node '{node.name}'",
                                   why=f"of an integer export only {TWO_OUTPUTS} has two outputs, others have one",
                                   remedy=_REMEDY)
    for index in needed:
        node = symbol.nodes[index]
        if not node.is_variable and index not in composites and node.operator not in INTEGER_READERS:
            unknown.setdefault(node.operator, []).append(node.name)
    if unknown:
        kind, names = next(iter(unknown.items()))
        raise UnsupportedOperatorError(
            f"{len(unknown)} MXNet operator{'s' * (len(unknown) > 1)} of the symbol cannot be read as integers",
            where=f"first at node '{names[0]}' ({kind})",
            why="\n    ".join(f"{kind}: {len(names)} node{'s' * (len(names) > 1)}, first '{names[0]}'"
                              for kind, names in unknown.items()),
            remedy=_REMEDY)


def _read_input(editor: GraphEditor, node: SymbolNode) -> fx.Node:
    attributes = Attributes(node.operator, node.name, node.attributes)
    shape, precision = attributes.integers("__shape__"), attributes.integer("__precision__")
    if not shape or any(extent < 1 for extent in shape) or not 1 <= precision <= 32:
        raise InvalidFileError("an input's shape or precision is malformed", where=f"variable '{node.name}'",
                               why=f"shape {shape}, precision {precision} bits", remedy=_REMEDY)
    placeholder = editor.input(node.name, shape, torch.int32)
    batch_axis = attributes.integer("__batch_axis__", 0)
    if not 0 <= batch_axis < len(shape):
        raise InvalidFileError("an input's batch axis does not exist", where=f"variable '{node.name}'",
                               why=f"it is {batch_axis}, the shape {shape}", remedy=_REMEDY)
    bounds = attributes.optional_integers("__value_range__")
    if bounds is not None and (len(bounds) != 2 or bounds[0] > bounds[1]):
        raise InvalidFileError("an input's value range is malformed", where=f"variable '{node.name}'",
                               why=f"it is {bounds}", remedy=_REMEDY)
    set_facts(placeholder, batch_axis=batch_axis, precision=precision, scale=attributes.optional_real("__scale__"),
              value_range=Interval(*bounds) if bounds else None)
    return placeholder


def _read_operator(editor: GraphEditor, node: SymbolNode, composite: Composite | None,
                   results: Mapping[Entry, fx.Node]) -> list[fx.Node]:
    """One fx node for each output."""
    if composite is not None:
        call, inputs = composite.call, [results[entry] for entry in composite.operands]
    else:
        inputs = [results[entry] for entry in node.inputs]
        call = _read_call(node, inputs)
    row = OPERATORS[call.operator]
    arguments = (inputs,) if row.takes_list else inputs
    result = editor.call(row.target, *arguments, name=node.name, source_operator=node.operator, **call.attributes)
    if row.outputs == 1:
        return [result]
    return [editor.call(operator.getitem, result, output, name=f"{node.name}_{output}")
            for output in range(row.outputs)]


def _read_call(node: SymbolNode, inputs: list[fx.Node]) -> CvmCall:
    reader = INTEGER_READERS[node.operator]
    view = IntegerNode(node.operator, node.name, Attributes(node.operator, node.name, node.attributes),
                       inputs)
    unknown = [name for name in node.attributes
               if name not in reader.known and not (name.startswith("__") and name.endswith("__"))]
    view.expect(not unknown, f"it has the attributes {unknown}")
    view.expect(
        len(inputs) in reader.inputs if reader.inputs else bool(inputs), f"it has {len(inputs)} inputs")
    return reader.read(view)


def _to_int32(name: str, array: np.ndarray) -> torch.Tensor:
    if array.dtype.kind not in "iuf" or array.size == 0 or not np.all(np.rint(array) == array) or not np.all(
            (array >= _INT32.min) & (array <= _INT32.max)):
        raise InvalidFileError("a parameter holds no 32-bit integers", where=f"parameter '{name}'",
                               why=f"{array.dtype} of shape {array.shape}", remedy=_REMEDY)
    return torch.from_numpy(array.astype(np.int32))


def _reals(node: SymbolNode, attribute: str) -> tuple[float | None, ...]:
    """A tuple of numbers or None; Attributes reads tuples of integers only."""
    text = node.attributes.get(attribute, "()").strip()
    items = [item.strip() for item in text.removeprefix("(").removesuffix(")").split(",") if item.strip()]
    return tuple(
        Attributes(node.operator, node.name, {attribute: item}).optional_real(attribute) for item in items)


def _set_output_scales(module: fx.GraphModule, scales: tuple[float | None, ...]) -> None:
    heads = output_nodes(module.graph)
    if scales and len(scales) != len(heads):
        raise InvalidFileError("the output scales do not fit the outputs", where="attribute '__output_scales__'",
                               why=f"{len(scales)} scales, {len(heads)} "
                               "outputs", remedy=_REMEDY)
    for head, scale in zip(heads, scales):
        if scale is not None:
            set_facts(head, scale=scale)
