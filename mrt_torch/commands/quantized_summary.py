"""What a quantized model holds, in figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import input_nodes, output_nodes, shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.stage import Stage
from mrt_torch.inspection import count_operators
from mrt_torch.model import Model
from mrt_torch.model_size import ModelSize
from mrt_torch.quantization.restore import float_nodes


@dataclass(frozen=True)
class QuantizedSummary:
    """Figures of a quantized model.

    Attributes:
        operators: number of nodes by operator, most frequent first.
        inputs, outputs: name, shape, bits and scale of each; bits are None of an output in float.
        size: operators, parameters, their bytes as deployed, widest value and gas.
        float_operators: names of operators that were kept in float.
    """

    operators: Mapping[str, int]
    inputs: Sequence[Mapping[str, Any]]
    outputs: Sequence[Mapping[str, Any]]
    size: ModelSize
    float_operators: Sequence[str]

    @classmethod
    def of_model(cls, model: Model) -> QuantizedSummary:
        """The summary of a quantized model."""
        module, record = model.module, model.record
        inputs = [_tensor(node, name, record.inputs[node.name]["scale"])
                  for node, name in zip(input_nodes(module.graph), model.input_names(), strict=True)]
        outputs = [_tensor(node, name, scale) for node, name, scale in
                   zip(output_nodes(module.graph), model.output_names(), record.output_scales, strict=True)]
        return cls(count_operators(module), inputs, outputs, ModelSize.of_model(model),
                   float_nodes(module) if model.stage is Stage.RESTORED else [])

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def _tensor(node: fx.Node, name: str, scale: float) -> dict[str, Any]:
    integer = node.meta["val"].dtype is torch.int32
    return {"name": name, "shape": list(shape_of(node)), "bits": facts_of(node).precision if integer else None,
            "scale": scale}
