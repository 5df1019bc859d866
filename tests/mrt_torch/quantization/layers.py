"""One convolution or dense layer on integers that calibration knows a range of, and its oracles."""

from __future__ import annotations

import itertools

import torch

from mrt_torch.calibration.features import MMFeature, MMLFeature
from mrt_torch.cvm import Interval
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import set_facts
from mrt_torch.ops.registry import apply_pass
from mrt_torch.quantization import QuantizationContext, QuantizationSettings, Quantized
from mrt_torch.quantization.calibrated import Calibrated
from mrt_torch.quantization.precision import round_half_away
from tests.mrt_torch.ops.graphs import CheckedRun, aten, draw, operators

HELD_SCALE, HELD_BITS = 2.0e4, 20
# input channels, height, width; output channels, kernel; stride, padding, dilation, groups
GEOMETRIES = {
    "plain": ((3, 4, 5), (4, 3, 2), [1, 1], [0, 0], [1, 1], 1),
    "padded": ((3, 4, 5), (4, 3, 3), [1, 1], [1, 1], [1, 1], 1),
    "1x1": ((4, 3, 3), (5, 1, 1), [1, 1], [0, 0], [1, 1], 1),
    "1x1, padded": ((2, 3, 3), (3, 1, 1), [1, 1], [1, 2], [1, 1], 1),
    "strides, dilation, two groups": ((4, 6, 5), (6, 2, 3), [2, 1], [1, 3], [2, 1], 2),
    "depthwise": ((4, 5, 4), (8, 3, 3), [1, 1], [1, 1], [1, 1], 4),
    "depthwise, stride 2, padded on one axis": ((3, 5, 4), (3, 3, 1), [2, 2], [1, 0], [1, 1], 3),
}


class Layer:
    """One convolution, or dense layer where ``geometry`` is None, on an activation of wide integers with a range.

    ``held`` is the result, ``found`` what was chosen, ``data`` the operand.
    """

    def __init__(self, weight, bias, geometry=None, low=-0.5, high=4.0, channel_ranges=False, **chosen):
        shape = geometry[0] if geometry else (weight.shape[1],)
        editor = GraphEditor(empty_graph_module())
        data = editor.input("data", (1, *shape), torch.float64)
        x = editor.call(aten.tanh.default, data, name="x")
        parameters = [editor.constant("weight", weight), None if bias is None else editor.constant("bias", bias)]
        target, arguments = (aten.conv2d.default, geometry[2:]) if geometry else (aten.linear.default, ())
        self.op = editor.call(target, x, *parameters, *arguments, name="y")
        lows, highs = ([end * (1 - 0.2 * c) for c in range(shape[0])] for end in (low, high))
        ranges = MMLFeature(lows, highs) if channel_ranges else MMFeature(low, high)
        self.context = QuantizationContext(editor.module, Calibrated({"x": ranges, "y": MMFeature(-9.0, 9.0)}),
                                           QuantizationSettings(**chosen))
        self.input = self.context.editor.input("data", (1, *shape), torch.int32)
        set_facts(self.input, precision=HELD_BITS, value_range=Interval.symmetric(HELD_BITS))
        self.context.set_value(x, Quantized(self.input, HELD_SCALE))
        self.held = apply_pass("quantize", self.op, context=self.context)
        self.found = self.context.weighted_sums[self.op]
        ((self.data, _),) = self.found.data.parts
        self.context.editor.output([self.held.node, self.data])
        self.context.editor.module.recompile()

    @property
    def scales(self) -> torch.Tensor:
        """Of Y, (O,)."""
        return self.found.scales

    def run(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Integers of Y and q for floats X; every node is held against its facts."""
        integers = (values * HELD_SCALE).round().to(torch.int32)
        total, data = CheckedRun(self.context.editor.module).run(integers)
        return total.to(torch.int64), data.to(torch.int64)

    def operators(self) -> list[str]:
        return operators(self.context.editor.module)


def tap_by_tap(data, zeros, kernel, bias, geometry):
    """The convolution of q + z in Python integers: padding counts as nothing, as in the float convolution."""
    stride, padding, dilation, groups = geometry[2:]
    batch, channels, *extents = data.shape
    outputs, per_group, *window = kernel.shape
    sizes = [(extents[a] + 2 * padding[a] - dilation[a] * (window[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)]
    result = torch.zeros(batch, outputs, *sizes, dtype=torch.int64)
    wide, taps = data.tolist(), kernel.tolist()
    for n, o, i, j in itertools.product(range(batch), range(outputs), *map(range, sizes)):
        group, total = o // (outputs // groups), int(bias[o])
        for c, u, v in itertools.product(range(per_group), *map(range, window)):
            row, column = i * stride[0] + u * dilation[0] - padding[0], j * stride[1] + v * dilation[1] - padding[1]
            if 0 <= row < extents[0] and 0 <= column < extents[1]:
                channel = group * per_group + c
                zero = int(zeros[channel * len(zeros) // channels])
                total += taps[o][c][u][v] * (wide[n][channel][row][column] + zero)
        result[n, o, i, j] = total
    return result


def parameters(geometry, seed=1):
    (channels, *_), (outputs, *window), *_, groups = geometry
    return draw(outputs, channels // groups, *window, seed=seed), draw(outputs, seed=seed + 1)


def float64_sum(layer, data, bias):
    """(q + z) * W + round(b * s), of a 1x1 convolution or a dense layer."""
    whole = (data + int(layer.found.data.zeros)).double().flatten(1)
    return (whole @ layer.found.kernel.double().flatten(1).T + round_half_away(bias * layer.scales)).to(torch.int64)
