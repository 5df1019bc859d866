"""Activation functions without an exact integer form, each by one table. Error bounds: see ``quantize_table``."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.float_operators import define_float_operator
from mrt_torch.ops.registry import register_transformer
from mrt_torch.ops.table import Activation

aten = torch.ops.aten


def _smooth_l1(x: torch.Tensor, sigma: float) -> torch.Tensor:
    square = sigma * sigma
    if square == 0:
        return torch.zeros_like(x)
    magnitude = x.abs()
    return torch.where(magnitude > 1 / square, magnitude - 0.5 / square, 0.5 * square * x * x)


softsign = define_float_operator("softsign", "(Tensor x) -> Tensor", lambda x: x / (x.abs() + 1))
smooth_l1 = define_float_operator("smooth_l1", "(Tensor x, float sigma) -> Tensor", _smooth_l1)


@register_transformer(aten.sigmoid.default)
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    op_name = "sigmoid"


@register_transformer(aten.log_sigmoid.default)
class LogSigmoid(Activation):
    """log(1 / (1 + exp(-x)))."""

    op_name = "log_sigmoid"


@register_transformer(aten.tanh.default)
class Tanh(Activation):
    """Hyperbolic tangent."""

    op_name = "tanh"


@register_transformer(aten.softplus.default)
class Softplus(Activation):
    """log(1 + exp(beta * x)) / beta, and x where beta * x > threshold: MXNet's softrelu for beta 1, threshold 20."""

    op_name = "softrelu"
    limits = "refused: a beta of 0."

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return super().validate(op) or ("its beta is 0" if len(op.args) > 1 and op.args[1] == 0 else None)


@register_transformer(softsign)
class Softsign(Activation):
    """x / (1 + abs(x))."""

    op_name = "softsign"


@register_transformer(aten.mish.default)
class Mish(Activation):
    """x * tanh(log(1 + exp(x)))."""

    op_name = "mish"


@register_transformer(aten.silu.default)
class Silu(Activation):
    """x * sigmoid(x), also called swish: one table, which is finer than the product of two tensors."""

    op_name = "silu"


@register_transformer(aten.hardswish.default)
class Hardswish(Activation):
    """x * min(max(x + 3, 0), 6) / 6."""

    op_name = "hard_swish"


@register_transformer(aten.gelu.default)
class Gelu(Activation):
    """x * (1 + erf(x / sqrt(2))) / 2, or its approximation by tanh."""

    op_name = "gelu"


@register_transformer(aten.elu.default)
class Elu(Activation):
    """scale * x where x > 0, scale * alpha * (exp(input_scale * x) - 1) elsewhere: also SELU and CELU."""

    op_name = "elu"


@register_transformer(aten.hardshrink.default)
class Hardshrink(Activation):
    """x where abs(x) > c, else 0. Next to c the result may be c off, as x is rounded."""

    op_name = "hardshrink"


@register_transformer(aten.threshold.default)
class Threshold(Activation):
    """x where x > threshold, else a value. Next to the threshold it may be the other one, as x is rounded."""

    op_name = "threshold"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """max(x, threshold) where the value is the threshold, which is exact."""
        x, threshold, value = op.args
        return editor.call(aten.clamp.default, x, value, None) if value == threshold else op


@register_transformer(smooth_l1)
class SmoothL1(Activation):
    """(sigma * x)**2 / 2 where abs(x) <= 1 / sigma**2, abs(x) - 1 / (2 * sigma**2) elsewhere."""

    op_name = "smooth_l1"
