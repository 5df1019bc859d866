"""Inputs and parameters of a graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import Interval
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import set_facts, source_name
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import scale as scale_of


@register_pass("validate", "rewrite", "fuse_transpose", "prepare_for_compile", "compile")
@register_transformer("placeholder", "get_attr")
class Null(Transformer):
    """A variable: a graph input or a parameter."""

    op_name = "null"

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """Nothing is computed."""
        return 0

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """An input of ``input_precision`` symmetric bits with scale = range / threshold."""
        bits = context.settings.input_precision
        node = context.editor.input(op.name, shape_of(op), torch.int32)
        scale = scale_of(context.threshold(op), bits)
        set_facts(node, source_name=source_name(op), precision=bits, value_range=Interval.symmetric(bits),
                  scale=scale)
        return Quantized(node, scale)
