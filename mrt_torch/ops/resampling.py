"""Fixed weighted sums along one axis of an integer tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx

from mrt_torch.cvm.interval import bits_for
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops.slicing import slice_integers
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import round_half_away

WIDEST_SUM = 31          # so that what follows may shift it
FINEST_WEIGHT = 14       # bits after the point
OPERAND_BITS = 16        # where weights are rounded, finer operands gain nothing
EXACT = 1e-9             # weights computed in float64 count as exact binary fractions within this


@dataclass(frozen=True)
class Resampling:
    """Y[i] = sum over t of X[first[i] + t] * weights[t, i] along one axis.

    Attributes:
        extent: number of inputs.
        first: index of each output's first input, int64.
        weights: (taps, outputs) in float64.
    """

    extent: int
    first: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def of_matrix(cls, matrix: torch.Tensor) -> Resampling:
        """From the matrix (outputs, inputs) of a linear map; every output reads inputs that lie side by side."""
        outputs, extent = matrix.shape
        used = matrix != 0
        columns = torch.arange(extent)
        first = torch.where(used, columns, extent).amin(1).clamp(max=extent - 1)
        last = torch.where(used, columns, -1).amax(1)
        taps = max(int((last - first).max()) + 1, 1)
        first = first.clamp(max=extent - taps)
        weights = torch.stack([matrix[torch.arange(outputs), first + tap] for tap in range(taps)])
        return cls(extent, first, weights)

    def matrix(self) -> torch.Tensor:
        """The map as a matrix (outputs, inputs) in float64."""
        rows = torch.zeros(len(self.first), self.extent, dtype=torch.float64)
        for tap, weights in enumerate(self.weights):
            rows[torch.arange(len(self.first)), self.first + tap] += weights
        return rows

    @property
    def taps(self) -> int:
        """Inputs that an output reads."""
        return self.weights.shape[0]

    @property
    def is_selection(self) -> bool:
        """Whether every output is one of the inputs."""
        return self.taps == 1 and bool((self.weights == 1).all())

    @property
    def is_identity(self) -> bool:
        return self.is_selection and self.first.tolist() == list(range(self.extent))

    @property
    def factor(self) -> int | None:
        """The whole number by which every input is repeated; None where it is anything else."""
        factor = len(self.first) // self.extent
        repeated = torch.arange(self.extent).repeat_interleave(factor) if factor else self.first[:0]
        return factor if self.is_selection and torch.equal(self.first, repeated) else None

    def fraction_bits(self) -> int | None:
        """Bits after the point that hold all weights exactly, at most 8; None where they need more."""
        for bits in range(9):
            scaled = self.weights * 2.0 ** bits
            if bool(((scaled - scaled.round()).abs() <= EXACT).all()):
                return bits
        return None

    def integers(self, bits: int) -> torch.Tensor:
        """Weights times 2**bits, rounded so that those of each output add up to the rounded sum of the weights.

        The largest weight of an output takes what rounding left over: a constant image stays constant.
        """
        scaled = self.weights * 2.0 ** bits
        rounded = round_half_away(scaled)
        missing = round_half_away(scaled.sum(0)) - rounded.sum(0)
        largest = scaled.abs().argmax(0)
        rounded[largest, torch.arange(rounded.shape[1])] += missing
        return rounded.to(torch.int64)


def gather(context: QuantizationContext, node: fx.Node, axis: int, indices: torch.Tensor, name: str) -> fx.Node:
    """``node`` at constant indices along an axis, with the cheapest operator: none, a slice, a repeat or a take."""
    extent, wanted = shape_of(node)[axis], indices.tolist()
    if wanted == list(range(extent)):
        return node
    step = wanted[1] - wanted[0] if len(wanted) > 1 else 1
    if step > 0 and wanted == list(range(wanted[0], wanted[0] + step * len(wanted), step)):
        return slice_integers(context, node, axis, wanted[0], wanted[-1] + 1, step)
    repeats = len(wanted) // extent
    if repeats > 1 and wanted == [i // repeats for i in range(extent * repeats)]:
        return context.call("repeat", node, repeats=repeats, axis=axis)
    return context.call("take", node, context.constant(name, indices), axis=axis)


def resample(context: QuantizationContext, quantized: Quantized, axis: int, resampling: Resampling,
             name: str) -> Quantized:
    """sum over taps t of take(X, first + t) * round(W[t] * 2**b), of the scale s * 2**b.

    Weights that are multiples of 2**-8, or coarser, are exact. For others X is brought to 16 bits by a rounding shift,
    and b is 14, or less where the weights' magnitudes add up to 2 and more: every weight is off by 2**-(b + 1) at most,
    or, the largest of an output, by that times the taps less one. Every sum fits 31 bits.
    """
    if resampling.is_identity:
        return quantized
    if resampling.is_selection:
        return Quantized(gather(context, quantized.node, axis, resampling.first, name), quantized.scale)
    bits = resampling.fraction_bits()
    if bits is None:
        node, scale = _shifted(context, quantized, OPERAND_BITS)
        width = facts_of(node).value_range.precision
        bits = next(b for b in range(FINEST_WEIGHT, -1, -1) if b == 0 or _room(resampling.integers(b)) >= width)
    node, scale = _shifted(context, quantized, min(_room(resampling.integers(bits)), WIDEST_SUM))
    return Quantized(_weighted_sum(context, node, axis, resampling, bits, name), scale * 2.0 ** bits)


def _room(weights: torch.Tensor) -> int:
    """Widest operand, in bits, whose weighted sums fit 31 bits, and whose products the runtime takes to fit 32."""
    reach = int(weights.abs().sum(0).max())
    return min(WIDEST_SUM - (reach - 1).bit_length(), 32 - bits_for(int(weights.abs().max())))


def _weighted_sum(context: QuantizationContext, node: fx.Node, axis: int, resampling: Resampling, bits: int,
                  name: str) -> fx.Node:
    weights, magnitude, total = resampling.integers(bits), facts_of(node).value_range.magnitude, None
    column = [1] * len(shape_of(node))
    column[axis] = -1
    for tap in range(resampling.taps):
        part = gather(context, node, axis, resampling.first + tap, f"{name}_tap{tap}")
        factors = context.constant(f"{name}_weight{tap}", weights[tap].reshape(column))
        product = context.call("broadcast_mul", part, factors)
        total = product if total is None else context.call("elemwise_add", total, product)
        last = tap == resampling.taps - 1
        if last or facts_of(total).precision > WIDEST_SUM:
            bound = int(weights[:tap + 1].abs().sum(0).max()) * magnitude
            total = context.narrow(total, bits_for(bound))
    return total


def _shifted(context: QuantizationContext, quantized: Quantized, bits: int) -> Quantized:
    """The integers in at most ``bits`` bits, divided by a power of two where they are wider, halves rounded up."""
    node, width = quantized.node, quantized.value_range.precision
    if width <= bits:
        return Quantized(context.narrow(node, width), quantized.scale)
    shift = width - bits
    shifted = context.call("cvm_right_shift", context.narrow(node, WIDEST_SUM), precision=bits, shift_bit=shift)
    return Quantized(shifted, quantized.scale / 2.0 ** shift)
