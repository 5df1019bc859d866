"""Functions of one variable by lookup table: how many bits index it, what it holds, and the base of such operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import fx

from mrt_torch.cvm.interval import Interval, precision_range
from mrt_torch.errors import CalibrationError
from mrt_torch.ops.activation import ElementwiseTransformer
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import get_bit, int_realize, round_half_away
from mrt_torch.quantization.precision import scale as scale_of

TABLE_PRECISION = 16
NARROWEST_INDEX, CHEAP_INDEX, WIDEST_INDEX = 8, 12, 16
LARGEST_ERROR = 0.01
SPANS = (1.0, 0.5, 0.25, 0.125)
SAMPLES = 1024
HEADROOM = 2.0  # of what calibration saw: inputs are rounded up too, and a bit of 16 is cheap
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
NEXT_TO_ZERO = 1e-300  # its scale would exceed the floats

Function = Callable[[torch.Tensor], torch.Tensor]


def quantize_table(context: QuantizationContext, x: fx.Node, bits: int | None, function: Function, name: str,
                   output_threshold: float | None = None) -> Quantized:
    """Y = f(X) with one table entry for each integer X can be. (MRT's ``_quantize_table``.)

        Y = table[clamp(X - low)];  table[i] = clamp(round(f((low + i) / s) * t)) in 16 bits, ties away from zero

    X has ``bits`` bits and the scale s, unless it has fewer already. low..high is what is proven of X, within its
    calibrated threshold: half a table behind a relu. t lets the largest entry fill 16 bits, or twice the
    ``output_threshold``, where that is lower: entries beyond saturate, so that a pole (1 / x, log) or a steep end that
    no data reach (exp) costs one bit of resolution at most. Where f is not defined, the nearest defined entry stands.

    Error against f of the integers looked up: half a unit of the 16 bits, 2**-16 of the largest entry. Error against
    f of the floats: that, and the slope of f times half a unit of X. Where ``bits`` is None they are the fewest of
    8..16 for which both errors together stay within 1 % in the L2 norm, for values uniform over all X can be, its
    half, quarter and eighth (see ``index_precision``), and 16 where none do. X of up to 12 bits stays as it is: a
    table of 4095 entries costs less than a multiplication and a shift.

    Args:
        context: of the quantization.
        x: float node of the input.
        bits: of the index, at most 16; None chooses them.
        function: f, element by element, of a float64 tensor.
        name: of the node, for its table.
        output_threshold: largest magnitude of f that occurs; None for the largest of the table.
    """
    quantized, threshold = context.value(x), context.threshold(x)
    if bits is None:
        bits = index_precision(function, quantized, threshold, output_threshold)
    if index_width(quantized, threshold) > bits:
        quantized = context.requantize(x, bits)
    reached = _reached(quantized.value_range, threshold * quantized.scale)
    integers, scale = tabulate(function, reached, quantized.scale, output_threshold)
    table = context.table(f"{name}_table", integers)
    index = quantized.node
    if reached.minimum:  # the lookup itself clamps the index to the table
        index = context.call("broadcast_add", index, context.number(-reached.minimum))
    return Quantized(context.call("cvm_lut", index, table), scale)


def tabulate(function: Function, reached: Interval, scale: float, output_threshold: float | None = None
             ) -> tuple[torch.Tensor, float]:
    """``round(f(i / scale) * t)`` for all integers i of an interval, clamped to 16 bits: int32, and t."""
    outputs = _defined(function(torch.arange(reached.minimum, reached.maximum + 1, dtype=torch.float64) / scale))
    finite = outputs[torch.isfinite(outputs)].abs()
    largest = float(finite.max()) if len(finite) else math.inf
    if output_threshold:
        largest = min(largest, HEADROOM * output_threshold)
    if not math.isfinite(largest):
        largest = 1.0
    if largest < NEXT_TO_ZERO:
        return torch.zeros(len(outputs), dtype=torch.int32), 1.0
    step = scale_of(largest, TABLE_PRECISION)
    return int_realize(outputs * step, TABLE_PRECISION), step


def index_precision(function: Function, quantized: Quantized, threshold: float, output_threshold: float | None = None
                    ) -> int:
    """Fewest bits of 8..16 that meet the bound of ``quantize_table``, measured; 16 where none do.

    The values are 1024 evenly spread ones over the whole of what X can be, and as many over its half, quarter and
    eighth next to zero; those where f is undefined or beyond ``output_threshold`` do not count.
    """
    width = index_width(quantized, threshold)
    if width <= CHEAP_INDEX:
        return CHEAP_INDEX
    values = quantized.value_range
    low, high = (min(max(value / quantized.scale, -threshold), threshold) for value in (values.minimum, values.maximum))
    samples = _samples(low, high)
    expected = function(samples)
    limit = math.inf if not output_threshold else output_threshold * (1 + 1e-9)
    counted = torch.isfinite(expected) & (expected.abs() <= limit)
    expected = torch.where(counted, expected, 0.0)
    norms = expected.norm(dim=1).clamp(min=NEXT_TO_ZERO)
    for bits in range(NARROWEST_INDEX, min(WIDEST_INDEX, width)):
        scale = precision_range(bits) / threshold
        shrink = scale / quantized.scale
        reached = Interval(round(values.minimum * shrink), round(values.maximum * shrink))
        reached = _reached(reached.clamp(-precision_range(bits), precision_range(bits)), threshold * scale)
        integers, step = tabulate(function, reached, scale, output_threshold)
        index = round_half_away(samples * scale).clamp(reached.minimum, reached.maximum) - reached.minimum
        found = torch.where(counted, integers[index.long()] / step, 0.0)
        if bool(((found - expected).norm(dim=1) <= LARGEST_ERROR * norms).all()):
            return bits
    return min(width, WIDEST_INDEX)


def index_width(quantized: Quantized, threshold: float) -> int:
    """Bits of the integers that calibration saw."""
    return min(quantized.value_range.precision, get_bit(threshold * quantized.scale))


def _reached(proven: Interval, largest: float) -> Interval:
    """The integers of a proven interval that calibration came near: its values would set the scale of the table."""
    bound = math.ceil(min(largest, proven.magnitude))
    return proven.clamp(-bound, bound)


def _defined(outputs: torch.Tensor) -> torch.Tensor:
    """Entries with the nearest defined one in place of NaN: a value at the end of the domain may be rounded beyond."""
    defined = (~torch.isnan(outputs)).nonzero().reshape(-1)
    if len(defined) in (0, len(outputs)):
        return torch.nan_to_num(outputs, nan=0.0, posinf=math.inf, neginf=-math.inf)
    places = torch.arange(len(outputs))
    after = torch.searchsorted(defined, places).clamp(max=len(defined) - 1)
    before = defined[(after - 1).clamp(min=0)]
    after = defined[after]
    return outputs[torch.where((places - before).abs() <= (places - after).abs(), before, after)]


def _samples(low: float, high: float) -> torch.Tensor:
    """Values that no grid resonates with, one row for each of the spans."""
    places = (torch.arange(SAMPLES, dtype=torch.float64) + 0.5) * GOLDEN_RATIO % 1.0
    rows = [(min(low * span, high), max(high * span, low)) for span in SPANS]
    return torch.stack([first + (last - first) * places for first, last in rows])


class Activation(ElementwiseTransformer):
    """A function of one variable, quantized by table.

    A subclass gives ``op_name``, and ``function`` where the float operator itself, run in float64, is not the
    function; or ``function_of`` where that depends on the node's arguments. Registered for a target, it is all there
    is to write:

        @register_transformer(torch.ops.aten.sinc.default)
        class Sinc(Activation):
            op_name = "sinc"

    ``input_precision`` is the number of bits of the table's index, at most 16; None chooses them for each node. What
    the user sets for ``op_name`` wins.
    """

    op_name = "Activation"
    cvm_operators = ("broadcast_add", "cvm_lut")
    registered_passes = frozenset({"validate", "rewrite", "calculate_ops", "prepare_for_compile", "compile"})
    input_precision: ClassVar[int | None] = None
    function: ClassVar[Function | None] = None

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        for value in op.args[1:]:
            if isinstance(value, fx.Node):
                return "its numbers are computed, not constants"
            if isinstance(value, (int, float)) and not math.isfinite(value):
                return f"its number is {value}"
        return None

    def function_of(self, op: fx.Node) -> Function:
        """The function that a node computes, with the node's arguments filled in."""
        if self.function is not None:
            return self.function
        return lambda values: op.target(values, *op.args[1:], **op.kwargs)

    def index_bits(self, op: fx.Node, context: QuantizationContext) -> int | None:
        """Bits of the index that the user, or the class, asks for."""
        return context.settings.chosen_precision(self.op_name, self.input_precision)

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """See ``quantize_table``."""
        return quantize_table(context, op.args[0], self.index_bits(op, context), self.function_of(op), op.name,
                              known_threshold(op, context))


def known_threshold(op: fx.Node, context: QuantizationContext) -> float | None:
    """Calibrated threshold of a node; None where calibration did not see it."""
    try:
        return context.threshold(op)
    except CalibrationError:
        return None
