"""Softmax over the elements that a mask keeps."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import fx

from mrt_torch.cvm.interval import Interval
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.graph.masking import MASKED_SOFTMAX
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.softmax import Softmax, checked_length, logit_precision, softmax_of_integers
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized

ZERO_OR_ONE = Interval(0, 1)


@register_pass("rewrite", "fuse_transpose", "prepare_for_compile", "compile")
@register_transformer(MASKED_SOFTMAX)
class MaskedSoftmax(Transformer):
    """exp(x) / sum(exp(x)) over the elements of one axis where a mask is above 0; 0 elsewhere."""

    op_name = "softmax"
    cvm_operators = (*Softmax.cvm_operators, "broadcast_mul", "broadcast_greater")
    limits = "The batch axis, which is free, is refused."
    input_precision: ClassVar[int | None] = Softmax.input_precision

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        along_batch = free_axis(op.args[0]) == op.args[2] % len(shape_of(op))
        return "it runs along the batch axis, which is free" if along_batch else None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """out * (4 + 2 * length of the axis): that of a softmax, and two products with the mask."""
        return super().calculate_ops(op) * (4 + 2 * shape_of(op)[op.args[2]])

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """``softmax_of_integers`` of T = X * M + R * (M - 1), whose exponentials are multiplied by M, zeros and ones.

        R is the range of X: what is excluded lies at the bottom, and is the largest only where all the others are
        there too. The error is that of ``softmax_of_integers``. A row of which nothing is kept is 0.
        """
        x, mask, axis = op.args[0], op.args[1], op.args[2] % len(shape_of(op))
        bits = logit_precision(context.threshold(x), context.settings.chosen_precision(self.op_name))
        scores, kept = context.requantize(x, bits), self._mask(context, mask)
        masked = Quantized(self._lowered(context, scores, kept), scores.scale)
        return checked_length(op, axis, lambda: softmax_of_integers(context, masked, axis, op.name, kept))

    @staticmethod
    def _mask(context: QuantizationContext, mask: fx.Node) -> fx.Node:
        """The mask as zeros and ones."""
        if context.is_constant(mask):
            return context.constant(mask.name, (context.tensor(mask) > 0).to(torch.int32))
        quantized = context.value(mask)
        if quantized.scale == 1.0 and ZERO_OR_ONE.contains(quantized.value_range):
            return quantized.node
        above = context.call("broadcast_greater", quantized.node, context.number(0))
        return context.narrow(above, ZERO_OR_ONE.precision)

    @staticmethod
    def _lowered(context: QuantizationContext, scores: Quantized, kept: fx.Node) -> fx.Node:
        """X * M + R * (M - 1), which the range of X holds."""
        bottom = context.number(scores.value_range.magnitude)
        offset = context.call("broadcast_sub", context.call("broadcast_mul", kept, bottom), bottom)
        masked = context.call("broadcast_add", context.call("broadcast_mul", scores.node, kept), offset)
        return context.narrow(masked, facts_of(bottom).precision)
