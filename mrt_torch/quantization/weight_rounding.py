"""Rounds the weights of a graph by what they do to its outputs, while the graph is being quantized."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import fx

from mrt_torch.graph.live_values import LiveValues
from mrt_torch.quantization.rounding import round_weights
from mrt_torch.quantization.second_moment import SecondMoment, positions_per_example
from mrt_torch.quantization.sensitivity import integers_of

if TYPE_CHECKING:
    from mrt_torch.quantization.operands import Operand

# Weights of one output channel: their second moment has the square of it, and its factor costs the cube.
MOST_TAPS = 4608
EXAMPLES = 8  # at a time

#: ``(integers of the operand (N, ...), most positions of each) -> windows (G, K, N)``
Windows = Callable[[torch.Tensor, int], torch.Tensor]


class WeightRounding:
    """Second moments of the operands of a graph on a sample, node after node.

    Args:
        module: the float graph.
        sample: examples of its input.
        method: see ``round_weights``.
    """

    def __init__(self, module: fx.GraphModule, sample: torch.Tensor, method: str):
        self._method = method
        self._values = LiveValues(module, sample)
        self._covariance: tuple[fx.Node, torch.Tensor] | None = None

    def round(self, op: fx.Node, weights: torch.Tensor, scales: torch.Tensor, bits: int, data: Operand,
              windows: Windows) -> torch.Tensor:
        """Integers of ``weights`` (O, ...) at ``scales`` (O,), int32; nodes are asked for in the order of the graph.

        Those of more than 4608 taps go to the nearest integers.
        """
        if weights[0].numel() > MOST_TAPS:
            return round_weights(weights, scales, bits, None, "nearest")
        if self._covariance is None or self._covariance[0] is not op:
            self._covariance = op, self._covariance_of(op, weights[0].numel(), data, windows)
        return round_weights(weights, scales, bits, self._covariance[1], self._method)

    def _covariance_of(self, op: fx.Node, taps: int, data: Operand, windows: Windows) -> torch.Tensor:
        with torch.no_grad():
            x = self._values.before(op)[op.args[0]]
            positions, moment = positions_per_example(len(x), taps), None
            for examples in integers_of(data, x.to(torch.float64)).split(EXAMPLES):
                found = windows(examples, positions)
                moment = moment or SecondMoment(*found.shape[:2])
                moment.add(found)
            return moment.covariance()
