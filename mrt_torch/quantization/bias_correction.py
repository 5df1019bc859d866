"""Bias correction: the mean of every output channel is made that of the float graph.

What quantization does to a weighted sum has a mean that differs from zero: weights are rounded to one side more than to
the other, values saturate. It is measured on some examples, from the inputs of the graph to its outputs, so that each
layer is corrected with the integers that the corrected layers before it give. (Nagel et al., Data-Free Quantization
through Weight Equalization and Bias Correction, 2019: the empirical variant.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import fx

from mrt_torch.cvm import analyse
from mrt_torch.cvm.interval import precision_range
from mrt_torch.quantization.precision import round_half_away

FIXED_POINT_BITS = 61
EXAMPLES = 4  # at a time, because they need eight times the room
MOST_ELEMENTS = 2 ** 26  # of one activation on the sample: bounds the memory


class CorrectedBias(NamedTuple):
    """A bias that may be adjusted.

    Attributes:
        float_node: the weighted sum in the float graph.
        integer_node: its integers.
        constant: name of the buffer that is added, (O,) or (1, O, H, W) or (1, O, 1, 1).
        scales: of the integers, (O,) float64.
        bits: precision that the adjusted constant keeps to.
    """

    float_node: fx.Node
    integer_node: fx.Node
    constant: str
    scales: torch.Tensor
    bits: int


def exact_channel_means(values: torch.Tensor) -> torch.Tensor:
    """Means over all axes but 1, (C,) float64, that no order of summation changes: sums are of fixed-point integers."""
    axes = [axis for axis in range(values.dim()) if axis != 1]
    count = values.numel() // values.shape[1]
    largest = float(max(abs(end.item()) for end in torch.aminmax(values))) * count
    total = torch.zeros(values.shape[1], dtype=torch.int64, device=values.device)
    if largest == 0:
        return total.to(torch.float64)
    step = 2.0 ** (FIXED_POINT_BITS - math.frexp(largest)[1])
    for examples in values.split(EXAMPLES):
        total += (examples.to(torch.float64) * step).round().to(torch.int64).sum(axes)
    return total.to(torch.float64) / step / count


class _FloatMeans(fx.Interpreter):
    """Runs a float graph and keeps the channel means of some nodes."""

    def __init__(self, module: fx.GraphModule, nodes: set[fx.Node]):
        super().__init__(module)
        self.nodes, self.means = nodes, {}

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        if n in self.nodes:
            self.means[n] = exact_channel_means(value)
        return value


class _Correction(fx.Interpreter):
    """Runs an integer graph and adjusts its biases on the way."""

    def __init__(self, module: fx.GraphModule, corrected: Sequence[CorrectedBias], means: dict[fx.Node, torch.Tensor]):
        super().__init__(module)
        self.by_node = {bias.integer_node: bias for bias in corrected}
        self.means = means

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        bias = self.by_node.get(n)
        if bias is None:
            return value
        wanted = self.means[bias.float_node].to(torch.float64).cpu() * bias.scales
        change = round_half_away(wanted - exact_channel_means(value).cpu()).to(torch.int64)
        buffer = getattr(self.module, bias.constant)
        shape = [1, -1, *[1] * (buffer.dim() - 2)] if buffer.dim() > 1 else [-1]
        limit = precision_range(bias.bits)
        adjusted = (buffer.to(torch.int64) + change.reshape(shape).to(buffer.device)).clamp(-limit, limit)
        difference = (adjusted - buffer).to(torch.int32)
        setattr(self.module, bias.constant, adjusted.to(torch.int32))
        return value + (difference.reshape([1, -1] + [1] * (value.dim() - 2)) if difference.dim() == 1 else difference)


def correct_biases(float_module: fx.GraphModule, integer_module: fx.GraphModule, corrected: Sequence[CorrectedBias],
                   sample: torch.Tensor, integers: torch.Tensor, axis: int = 0) -> None:
    """Adjust the biases of ``integer_module`` in place, each by round((mean_float - mean_integer / s) * s).

    Of the sample as many examples are run as fit 2**26 elements of the largest activation, 4 at least.

    Args:
        float_module: the graph that was quantized.
        integer_module: its integers.
        corrected: what may be adjusted.
        sample: examples of the float input.
        integers: the same as the integer graph takes them.
        axis: of the examples.
    """
    values = [node.meta["val"] for node in integer_module.graph.nodes if node.op in ("placeholder", "call_function")]
    largest = max(value.numel() for value in values if isinstance(value, torch.Tensor)) // values[0].shape[axis]
    count = max(MOST_ELEMENTS // max(largest, 1), EXAMPLES)
    sample, integers = (examples.narrow(axis, 0, min(count, examples.shape[axis])) for examples in (sample, integers))
    living = set(integer_module.graph.nodes)
    corrected = [bias for bias in corrected if bias.integer_node in living]
    if not corrected:
        return
    with torch.no_grad():
        floats = _FloatMeans(float_module, {bias.float_node for bias in corrected})
        floats.run(sample)
        _Correction(integer_module, corrected, floats.means).run(integers)
    analyse(integer_module)
