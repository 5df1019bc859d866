"""Float arithmetic as MXNet nodes: element by element, with numbers, and reductions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry

aten = torch.ops.aten


def _unary(operator: str) -> Callable[[FloatCall], Entry]:
    return lambda view: view.result(operator, *view.inputs)


def _binary(operator: str) -> Callable[[FloatCall], Entry]:
    # Always the broadcasting operator: shapes that are equal at the example batch may differ at another.
    def write(view: FloatCall) -> Entry:
        view.require(view.arguments.get("alpha", 1) == 1, f"alpha is {view.arguments.get('alpha')}")
        view.require(len(view.inputs) == 2, "an operand is a number")
        return view.result(operator, *view.inputs)
    return write


def _with_number(operator: str, name: str = "other") -> Callable[[FloatCall], Entry]:
    def write(view: FloatCall) -> Entry:
        view.require(view.arguments.get("alpha", 1) == 1, f"alpha is {view.arguments.get('alpha')}")
        return view.result(operator, *view.inputs, scalar=float(view.arguments[name]))
    return write


def write_clamp(view: FloatCall) -> Entry:
    """clip; with one bound, or a bound that is no float32, as clip keeps it, maximum or minimum."""
    low, high = view.arguments["min"], view.arguments["max"]
    if low is None:
        return view.result("_minimum_scalar", *view.inputs, scalar=float(high))
    if high is None:
        return view.result("_maximum_scalar", *view.inputs, scalar=float(low))
    exact = all(float(np.float32(bound)) == bound for bound in (low, high))
    if exact or view.node.meta["val"].dtype is not torch.float64:
        return view.result("clip", *view.inputs, a_min=float(low), a_max=float(high))
    raised = view.part("low", "_maximum_scalar", *view.inputs, scalar=float(low))
    return view.result("_minimum_scalar", raised, scalar=float(high))


def _reduction(operator: str) -> Callable[[FloatCall], Entry]:
    def write(view: FloatCall) -> Entry:
        view.require(view.arguments.get("dtype") is None, f"dtype is {view.arguments.get('dtype')}")
        axes = view.arguments["dim"]
        axes = axes if isinstance(axes, (list, tuple)) else [] if axes is None else [axes]
        axes = sorted(axis % len(view.shape) for axis in axes) or range(len(view.shape))
        return view.result(operator, *view.inputs, axis=tuple(axes), keepdims=bool(view.arguments["keepdim"]))
    return write


ELEMENTWISE_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    aten.exp.default: _unary("exp"), aten.neg.default: _unary("negative"), aten.abs.default: _unary("abs"),
    aten.add.Tensor: _binary("broadcast_add"), aten.sub.Tensor: _binary("broadcast_sub"),
    aten.mul.Tensor: _binary("broadcast_mul"), aten.div.Tensor: _binary("broadcast_div"),
    aten.maximum.default: _binary("broadcast_maximum"), aten.minimum.default: _binary("broadcast_minimum"),
    aten.add.Scalar: _with_number("_plus_scalar"), aten.sub.Scalar: _with_number("_minus_scalar"),
    aten.rsub.Scalar: _with_number("_rminus_scalar"), aten.mul.Scalar: _with_number("_mul_scalar"),
    aten.div.Scalar: _with_number("_div_scalar"), aten.clamp.default: write_clamp,
    aten.amax.default: _reduction("max"), aten.amin.default: _reduction("min"),
    aten.prod.dim_int: _reduction("prod"), aten.mean.dim: _reduction("mean"),
    aten.sum.dim_IntList: _reduction("sum"),
}
