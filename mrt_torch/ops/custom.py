"""Custom: the CVM's own operators, which stand in integer graphs only."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.cvm import MAXIMUM_PRECISION, OPERATORS, bits_for, precision_range
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops.registry import register_pass, register_transformer
from mrt_torch.ops.transformer import Transformer

cvm = torch.ops.cvm
OPERATOR_TYPES = ("cvm_clip", "cvm_left_shift", "cvm_right_shift", "cvm_lut")


@register_pass("rewrite", "fuse_transpose", "calculate_ops", "quantize", "compile")
@register_transformer(*(OPERATORS[name].target for name in OPERATOR_TYPES))
class Custom(Transformer):
    """cvm_clip, cvm_left_shift, cvm_right_shift and cvm_lut: the operators of ``bridges.mxnet.cvm_op``.

    Quantization emits them, and MXNet runs them as ``Custom`` operators. (MRT Operator API, ``mrt.tfm_ops.Custom``.)
    """

    op_name = "Custom"
    cvm_operators = ("cvm_clip", "cvm_right_shift", "cvm_lut", "broadcast_mul", "elemwise_add")
    rewritten_into = "cvm_left_shift(x, s) = cvm_clip(x * 2**s), once the batch is fixed"
    limits = "op_type is one of " + ", ".join(OPERATOR_TYPES)

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        row = OPERATORS.of_target(op.target)
        name = str(op.target) if row is None else row.name
        return None if name in OPERATOR_TYPES else f"the type {name} is none of {', '.join(OPERATOR_TYPES)}"

    def prepare_for_compile(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """A left shift becomes a product, because the CPU runtime fails on every left shift; others stay.

        ``clamp(x * 2**s, -R, R)`` with R = 2**(precision - 1) - 1, exact: cvm_clip(broadcast_mul(x, 2**s)). Where the
        runtime would infer more than 32 bits for the product, x is clamped first to what does not saturate the
        result, and what is still missing, at most two doublings, is added: x + x costs one bit, x * 2 three.
        """
        if op.target is not cvm.cvm_left_shift.default:
            return op
        source, shift, precision = op.args[0], op.kwargs["shift_bit"], op.kwargs["precision"]
        width = facts_of(source).precision
        if width + bits_for(2 ** shift) > MAXIMUM_PRECISION:
            saturating = -(-precision_range(precision) // 2 ** shift)  # from here on the result is R
            narrow = min(bits_for(saturating), facts_of(source).value_range.precision)
            if narrow < width:
                source, width = editor.call(cvm.cvm_clip.default, source, precision=narrow), narrow
        doublings = min(max(width + bits_for(2 ** shift) - MAXIMUM_PRECISION, 0), shift)
        product, power = source, shift - doublings
        if power:
            factor = editor.constant(f"const_{2 ** power}", torch.tensor([2 ** power], dtype=torch.int32))
            product = editor.call(cvm.broadcast_mul.default, source, factor)
        if power and doublings:
            product = editor.call(cvm.cvm_clip.default, product, precision=width + power)
        for _ in range(doublings):
            product = editor.call(cvm.elemwise_add.default, product, product)
        return editor.call(cvm.cvm_clip.default, product, precision=precision)
