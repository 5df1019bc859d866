"""Functions with a pole or an infinite slope at zero, which one table of 16 bits resolves poorly next to it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import fx

from mrt_torch.cvm.interval import precision_range
from mrt_torch.ops.registry import TRANSFORMERS
from mrt_torch.ops.table import HEADROOM, WIDEST_INDEX, Activation, Function, index_width, known_threshold
from mrt_torch.ops.wide_table import WIDEST_VALUE, wide_table
from mrt_torch.quantization.context import QuantizationContext, Quantized

RESULT_PRECISION = 24


class WideFunction(Activation):
    """A function of nonnegative values by the segments of ``wide_table``, of others by one table of 16 bits.

    Segments where the input is proven nonnegative and has more than 16 bits, and the user sets none. The relative
    error is then that of 8 leading bits of the input wherever it lies, plus half a unit of the result's 24 bits:
    with e = abs(x * f'(x) / f(x)), e * 2**-9, which is 0.1 % for the roots and 0.2 % for 1 / x. By one table, whose
    inputs are rounded by T * 2**-16, it is e * T * 2**-16 / x plus half a unit of 16 bits of the largest result: 0.4 %
    for 1 / x at T / 256, 1.6 % at T / 1024, and half of that for 1 / sqrt(x).
    """

    input_precision = WIDEST_INDEX
    cvm_operators = ("cvm_right_shift", "broadcast_add", "cvm_lut", "broadcast_max")
    #: Leading bits of the input and bits of the largest index, as ``wide_table`` takes them.
    resolution: ClassVar[tuple[int, int]] = (8, 12)

    def uses_segments(self, op: fx.Node) -> bool:
        """Whether a node's function is one of those that the segments are for."""
        return True

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See ``quantize_wide`` and ``quantize_table``."""
        quantized, threshold = context.value(op.args[0]), context.threshold(op.args[0])
        wide = quantized.value_range.minimum >= 0 and index_width(quantized, threshold) > WIDEST_INDEX
        chosen = context.settings.chosen_precision(self.op_name) is not None
        if not wide or chosen or not self.uses_segments(op):
            return super().quantize(op, context=context, **keywords)
        return quantize_wide(context, op.args[0], self.function_of(op), op.name, known_threshold(op, context),
                             self.resolution)


def is_wide_function(target: object) -> bool:
    """Whether an operator is a function whose wide inputs have segments."""
    return target in TRANSFORMERS and isinstance(TRANSFORMERS[target], WideFunction)


def quantize_wide(context: QuantizationContext, x: fx.Node, function: Function, name: str,
                  output_threshold: float | None, resolution: tuple[int, int]) -> Quantized:
    """Y = clamp(round((f(V / s) - b) * t)) + round(b * t) by ``wide_table``, for nonnegative V of scale s.

    b is 0, or f(1 / s) where that is negative, because the segments take no negative values; t lets the largest
    result, or twice the ``output_threshold`` where that is lower, fill 24 bits.
    """
    quantized, threshold = context.requantize(x, WIDEST_VALUE), context.threshold(x)
    scale, width = quantized.scale, index_width(quantized, threshold)
    ends = function(torch.tensor([1.0, precision_range(width)], dtype=torch.float64) / scale)
    base = min(float(ends.min()), 0.0)
    largest = max(float(ends.max()) - base, -base)
    if output_threshold:
        largest = min(largest, HEADROOM * output_threshold - base)
    if not 0 < largest < math.inf:
        largest = 1.0
    bound = precision_range(RESULT_PRECISION)
    step = bound / largest

    def entries(integers: torch.Tensor) -> torch.Tensor:
        return torch.nan_to_num((function(integers / scale) - base) * step, nan=0.0).clamp(0, bound)

    node = wide_table(context, context.narrow(quantized.node, width), entries, f"{name}_table", *resolution)
    offset = math.floor(base * step + 0.5)
    return Quantized(context.call("broadcast_add", node, context.number(offset)) if offset else node, step)
