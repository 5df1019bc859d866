"""Float graphs of one function of one tensor each, for values the function is defined for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.ops.activation_functions import smooth_l1, softsign
from mrt_torch.ops.mathematical_functions import cbrt, rcbrt
from tests.bridges.mxnet.float_cases import FloatCase

aten = torch.ops.aten
ROWS = (2, 5)


@dataclass(frozen=True)
class FunctionCase(FloatCase):
    """A target on the input, on its magnitude plus a number, or on its hyperbolic tangent."""

    shape: tuple[int, ...] = ROWS
    domain: float | str | None = None

    def graph(self, dtype=torch.float32) -> fx.GraphModule:
        editor = GraphEditor(empty_graph_module())
        data = editor.input("data", self.shape, dtype)
        if self.domain == "within one":
            data = editor.call(aten.tanh.default, data)
        elif self.domain is not None:
            data = editor.call(aten.add.Scalar, editor.call(aten.abs.default, data), self.domain)
        editor.output([editor.call(self.target, data, *self.arguments, name="result", **self.options)])
        editor.module.recompile()
        return editor.module


FUNCTION_CASES = [
    *(FunctionCase(target) for target in (
        aten.expm1.default, cbrt, aten.erf.default, aten.erfc.default, aten.sin.default, aten.cos.default,
        aten.atan.default, aten.sinh.default, aten.cosh.default, aten.asinh.default, softsign,
        aten.log_sigmoid.default, aten.silu.default, aten.mish.default, aten.hardswish.default, aten.gelu.default,
        aten.softplus.default)),
    *(FunctionCase(target, domain=0.1) for target in (
        aten.log.default, aten.log2.default, aten.log10.default, aten.log1p.default, aten.sqrt.default,
        aten.rsqrt.default, rcbrt, aten.reciprocal.default)),
    *(FunctionCase(target, domain="within one") for target in (
        aten.tan.default, aten.asin.default, aten.acos.default, aten.atanh.default)),
    FunctionCase(aten.acosh.default, domain=1.1),
    FunctionCase(aten.gelu.default, options={"approximate": "tanh"}),
    FunctionCase(aten.softplus.default, arguments=(2.0, 20.0)),
    FunctionCase(aten.softplus.default, arguments=(2.0, 1.0)),
    FunctionCase(aten.softplus.default, arguments=(-0.5, 0.2)),
    *(FunctionCase(aten.pow.Tensor_Scalar, arguments=(exponent,), domain=0.1) for exponent in (3, 1.5, -0.25)),
    *(FunctionCase(aten.remainder.Scalar, arguments=(number,)) for number in (0.3, -0.7)),
    *(FunctionCase(smooth_l1, arguments=(sigma,)) for sigma in (1.0, 2.0)),
    FunctionCase(aten.hardshrink.default, arguments=(0.4,)), FunctionCase(aten.hardshrink.default, arguments=(0.0,)),
    FunctionCase(aten.threshold.default, arguments=(0.2, -0.5)),
]
