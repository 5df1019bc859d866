"""Runs a Model on floats, through its integers where it is quantized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.input_data import as_tensor, check_shape
from mrt_torch.simulation import load_real_data

if TYPE_CHECKING:
    from mrt_torch.model import Model


def infer(model: Model, inputs: Sequence[Any]) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """What ``model(*inputs)`` returns; see ``Model.__call__``."""
    nodes = input_nodes(model.module.graph)
    named = len(inputs) == 1 and isinstance(inputs[0], Mapping)
    if model.joined and (named or len(inputs) > 1):
        inputs = (model.joined.join(inputs[0] if named else inputs),)
    if len(inputs) != len(nodes):
        raise InvalidArgumentError("the model takes one array for each of its inputs",
                                   why=f"saw {len(inputs)} for {model.input_names()}",
                                   remedy="pass one array for each input, in order")
    tensors = [as_tensor(x) for x in inputs]
    for tensor, node in zip(tensors, nodes, strict=True):
        check_shape(tensor, node)
    if not model.is_quantized:
        outputs = model.module(*(x.to(node.meta["val"].dtype) for x, node in zip(tensors, nodes, strict=True)))
    else:
        integers = [load_real_data(x, node.name, model.record.inputs)
                    for x, node in zip(tensors, nodes, strict=True)]
        outputs = [(o.to(torch.float64) / s).to(torch.float32)
                   for o, s in zip(model.module(*integers), model.record.output_scales, strict=True)]
        if model.record.output_shapes:
            outputs = [o.reshape(-1, *shape[1:])
                       for o, shape in zip(outputs, model.record.output_shapes, strict=True)]
    return outputs[0] if len(outputs) == 1 else tuple(outputs)
