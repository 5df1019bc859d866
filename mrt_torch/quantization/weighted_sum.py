"""The integers of Y = X * W + B, of a convolution or a dense layer. (MRT's ``_quantize_xwb``.)"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import fx

from mrt_torch.calibration.raw_features import AFFINE
from mrt_torch.cvm import Interval, bits_for
from mrt_torch.cvm.interval import precision_range
from mrt_torch.graph.facts import facts_of, set_facts, source_name
from mrt_torch.quantization.affine_weights import AffineWeights, add_weight_zeros
from mrt_torch.quantization.bias_correction import CorrectedBias
from mrt_torch.quantization.channels import ChannelQuantized, along_channels
from mrt_torch.quantization.context import Held, QuantizationContext, Quantized
from mrt_torch.quantization.granularity import channels_of_a_scale, shared_maximum, weight_range
from mrt_torch.quantization.operands import PART_BITS, Operand, widest_operand
from mrt_torch.quantization.precision import round_half_away
from mrt_torch.quantization.weight_rounding import Windows

# Leaves a bit for the sum with the products and one for the shift that follows.
WIDEST_BIAS = 30
LONE_BIAS = 16
PARTIAL_SUM = 31        # the runtime takes a sum of two to be a bit wider, and 32 bits is all there is
LARGEST_STEP = 1 - 2.0 ** -6
LARGEST_SPREAD = 2.0 ** 16  # of the scales of output channels: fractions have no more bits
CORRECTION = 0.25       # of a channel's magnitude: what bias correction may add


@dataclass(frozen=True)
class WeightedSum:
    """Integers of Y = X * W + B.

    Attributes:
        data: the operand q, where X = (q + zeros) / scales.
        kernel: integers q of W, (O, ...), where W = q + weight_zeros.
        offset: what is added to the products: B and the share of the zero points, (O,), or (1, O, H, W) where a
            zero-padded convolution's border sees fewer of them; int64. None where it is all zero.
        reserve: bits that hold the offset also after bias correction.
        scales: of Y, (O,) float64.
        weight_zeros: zero points of a UniformAffine W, (O,) int64; None where all are 0.
    """

    data: Operand
    kernel: torch.Tensor
    offset: torch.Tensor | None
    reserve: int
    scales: torch.Tensor
    weight_zeros: torch.Tensor | None = None

    @property
    def whole_kernel(self) -> torch.Tensor:
        """W, (O, ...) float64."""
        kernel = self.kernel.to(torch.float64)
        return kernel if self.weight_zeros is None else \
            kernel + self.weight_zeros.reshape([-1] + [1] * (kernel.dim() - 1))

    def quantized(self, node: fx.Node) -> Held:
        """Y, which ``node`` holds."""
        first = float(self.scales[0])
        return Quantized(node, first) if bool((self.scales == first).all()) else ChannelQuantized(node, self.scales)


def quantize_weight_and_bias(context: QuantizationContext, op: fx.Node, weight: fx.Node, bias: fx.Node | None,
                             data: Operand, zeros_through: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
                             windows: Windows) -> WeightedSum:
    """Integers of W and B beside an operand. (MRT's ``_quantize_xwb``.)

    W = round(w * s_w), ties away from zero or as the recipe's rounding finds better, where s_w of each output channel
    fills the precision with the channel's largest magnitude; B = round(b * s_x * s_w) + zeros * W. s_w is lowered where
    |B| would exceed 30 bits, as with weights next to zero beside an ordinary bias, or |X| * sum(|W|) + |B| would exceed
    31. Where X or W is all zero, Y is the bias alone, which gets 16 bits: the scale of zeros is free. What is
    configured for W decides which channels share s_w. A UniformAffine W is q + weight_zeros, see ``affine_weights``.

    Args:
        context: that of the quantization.
        op: the float node of Y.
        weight: (O, I / groups, ...), a parameter.
        bias: (O,), a parameter, or None.
        data: the operand X, of ``groups`` groups or of one.
        zeros_through: ``(kernel in float64, zeros)`` -> what X = zeros gives, (O,) or (1, O, H, W).
        windows: what of X the weights are multiplied with, see ``WeightRounding``.
    """
    sharing = channels_of_a_scale(context, op, weight)
    weights, middles, halves = weight_range(context, weight, sharing)
    biases = torch.zeros(len(weights), dtype=torch.float64) if bias is None else context.tensor(bias)
    inputs = data.scales.repeat_interleave(len(weights) // len(data.scales))
    largest = data.magnitude
    scales = _weight_scales(halves, biases, inputs, sharing, context.settings.weight_precision, largest == 0)
    affine = AffineWeights(middles * (largest > 0), weights[0].numel() * largest)
    allowed = context.channel_magnitudes(op, len(weights)) * CORRECTION if context.corrects else 0.0 * biases
    while True:
        kernel = context.round_weights(op, affine.centred(weights, scales), scales, data, windows)
        offset = round_half_away(biases * inputs * scales)
        share = zeros_through(affine.whole(kernel, scales), data.zeros.to(torch.float64))
        offset = offset + share if share.dim() == 1 else along_channels(offset, share.dim()) + share
        extreme = offset.abs() if offset.dim() == 1 else offset.abs().amax((0, 2, 3))
        reach = extreme + (allowed * inputs * scales).ceil()
        reserve = bits_for(int(reach.max()))
        taps = kernel.flatten(1).abs().sum(1, dtype=torch.int64).to(torch.float64)
        excess = torch.maximum((taps * largest + reach) / precision_range(PARTIAL_SUM),
                               reach / precision_range(WIDEST_BIAS))
        excess = shared_maximum(torch.maximum(excess, affine.excess(scales, taps * largest, reserve)), sharing)
        if float(excess.max()) <= 1:
            break
        scales = torch.where(excess > 1, scales * (1 / excess).clamp(max=LARGEST_STEP), scales)
    empty = not context.corrects and not bool(offset.any())
    return WeightedSum(data, kernel, None if empty else offset.to(torch.int64), reserve, inputs * scales,
                       affine.zeros(scales).to(torch.int64) if affine.is_any else None)


def _weight_scales(magnitudes: torch.Tensor, biases: torch.Tensor, inputs: torch.Tensor, sharing: int, bits: int,
                   input_is_zero: bool) -> torch.Tensor:
    """Scales of W for each output channel, (O,) float64; alike for each ``sharing`` channels in a row."""
    levels = shared_maximum(biases.abs() * inputs, sharing)
    dead = (magnitudes == 0) | input_is_zero
    scales = precision_range(bits) / torch.where(magnitudes > 0, magnitudes, magnitudes.max().clamp(min=1e-300))
    scales = torch.where(magnitudes.max() > 0, scales, torch.ones_like(scales))
    if bool((~dead).any()):
        scales = scales.clamp(max=float(scales[~dead].min()) * LARGEST_SPREAD)
    lone = dead & (levels > 0)
    positive = torch.where(levels > 0, levels, torch.ones_like(levels))
    scales = torch.where(lone, precision_range(LONE_BIAS) / positive, scales)
    return torch.where(levels > 0, torch.minimum(scales, precision_range(WIDEST_BIAS) / (2 * positive)), scales)


def operand_bits(context: QuantizationContext, op: fx.Node, operator: str, weight: fx.Node) -> int:
    """Bits of the data operand of a weighted sum: those set for the node or its operator, if the sum fits them."""
    wanted = context.settings.node_precisions.get(op.name, context.settings.operator_precision(operator))
    return wanted if wanted <= PART_BITS else min(wanted, widest_beside(context, weight))


def widest_beside(context: QuantizationContext, weight: fx.Node) -> int:
    """Most bits that the data operand of a weighted sum may have beside its weights, 8 at least."""
    weights = context.tensor(weight)
    weights = torch.ones_like(weights) if context.quantizer(weight) == AFFINE else weights  # q may fill its bits
    return widest_operand(weights, context.settings.weight_precision)


def sum_of_products(context: QuantizationContext, found: WeightedSum, multiply: Callable[[fx.Node], fx.Node]
                    ) -> fx.Node:
    """sum of ``multiply(part) * 2**shift`` over the parts of the operand; exact."""
    total = None
    for part, shift in found.data.parts:
        product = multiply(part)
        if len(found.data.parts) == 1:
            return product
        product = context.narrow(product, facts_of(product).value_range.precision)
        if shift:
            product = context.call("broadcast_mul", product, context.number(1 << shift))
        total = product if total is None else context.call("elemwise_add", total, product)
    return total


def with_weight_zeros(context: QuantizationContext, found: WeightedSum, total: fx.Node, name: str, groups: int,
                      multiply: Callable[[fx.Node, fx.Node], fx.Node]) -> fx.Node:
    """``total`` and the share of the weight's zero points, if it has any.

    ``multiply(part, ones)`` is the sum of ``groups`` groups over a part of the operand, with a filter of ones for each.
    """
    if found.weight_zeros is None:
        return total
    return add_weight_zeros(context, total, found.weight_zeros, name, found.kernel.shape[1:], groups,
                            lambda ones: sum_of_products(context, found, lambda part: multiply(part, ones)))


def offset_constant(context: QuantizationContext, op: fx.Node, bias: fx.Node | None, found: WeightedSum,
                    rank: int = 1) -> fx.Node | None:
    """The offset as a parameter, whose facts leave room for bias correction; ``rank`` 4 gives (1, O, 1, 1)."""
    if found.offset is None:
        return None
    values = along_channels(found.offset, rank) if found.offset.dim() == 1 and rank > 1 else found.offset
    name = f"{source_name(op)}_bias" if bias is None else source_name(bias)
    node = context.constant(name, values, shared=False)
    if context.corrects:
        set_facts(node, precision=found.reserve, value_range=Interval.symmetric(found.reserve))
    return node


def record(context: QuantizationContext, op: fx.Node, offset: fx.Node | None, node: fx.Node, found: WeightedSum
           ) -> None:
    """Keep what was chosen for ``op``, for bias correction to adjust ``offset`` and for tables of what it costs."""
    context.weighted_sums[op] = found
    if context.corrects and offset is not None:
        context.corrected.append(CorrectedBias(op, node, offset.target, found.scales, found.reserve))
