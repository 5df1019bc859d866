"""A float graph whose integers were written by the Transformers, with the context that wrote them."""

from __future__ import annotations

import numpy as np
import torch
from torch import fx

from mrt_torch.graph.editor import output_nodes
from mrt_torch.ops.registry import apply_pass
from mrt_torch.passes import prepare
from mrt_torch.quantization import QuantizationContext, QuantizationSettings, int_realize
from mrt_torch.quantization.calibrated import Calibrated
from mrt_torch.quantization.channels import ChannelQuantized
from tests.mrt_torch.ops.graphs import CheckedRun, calibrated_of

aten = torch.ops.aten


class Written:
    """``module`` prepared, calibrated on ``data``, in integers; biases are not corrected.

    ``op`` gives a float node by its name, ``context`` what was chosen for it.
    """

    def __init__(self, module: fx.GraphModule, data: torch.Tensor, calibrated: Calibrated | None = None,
                 sampled: bool = False, **settings):
        self.module = prepare(module)
        self.calibrated = calibrated or calibrated_of(self.module, data, sampled=sampled)
        self.context = QuantizationContext(self.module, self.calibrated, QuantizationSettings(**settings))
        self.write()

    def write(self) -> None:
        for node in self.module.graph.nodes:
            if node.op not in ("get_attr", "output"):
                with self.context.editor.inheriting(node):
                    self.context.set_value(node, apply_pass("quantize", node, context=self.context))
        self.context.editor.output([self.context.held(node).node for node in output_nodes(self.module.graph)])
        self.context.editor.module.recompile()

    def op(self, name: str) -> fx.Node:
        return next(node for node in self.module.graph.nodes if node.name == name)

    def values(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Integers of all nodes by the name in the integer graph, each held against its facts."""
        (data,) = (node for node in self.module.graph.nodes if node.op == "placeholder")
        held = self.context.held(data)
        run = CheckedRun(self.context.editor.module)
        run.run(int_realize(x.to(torch.float64) * held.scale, held.precision))
        return run.values

    def floats(self, name: str, values: dict[str, torch.Tensor]) -> torch.Tensor:
        """What the integers of a float node mean, float64."""
        held = self.context.held(self.op(name))
        integers = values[held.node.name].to(torch.float64)
        if isinstance(held, ChannelQuantized):
            return integers / held.scales.reshape([1, -1] + [1] * (integers.dim() - 2))
        return integers / held.scale


def weighted_sum(q: np.ndarray, kernel: np.ndarray, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups: int = 1
                 ) -> np.ndarray:
    """The convolution (4 axes) or dense layer (2 axes) of integers, one output after the other, in int64."""
    if kernel.ndim == 2:
        return np.array([[sum(int(a) * int(b) for a, b in zip(row, taps, strict=True)) for taps in kernel]
                         for row in q], dtype=np.int64)
    q = np.pad(q, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    batch, outputs, inputs = len(q), len(kernel), kernel.shape[1]
    reach = [dilation[axis] * (kernel.shape[2 + axis] - 1) + 1 for axis in (0, 1)]
    rows, columns = ((q.shape[2 + axis] - reach[axis]) // stride[axis] + 1 for axis in (0, 1))
    result = np.zeros((batch, outputs, rows, columns), dtype=np.int64)
    for example, output, row, column in np.ndindex(result.shape):
        first = output // (outputs // groups) * inputs
        top, left = row * stride[0], column * stride[1]
        window = q[example, first:first + inputs, top:top + reach[0]:dilation[0], left:left + reach[1]:dilation[1]]
        result[example, output, row, column] = int((window.astype(np.int64) * kernel[output].astype(np.int64)).sum())
    return result
