"""Quantized models on their way to the CVM: the batch fixed, the files written."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from mrt_torch.bridge import Shapes, bridge_called
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import input_nodes, shape_of
from mrt_torch.graph.runner import copy_graph_module
from mrt_torch.graph.shapes import set_input_shapes
from mrt_torch.graph.stage import Stage
from mrt_torch.input_data import as_tensor, shapes_by_node
from mrt_torch.model import Model
from mrt_torch.model_file import extension_of
from mrt_torch.passes.prepare_for_compile import prepare_for_compile
from mrt_torch.quantization.restore import float_nodes
from mrt_torch.simulation import load_real_data


def reduce_graph(model: Model, input_shapes: Shapes = None) -> Model:
    """The quantized model with its batch fixed, as exporters take it.

    Raises:
        InvalidArgumentError: the model is not quantized.
        InvalidGraphError: the graph refuses the shapes.
    """
    if not model.is_quantized:
        raise InvalidArgumentError("only a quantized model can be exported", where="to_cvm or reduce_graph",
                                   why=f"saw {model!r}", remedy="call MRT.quantize first")
    shapes = {} if input_shapes is None else shapes_by_node(model.module, input_shapes, batch_only=True)
    if model.stage is Stage.RESTORED:
        fixed = copy_graph_module(model.module)
        set_input_shapes(fixed, shapes)
    else:
        fixed = prepare_for_compile(model.module, shapes)
    return Model(fixed, model.stage, record=model.record, prepared=True, joined=model.joined)


def deploy(model: Model, model_name: str, datadir: str | os.PathLike[str], input_shape: Shapes = None,
           data: torch.Tensor | None = None) -> Path:
    """Write ``<datadir>/<model_name>``: ``symbol``, ``params``, ``ext``, with ``data`` also ``data.npy``.

    The arguments and errors are those of ``Model.to_cvm``.
    """
    if model.stage is Stage.RESTORED:
        raise InvalidArgumentError(
            "a model with parts in float cannot be exported to the CVM", where="to_cvm",
            why=f"in float: {', '.join(float_nodes(model.module)[:20])}", remedy="quantize without set_restore; "
                   "put halves together with ModelMerger.merge_integers")
    if model_name in ("", ".", "..") or Path(model_name).name != model_name:
        raise InvalidArgumentError("a model name is the name of a folder", where="to_cvm",
                                   why=f"saw {model_name!r}", remedy="give the folder above it as datadir")
    fixed = reduce_graph(model, input_shape)
    return bridge_called("cvm").save(fixed.module, Path(datadir) / model_name, extension_of(fixed),
                                     None if data is None else _integers_of_batch(fixed, data))


def _integers_of_batch(model: Model, data: torch.Tensor) -> torch.Tensor:
    """The integers of a float batch of just the input shape."""
    (node,), tensor = input_nodes(model.module.graph), as_tensor(data)
    if tuple(tensor.shape) != shape_of(node):
        raise InvalidArgumentError("the sample data is not a batch of the input shape", where="to_cvm",
                                   why=f"saw {tuple(tensor.shape)}, expected {shape_of(node)}",
                                   remedy="give as many examples as the batch of input_shape")
    return load_real_data(tensor, node.name, model.record.inputs)
