"""Writes an integer graph as an MXNet symbol and parameters, without MXNet.

MXNet computes the integers of the graph exactly if it computes in float64: every intermediate result is an
integer below 2**53. All variables are therefore float64, in the parameter file and by their ``__dtype__``, so
a plain ``symbol.simple_bind(ctx)`` is exact, and ``SymbolBlock.imports`` too when it is fed float64. float32
would be inexact above 2**24, and int32 parameters beside a float64 input make MXNet's type inference fail.
Bind with oneDNN off (``MXNET_MKLDNN_ENABLED=0``) after ``import bridges.mxnet.cvm_op``, or call
``bridges.mxnet.execute.run_symbol``.
"""

from __future__ import annotations

import operator
import os
from collections import Counter
from collections.abc import Mapping

import numpy as np
from torch import fx

from bridges.mxnet.exporters.integer import INTEGER_WRITERS, IntegerCall
from bridges.mxnet.symbol import Entry, Symbol
from bridges.mxnet.symbol_and_params import write_model_files
from bridges.mxnet.symbol_builder import SymbolBuilder, plan_names
from mrt_torch.cvm.analysis import call_of, selected_output
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.operator import OPERATORS
from mrt_torch.cvm.verify import verify
from mrt_torch.errors import ExportError
from mrt_torch.graph.editor import output_nodes, shape_of, tensor_of
from mrt_torch.graph.facts import describe, facts_of
from mrt_torch.graph.runner import copy_graph_module


def export_integer(graph_module: fx.GraphModule, symbol_path: str | os.PathLike[str],
                   params_path: str | os.PathLike[str]) -> None:
    """Write an integer graph as MXNet files; same graph, same bytes.

    CVM operators that MXNet lacks become ``Custom`` operators (`bridges.mxnet.cvm_op`) or several nodes.
    Nodes keep the model's names, made unique. Each input has hidden attributes: ``__shape__`` (any other
    batch may be bound), ``__batch_axis__`` where that is not axis 0, ``__precision__`` in bits, ``__scale__`` where
    known (integer = float * scale), ``__value_range__`` where it is narrower than the precision; the first one
    also has ``__output_scales__``, one for each output.

    Args:
        graph_module: integer graph with current facts; not changed. Composite operators may stay.
        symbol_path: file to write, usually ``<model>-symbol.json``.
        params_path: file to write, usually ``<model>-0000.params``; all float64, ``arg:`` before each name.

    Raises:
        ExportError: lists every reason why facts or operators are not legal, or every operator MXNet cannot express.
    """
    module = copy_graph_module(graph_module)
    module.graph.eliminate_dead_code()
    verify(module, deployable=False)
    symbol, params = build_symbol(module)
    write_model_files(symbol, params, symbol_path, params_path)


def build_symbol(module: fx.GraphModule) -> tuple[Symbol, dict[str, np.ndarray]]:
    """The symbol of an integer graph and its parameters (``arg:name`` to float64 array).

    Raises:
        ExportError: lists every operator MXNet cannot express.
    """
    _refuse_unknown(module)
    names = plan_names(module.graph)
    builder = SymbolBuilder(names.values())
    heads = output_nodes(module.graph)
    scales = tuple(_real(facts_of(head).scale) for head in heads)
    entries: dict[fx.Node, Entry] = {}
    buffers: dict[str, Entry] = {}
    for node in module.graph.nodes:
        if node.op == "placeholder":
            first = not any(other.op == "placeholder" for other in entries)
            hidden = {"output_scales": scales} if first and any(scale is not None for scale in scales) else {}
            entries[node] = builder.variable(names[node], shape_of(node), np.float64, **_hidden(node),
                                             **hidden)
        elif node.op == "get_attr":
            if node.target not in buffers:
                array = tensor_of(module, node).detach().cpu().numpy().astype(np.float64)
                buffers[node.target] = builder.parameter(names[node], array)
            entries[node] = buffers[node.target]
        elif selected_output(node) is not None:
            source, output = selected_output(node)
            entries[node] = entries[source][0], output
        elif node.op == "call_function":
            entries[node] = write_integer(node, names[node], builder, entries)
    return builder.build([entries[head] for head in heads]), builder.params


def write_integer(node: fx.Node, name: str, builder: SymbolBuilder, entries: Mapping[fx.Node, Entry]) -> Entry:
    """The nodes of one CVM operator."""
    row, call = call_of(node)
    inputs = [entries[operand] for operand in _operands(node)]
    return INTEGER_WRITERS[row.name](IntegerCall(name, builder, row, call, inputs))


def _operands(node: fx.Node) -> list[fx.Node]:
    arguments = node.args[0] if isinstance(node.args[0], (list, tuple)) else node.args
    return [argument for argument in arguments if isinstance(argument, fx.Node)]


def _hidden(node: fx.Node) -> dict[str, object]:
    facts = facts_of(node)
    hidden: dict[str, object] = {"precision": facts.precision}
    if facts.batch_axis:
        hidden["batch_axis"] = facts.batch_axis
    if facts.scale is not None:
        hidden["scale"] = _real(facts.scale)
    if facts.value_range is not None and facts.value_range != Interval.symmetric(facts.precision):
        hidden["value_range"] = (facts.value_range.minimum, facts.value_range.maximum)
    return hidden


def _real(scale: float | None) -> float | None:
    return None if scale is None else float(scale)  # also of NumPy's floats, which print otherwise


def _refuse_unknown(module: fx.GraphModule) -> None:
    unknown: Counter[str] = Counter()
    first: dict[str, str] = {}
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target is not operator.getitem:
            row = OPERATORS.of_target(node.target)
            if row is None or row.name not in INTEGER_WRITERS:
                name = row.name if row else str(node.target)
                unknown[name] += 1
                first.setdefault(name, describe(node))
    if unknown:
        lines = [f"{name}: {count} nodes, first {first[name]}" for name, count in unknown.items()]
        raise ExportError(
            f"{len(unknown)} operators of the graph cannot be written as MXNet",
            where=first[next(iter(unknown))], why="\n    ".join(lines),
            remedy="export a graph of CVM operators, as quantize makes it")
