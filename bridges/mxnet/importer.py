"""Imports an MXNet symbol and its parameters as a graph of ATen operators."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import fx

import bridges.mxnet.converters  # noqa: F401  (registers the built-in converters)
from bridges.mxnet.attributes import Attributes
from bridges.mxnet.model_inputs import find_model_inputs, needed_nodes, outputs_read, reads, resolve_input_shapes
from bridges.mxnet.names import check_names
from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import CONVERTERS
from bridges.mxnet.symbol import Entry, Symbol, SymbolNode
from mrt_torch.errors import InvalidFileError, InvalidGraphError, UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import set_facts
from mrt_torch.graph.runner import drop_unused_buffers

logger = logging.getLogger(__name__)

Results = dict[int, dict[int, fx.Node]]  # imported outputs by position, of each node of the symbol

__all__ = ["PartialImport", "find_model_inputs", "import_supported", "import_symbol"]


@dataclass(frozen=True)
class PartialImport:
    """What can be imported of a symbol.

    Attributes:
        module: its outputs are the values that the rest of the symbol reads, and the heads that are among them.
        entries: the outputs of the symbol that the outputs of ``module`` are.
        refused: why nodes cannot be imported, by index. What follows them is neither imported nor judged.
    """

    module: fx.GraphModule
    entries: tuple[Entry, ...]
    refused: Mapping[int, str]


def import_symbol(symbol: Symbol, params: Mapping[str, np.ndarray],
                  input_shapes: Mapping[str, Sequence[int]] | Sequence[int] | None = None, *,
                  dtype: torch.dtype = torch.float32, batch_axes: Mapping[str, int] | None = None) -> fx.GraphModule:
    """Return the float graph of an MXNet model in inference mode.

    Inputs are the variables without a parameter; labels of training losses are dropped. Nodes keep the
    model's names. Axis 0 of an input shape is an example of the batch: the graph accepts any other.

    Args:
        symbol: the graph.
        params: parameters and auxiliary states by name, without ``arg:``/``aux:``. Unused ones are dropped.
        input_shapes: shapes by input name, or the shape of the only input. None, and inputs left out, fall
            back on the ``__shape__`` attribute of the variable. 0 or -1 on axis 0 means 1.
        dtype: element type of the graph; parameters of any numeric type are converted to it.
        batch_axes: by input name, the axis that is the batch where it is not axis 0; a shape may mark one by -1 too.

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
    building = _Import(symbol, params, resolve_input_shapes(symbol, params, input_shapes), dtype, batch_axes or {})
    for index in building.needed:
        building.add(index)
    return building.finish(_output(symbol, building.results, head, "a head") for head in symbol.heads)


def import_supported(symbol: Symbol, params: Mapping[str, np.ndarray],
                     input_shapes: Mapping[str, Sequence[int]] | Sequence[int] | None = None) -> PartialImport:
    """Import what can be imported; see ``import_symbol`` for the arguments and what else is raised."""
    check_names(symbol)
    shapes = resolve_input_shapes(symbol, params, input_shapes)
    refused = {index: "it has no converter" for index in needed_nodes(symbol)
               if not symbol.nodes[index].is_variable and symbol.nodes[index].operator not in CONVERTERS}
    while True:
        building, crossing = _Import(symbol, params, shapes, torch.float32, {}), set(symbol.heads)
        for index in building.needed:
            sources = [entry for entry, (_, label, _) in zip(symbol.nodes[index].inputs, reads(symbol, index))
                       if not label]
            if index not in refused and all(output in building.results.get(source, ()) for source, output in sources):
                try:
                    building.add(index)
                except UnsupportedOperatorError as error:
                    refused[index] = str(error.why or error.what)
            if index not in building.results:
                crossing.update(sources)
        lacking = {source: f"its output {output} is read, which inference does not have" for source, output in crossing
                   if source in building.results and output not in building.results[source]}
        if not lacking:
            break
        refused.update(lacking)  # and import the rest without the nodes that lack an output
    outputs = {entry: building.results[entry[0]][entry[1]] for entry in sorted(crossing)
               if entry[0] in building.results}
    outputs = {entry: node for entry, node in outputs.items() if node.op != "get_attr"}
    return PartialImport(building.finish(outputs.values()), tuple(outputs), refused)


class _Import:
    """The graph while nodes of the symbol are added to it, in order."""

    def __init__(self, symbol: Symbol, params: Mapping[str, np.ndarray], shapes: Mapping[str, Sequence[int]],
                 dtype: torch.dtype, batch_axes: Mapping[str, int]):
        self._symbol, self._params, self._dtype = symbol, params, dtype
        self._editor = GraphEditor(empty_graph_module())
        self._placeholders = {name: self._editor.input(name, shape, dtype) for name, shape in shapes.items()}
        for name, axis in batch_axes.items():
            if name in self._placeholders:
                set_facts(self._placeholders[name], batch_axis=axis)
        self._constants: dict[str, fx.Node] = {}
        self.needed = needed_nodes(symbol)
        self._read = outputs_read(symbol, self.needed)
        self.results: Results = {}

    def add(self, index: int) -> None:
        """Import a node whose inputs are imported."""
        node = self._symbol.nodes[index]
        if not node.is_variable:
            self.results[index] = _convert(self._symbol, node, self.results, self._editor, self._dtype,
                                           self._read[index])
        elif node.name in self._placeholders:
            self.results[index] = {0: self._placeholders[node.name]}
        else:
            if node.name not in self._constants:
                value = _to_tensor(node.name, self._params[node.name], self._dtype)
                self._constants[node.name] = self._editor.constant(node.name, value)
            self.results[index] = {0: self._constants[node.name]}

    def finish(self, outputs: Iterable[fx.Node]) -> fx.GraphModule:
        """The graph that returns ``outputs``."""
        module = self._editor.module
        self._editor.output(list(outputs))
        module.graph.eliminate_dead_code()
        dropped = drop_unused_buffers(module)
        module.graph.lint()
        module.recompile()
        logger.info("imported %d MXNet nodes, %d parameters were of no use", len(self.results), dropped)
        return module


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
        remedy="split the model before these nodes (Model.split; 'mrt-torch inspect --suggest-split' names the keys) "
               "and run the upper half in MXNet, rewrite the model with supported operators, or add a converter: "
               "decorate a function of a NodeView with bridges.mxnet.registry.register_converter")


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
