"""An activation held in integers, as an operand of a weighted sum finds it."""

from __future__ import annotations

import torch

from mrt_torch.cvm import Interval
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import set_facts
from mrt_torch.quantization import QuantizationContext, QuantizationSettings, Quantized
from mrt_torch.quantization.calibrated import Calibrated
from mrt_torch.quantization.channels import ChannelQuantized
from mrt_torch.quantization.recipe import Recipe
from tests.mrt_torch.ops.graphs import CheckedRun, aten


class Held:
    """A context that holds one activation ``x`` of some channels in integers of ``bits`` bits."""

    def __init__(self, feature, scales, bits=20, channels=4, operand_features=(), recipe=None, interval=None):
        editor = GraphEditor(empty_graph_module())
        data = editor.input("data", (1, channels, 1, 1))
        self.x = editor.call(aten.tanh.default, data, name="x")
        calibrated = Calibrated({"x": feature, "data": feature},
                                {("x", groups): each for groups, each in dict(operand_features).items()})
        self.context = QuantizationContext(editor.module, calibrated, QuantizationSettings(recipe=recipe or Recipe()))
        self.node = self.context.editor.input("data", (1, channels, 1, 1), torch.int32)
        set_facts(self.node, precision=bits, value_range=interval or Interval.symmetric(bits))
        self.set(data, scales)
        self.set(self.x, scales)
        self.data = data

    def set(self, node, scales):
        held = Quantized(self.node, float(scales)) if not isinstance(scales, list) else ChannelQuantized(
            self.node, torch.tensor(scales, dtype=torch.float64))
        self.context.set_value(node, held)

    def run(self, found, values: torch.Tensor) -> list[torch.Tensor]:
        """What the parts of an operand hold for integers ``values`` (N, C)."""
        editor = self.context.editor
        nodes = [part for part, _ in found.parts]
        editor.output(nodes)
        editor.module.recompile()
        results = CheckedRun(editor.module).run(values.to(torch.int32)[:, :, None, None])
        return [result[:, :, 0, 0].to(torch.int64) for result in results]
