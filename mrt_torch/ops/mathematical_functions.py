"""Mathematical functions of one variable. Error bounds: see ``quantize_table`` and, for the roots, 1 / x, powers and
logarithms, ``WideFunction``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.float_operators import define_float_operator
from mrt_torch.ops.explanation import decline
from mrt_torch.ops.registry import register_transformer
from mrt_torch.ops.table import Activation
from mrt_torch.ops.wide_functions import WideFunction

aten = torch.ops.aten


def _cube_root(x: torch.Tensor) -> torch.Tensor:
    return x.sign() * x.abs().pow(1 / 3)


cbrt = define_float_operator("cbrt", "(Tensor x) -> Tensor", _cube_root)
rcbrt = define_float_operator("rcbrt", "(Tensor x) -> Tensor", lambda x: _cube_root(x).reciprocal())


@register_transformer(aten.exp.default)
class Exp(Activation):
    """exp(x)."""

    op_name = "exp"


@register_transformer(aten.expm1.default)
class Expm1(Activation):
    """exp(x) - 1."""

    op_name = "expm1"


class Logarithm(WideFunction):
    """A logarithm; what is not positive gives the lowest value that occurs, doubled where that is negative.

    Of nonnegative inputs of more than 16 bits nine leading bits count: an absolute error of 2**-10 of a natural
    logarithm. By one table it is T * 2**-16 / x for an input x within the threshold T, which is less above T / 64.
    """

    resolution = (9, 13)


@register_transformer(aten.log.default)
class Log(Logarithm):
    """Natural logarithm."""

    op_name = "log"


@register_transformer(aten.log2.default)
class Log2(Logarithm):
    """Logarithm to base 2."""

    op_name = "log2"


@register_transformer(aten.log10.default)
class Log10(Logarithm):
    """Logarithm to base 10."""

    op_name = "log10"


@register_transformer(aten.log1p.default)
class Log1p(Activation):
    """log(1 + x)."""

    op_name = "log1p"


@register_transformer(aten.sqrt.default)
class Sqrt(WideFunction):
    """Square root; 0 for negative values."""

    op_name = "sqrt"


@register_transformer(aten.rsqrt.default)
class Rsqrt(WideFunction):
    """1 / sqrt(x); at 0 the double of the largest value that occurs."""

    op_name = "rsqrt"


@register_transformer(cbrt)
class Cbrt(Activation):
    """Cube root, of negative values too."""

    op_name = "cbrt"


@register_transformer(rcbrt)
class Rcbrt(WideFunction):
    """1 / cbrt(x)."""

    op_name = "rcbrt"


@register_transformer(aten.reciprocal.default)
class Reciprocal(WideFunction):
    """1 / x; at 0 the double of the largest value that occurs."""

    op_name = "reciprocal"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """1 / sqrt(x) by one function, where nothing else reads the square root."""
        root = op.args[0]
        if root.target is not aten.sqrt.default:
            return op
        if len(root.users) > 1:
            return decline(op, "the square root before it has other readers", context)
        return editor.call(aten.rsqrt.default, root.args[0])


@register_transformer(aten.pow.Tensor_Scalar)
class Power(WideFunction):
    """x ** c for a constant c."""

    op_name = "_power_scalar"

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Exponents that have an operator of their own.

        A square is the product X * X: its operands have 16 and 15 bits and its result 31, none of which is rounded
        away, while a table holds 16 bits of the result. For values of an eighth of the threshold that is an error of
        0.02 % against 0.2 %, and a product needs no table.
        """
        x, exponent = op.args
        if exponent == 1:
            return x
        if exponent == 2:
            return editor.call(aten.mul.Tensor, x, x)
        roots = {0.5: aten.sqrt.default, -0.5: aten.rsqrt.default, -1: aten.reciprocal.default}
        return editor.call(roots[exponent], x) if exponent in roots else op

    def uses_segments(self, op: fx.Node) -> bool:
        """Poles and roots; higher powers are flat at 0, where one table is fine."""
        return op.args[1] < 1


@register_transformer(aten.remainder.Scalar)
class Remainder(Activation):
    """x - c * floor(x / c) for a constant c. Next to a multiple of c the result may be c off, as x is rounded."""

    op_name = "_mod_scalar"


@register_transformer(aten.erf.default)
class Erf(Activation):
    """Error function: 2 / sqrt(pi) * the integral of exp(-t**2) over 0..x."""

    op_name = "erf"


@register_transformer(aten.erfc.default)
class Erfc(Activation):
    """1 - erf(x)."""

    op_name = "erfc"


@register_transformer(aten.sin.default)
class Sin(Activation):
    """Sine of radians."""

    op_name = "sin"


@register_transformer(aten.cos.default)
class Cos(Activation):
    """Cosine of radians."""

    op_name = "cos"


@register_transformer(aten.tan.default)
class Tan(Activation):
    """Tangent of radians."""

    op_name = "tan"


@register_transformer(aten.asin.default)
class Arcsin(Activation):
    """Inverse sine; outside -1..1 that of the end."""

    op_name = "arcsin"


@register_transformer(aten.acos.default)
class Arccos(Activation):
    """Inverse cosine; outside -1..1 that of the end."""

    op_name = "arccos"


@register_transformer(aten.atan.default)
class Arctan(Activation):
    """Inverse tangent."""

    op_name = "arctan"


@register_transformer(aten.sinh.default)
class Sinh(Activation):
    """Hyperbolic sine."""

    op_name = "sinh"


@register_transformer(aten.cosh.default)
class Cosh(Activation):
    """Hyperbolic cosine."""

    op_name = "cosh"


@register_transformer(aten.asinh.default)
class Arcsinh(Activation):
    """Inverse hyperbolic sine."""

    op_name = "arcsinh"


@register_transformer(aten.acosh.default)
class Arccosh(Activation):
    """Inverse hyperbolic cosine; 0 below 1."""

    op_name = "arccosh"


@register_transformer(aten.atanh.default)
class Arctanh(Activation):
    """Inverse hyperbolic tangent; from -1 and 1 on the double of the largest value that occurs."""

    op_name = "arctanh"
