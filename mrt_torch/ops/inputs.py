"""Inputs and parameters of a graph."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import Interval, bits_for, precision_range
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of, set_facts, source_name
from mrt_torch.ops.embedding import Reading, reading_of
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import scale as scale_of

WIDEST_INPUT = 30  # what is rounded to whole numbers again, see `on_grid`


@register_pass("validate", "rewrite", "fuse_transpose", "prepare_for_compile", "compile")
@register_transformer("placeholder", "get_attr")
class Null(Transformer):
    """A variable: a graph input or a parameter."""

    op_name = "null"
    rewritten_into = "a variable"

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """Nothing is computed."""
        return 0

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """An input of ``input_precision`` symmetric bits with scale = range / threshold; of whole numbers, at scale 1.

        An input that indexes a table, or is of an integer type, keeps its numbers: scale 1, and the bits that they,
        and the rows they may name, need. One that is read as a number too, or joined from several inputs, gets a power
        of two that gives its numbers ``input_precision`` bits: one shift brings the indices back exactly.
        """
        reading, threshold = reading_of(op), context.threshold(op)
        bits = context.settings.input_precision
        if reading.whole:
            scale = _power_of_two(reading, threshold, context)
            bits = bits_for(math.ceil(_largest(reading, threshold) * scale))
            if not reading.extent:  # nothing says how large they may become
                bits = max(bits, context.settings.input_precision)
        else:
            scale = scale_of(threshold, bits)
        node = context.editor.input(op.name, shape_of(op), torch.int32)
        set_facts(node, source_name=source_name(op), precision=bits, value_range=Interval.symmetric(bits), scale=scale,
                  batch_axis=facts_of(op).batch_axis)
        return Quantized(node, scale)


def _largest(reading: Reading, threshold: float) -> float:
    return max(threshold, reading.extent - 1, 1)


def _power_of_two(reading: Reading, threshold: float, context: QuantizationContext) -> float:
    """Least power of two from 1 on at which every number fills ``input_precision`` bits, if all fit 30 bits."""
    wanted = [precision_range(context.settings.input_precision) / context.threshold(node) for node in reading.numbers
              if context.threshold(node) > 0]
    scale = 1.0
    while wanted and scale < max(wanted) and _largest(reading, threshold) * scale * 2 <= precision_range(WIDEST_INPUT):
        scale *= 2
    return scale
