"""Cast: another type for the same values."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor
from mrt_torch.ops.activation import ElementwiseTransformer
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.rounding import truncated
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.discrete import CAST

WRAPPING = (torch.int8, torch.uint8, torch.int16)


@register_pass("calculate_ops", "prepare_for_compile", "compile")
@register_transformer(CAST)
class Cast(ElementwiseTransformer):
    """X in another type: to integers by truncation, to truth values as X != 0, to floats as it is."""

    op_name = "Cast"
    cvm_operators = ("broadcast_div",)
    limits = "Casts of numbers to int8, uint8 and int16, which wrap, are refused."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        source, target = op.args[0].meta["val"].dtype, op.meta["val"].dtype
        if source is not torch.bool and source != target and target in WRAPPING:
            return f"it casts {source} to {target}, which wraps: cast to int32, or clip first and keep floats"
        if target.is_complex or source.is_complex:
            return f"it casts {source} to {target}: complex numbers have no integer form"
        return None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A cast to the type that is there is dropped; one to truth values becomes X != 0."""
        source, target = op.args[0].meta["val"].dtype, op.meta["val"].dtype
        if source == target:
            return op.args[0]
        return editor.call(torch.ops.aten.ne.Scalar, op.args[0], 0) if target is torch.bool else op

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> Quantized:
        """The same integers and scale; floats made integers are truncated, see ``truncated``."""
        floats = op.args[0].meta["val"].is_floating_point()
        if floats and not op.meta["val"].is_floating_point():
            return truncated(context, op.args[0])
        return context.value(op.args[0])
