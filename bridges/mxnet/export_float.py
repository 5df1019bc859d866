"""Writes a float graph as an MXNet symbol and parameters, without MXNet."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import fx

from bridges.mxnet.exporters.float_call import FloatCall, bound_arguments
from bridges.mxnet.exporters.float_detection import DETECTION_WRITERS
from bridges.mxnet.exporters.float_elementwise import ELEMENTWISE_WRITERS
from bridges.mxnet.exporters.float_functions import FUNCTION_WRITERS
from bridges.mxnet.exporters.float_layers import LAYER_WRITERS
from bridges.mxnet.exporters.float_logic import LOGIC_WRITERS
from bridges.mxnet.exporters.float_matrix import MATRIX_WRITERS
from bridges.mxnet.exporters.float_movement import MOVEMENT_WRITERS
from bridges.mxnet.exporters.float_normalization import NORMALIZATION_WRITERS
from bridges.mxnet.exporters.float_pooling import POOLING_WRITERS
from bridges.mxnet.exporters.float_resizing import RESIZING_WRITERS
from bridges.mxnet.exporters.float_shape import SHAPE_WRITERS
from bridges.mxnet.symbol import Entry, Symbol
from bridges.mxnet.symbol_and_params import write_model_files
from bridges.mxnet.symbol_builder import SymbolBuilder, plan_names
from mrt_torch.errors import ExportError
from mrt_torch.graph.editor import output_nodes, shape_of, tensor_of
from mrt_torch.graph.facts import describe
from mrt_torch.graph.runner import copy_graph_module
from mrt_torch.ops.composition import expand_compositions

FLOAT_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    **LAYER_WRITERS, **FUNCTION_WRITERS, **ELEMENTWISE_WRITERS, **SHAPE_WRITERS, **MOVEMENT_WRITERS,
    **DETECTION_WRITERS, **MATRIX_WRITERS, **LOGIC_WRITERS, **POOLING_WRITERS, **RESIZING_WRITERS,
    **NORMALIZATION_WRITERS}
_AUXILIARY = {torch.ops.aten.batch_norm.default: ("running_mean", "running_var")}
_RESHAPE = torch.ops.aten.reshape.default


def export_float(graph_module: fx.GraphModule, symbol_path: str | os.PathLike[str],
                 params_path: str | os.PathLike[str]) -> None:
    """Write a float graph as MXNet files; same graph, same bytes.

    Any graph of the library's ATen operators: an imported model, also after ``prepare``. Nodes keep the
    model's names, made unique. Operators that MXNet lacks become several nodes. Constants keep their dtype;
    ``__shape__`` of an input is an example, any other batch may be bound.

    Args:
        graph_module: float graph with current shapes; not changed.
        symbol_path: file to write, usually ``<model>-symbol.json``.
        params_path: file to write, usually ``<model>-0000.params``; auxiliary states have the prefix
            ``aux:``.

    Raises:
        ExportError: lists every node that MXNet cannot express, and why.
    """
    module = copy_graph_module(graph_module)
    module.graph.eliminate_dead_code()
    expand_compositions(module)
    write_model_files(*build_float_symbol(module), symbol_path, params_path)


def build_float_symbol(module: fx.GraphModule) -> tuple[Symbol, dict[str, np.ndarray]]:
    """The symbol of a float graph and its parameters, with the prefixes ``arg:`` and ``aux:``.

    Raises:
        ExportError: lists every node that MXNet cannot express, and why.
    """
    names = plan_names(module.graph)
    builder = SymbolBuilder(names.values())
    auxiliary = _auxiliary_buffers(module.graph)
    entries: dict[fx.Node, Entry] = {}
    buffers: dict[str, Entry] = {}
    errors: list[ExportError] = []
    for node in module.graph.nodes:
        if node.op == "output":
            continue
        try:
            require_axes(node)
            if node.op == "placeholder":
                entries[node] = builder.variable(names[node], shape_of(node), _numpy_type(node))
            elif node.op == "get_attr":
                if node.target not in buffers:
                    buffers[node.target] = builder.parameter(names[node], _array(module, node),
                                                             auxiliary=node.target in auxiliary)
                entries[node] = buffers[node.target]
            else:
                entries[node] = write_float(FloatCall(names[node], builder, node, bound_arguments(node), entries))
        except ExportError as error:
            errors.append(error)
            entries[node] = (0, 0)  # the nodes that follow are still examined
    raise_all(errors)
    return builder.build([entries[head] for head in output_nodes(module.graph)]), builder.params


def raise_all(errors: list[ExportError]) -> None:
    """Raise one error for those of single nodes, if there are any."""
    if errors:
        nodes = f"{len(errors)} node{'s' * (len(errors) > 1)}"
        raise ExportError(f"{nodes} of the graph cannot be written as MXNet", where=f"first at {errors[0].where}",
                          why="\n    ".join(f"{error.where}: {error.why}" for error in errors),
                          remedy="export a graph of the library's float operators, or change these nodes")


def write_float(view: FloatCall) -> Entry:
    """The nodes of one float operator.

    Raises:
        ExportError: MXNet cannot express it.
    """
    writer = FLOAT_WRITERS.get(view.node.target) if view.node.op == "call_function" else None
    if writer is None:
        view.refuse("MXNet has no such operator" if view.node.op == "call_function" else
                    f"'{view.node.op}' nodes are observers, or no part of a float graph")
    return writer(view)


def require_axes(node: fx.Node) -> None:
    """Refuse values without axes, which MXNet lacks; constants get one, and a reshape gives a result one."""
    value = node.meta.get("val")
    if node.op == "get_attr" or not isinstance(value, torch.Tensor) or value.dim():
        return
    if node.op == "placeholder" or any(user.target is not _RESHAPE for user in node.users):
        raise ExportError("a node cannot be written as MXNet", where=describe(node),
                          why="its value has no axes; MXNet's tensors have at least one",
                          remedy="change the node, or split the model before it")


def _auxiliary_buffers(graph: fx.Graph) -> set[str]:
    found = set()
    for node in graph.nodes:
        for name in _AUXILIARY.get(node.target, ()) if node.op == "call_function" else ():
            source = bound_arguments(node).get(name)
            if isinstance(source, fx.Node) and source.op == "get_attr":
                found.add(source.target)
    return found


def _array(module: fx.GraphModule, node: fx.Node) -> np.ndarray:
    tensor = tensor_of(module, node).detach().cpu()
    if not tensor.is_floating_point():  # truth values and indices: MXNet's operators take one type
        tensor = tensor.to(_float_type(module))
    array = tensor.numpy()
    return array.reshape(1) if array.ndim == 0 else array


def _float_type(module: fx.GraphModule) -> torch.dtype:
    """Float type of the inputs."""
    types = [node.meta["val"].dtype for node in module.graph.nodes if node.op == "placeholder"]
    return next((dtype for dtype in types if dtype.is_floating_point), torch.float32)


def _numpy_type(node: fx.Node) -> np.dtype:
    try:
        return np.dtype(str(node.meta["val"].dtype).removeprefix("torch."))
    except TypeError as error:
        raise ExportError("a node cannot be written as MXNet", where=describe(node),
                          why=f"its type is {node.meta['val'].dtype}",
                          remedy="change the node, or split the model before it") from error
