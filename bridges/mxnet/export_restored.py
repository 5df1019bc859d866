"""Writes a graph of integers and floats, as a quantized base under a float top, as an MXNet symbol, without MXNet.

The integers are computed in float64 as ``export_integer`` writes them; an integer that becomes a float is divided by
its scale and cast to the type of the float operators, whose parameters keep theirs. Bind the parameters with the types
they have in the file, and an input of float64.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import fx

from bridges.mxnet.export_float import raise_all, require_axes, write_float
from bridges.mxnet.export_integer import write_integer
from bridges.mxnet.exporters.float_call import FloatCall, bound_arguments
from bridges.mxnet.symbol import Entry, Symbol
from bridges.mxnet.symbol_and_params import write_model_files
from bridges.mxnet.symbol_builder import SymbolBuilder, plan_names
from mrt_torch.cvm.analysis import selected_output
from mrt_torch.cvm.interval import precision_range
from mrt_torch.cvm.operator import OPERATORS
from mrt_torch.errors import ExportError
from mrt_torch.graph.editor import output_nodes, shape_of, tensor_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.runner import copy_graph_module
from mrt_torch.ops.composition import expand_compositions


def export_restored(graph_module: fx.GraphModule, symbol_path: str | os.PathLike[str],
                    params_path: str | os.PathLike[str]) -> None:
    """Write a graph of the restored stage as MXNet files; same graph, same bytes.

    Each input has hidden attributes ``__shape__``, another batch may be bound, and ``__scale__``: its integers are
    float * scale.

    Args:
        graph_module: quantized graph with parts in float; not changed.
        symbol_path: file to write, usually ``<model>-symbol.json``.
        params_path: file to write, usually ``<model>-0000.params``; integers as float64, floats as they are.

    Raises:
        ExportError: lists every node that MXNet cannot express, and why.
    """
    module = copy_graph_module(graph_module)
    module.graph.eliminate_dead_code()
    expand_compositions(module)
    write_model_files(*build_restored_symbol(module), symbol_path, params_path)


def build_restored_symbol(module: fx.GraphModule) -> tuple[Symbol, dict[str, np.ndarray]]:
    """The symbol of a graph of integers and floats, and its parameters.

    Raises:
        ExportError: lists every node that MXNet cannot express, and why.
    """
    names = plan_names(module.graph)
    builder = SymbolBuilder(names.values())
    entries: dict[fx.Node, Entry] = {}
    buffers: dict[str, Entry] = {}
    errors: list[ExportError] = []
    for node in module.graph.nodes:
        if node.op == "placeholder":
            scale = facts_of(node).scale
            entries[node] = builder.variable(names[node], shape_of(node), np.float64,
                                             **({} if scale is None else {"scale": float(scale)}))
        elif node.op == "get_attr":
            if node.target not in buffers:
                buffers[node.target] = builder.parameter(names[node], _array(module, node))
            entries[node] = buffers[node.target]
        elif node.op == "call_function":
            try:
                entries[node] = _entry(node, names[node], builder, entries)
            except ExportError as error:
                errors.append(error)
                entries[node] = (0, 0)  # the nodes that follow are still examined
    raise_all(errors)
    return builder.build([entries[head] for head in output_nodes(module.graph)]), builder.params


def _entry(node: fx.Node, name: str, builder: SymbolBuilder, entries: dict[fx.Node, Entry]) -> Entry:
    selected = selected_output(node)
    if selected is not None:
        return entries[selected[0]][0], selected[1]
    if OPERATORS.of_target(node.target) is not None:
        return write_integer(node, name, builder, entries)
    require_axes(node)
    view = FloatCall(name, builder, node, bound_arguments(node), entries)
    writer = {torch.ops.mrt.dequantize.default: _dequantize, torch.ops.mrt.quantize.default: _quantize}
    return writer.get(node.target, write_float)(view)


def _dequantize(view: FloatCall) -> Entry:
    """Integer / scale."""
    return view.result("Cast", view.part("quotient", "_div_scalar", *view.inputs, scalar=view.arguments["scale"]),
                       dtype=_type_name(view.node.meta["val"].dtype))


def _quantize(view: FloatCall) -> Entry:
    """round(float * scale), ties away from zero, clamped to the precision."""
    largest = precision_range(view.arguments["precision"])
    product = view.part("product", "_mul_scalar", view.part("wide", "Cast", *view.inputs, dtype="float64"),
                        scalar=view.arguments["scale"])
    return view.result("clip", view.part("rounded", "round", product), a_min=-largest, a_max=largest)


def _array(module: fx.GraphModule, node: fx.Node) -> np.ndarray:
    """Integers, and truth values, as float64; floats as they are."""
    tensor = tensor_of(module, node).detach().cpu()
    feeds_integers = any(OPERATORS.of_target(user.target) is not None for user in node.users)
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.float64 if feeds_integers else torch.float32)
    array = tensor.numpy()
    return array.reshape(1) if array.ndim == 0 else array


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
