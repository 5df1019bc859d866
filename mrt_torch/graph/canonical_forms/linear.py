"""Matrix products with parameters."""

from __future__ import annotations

from torch import fx

from mrt_torch.graph.canonical_forms.attention import with_addend
from mrt_torch.graph.contraction import is_constant, matrix_product
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.free_axis import free_shape
from mrt_torch.graph.source_call import Call, aten, canonical_form, permuted, rank_of


@canonical_form("linear.default")
def linear(call: Call) -> fx.Node:
    """x * W^T + b over the last axis."""
    weight, bias = call["weight"], call["bias"]
    if rank_of(weight) == 1:
        return call.keep()
    return call.emit(aten.linear.default, call["input"], weight, bias)


@canonical_form("bilinear.default")
def bilinear(call: Call) -> fx.Node:
    """sum(x_i * W_oij * y_j) + b: a linear layer that gives a row for each output, times y, summed."""
    x, y, weight = call["input1"], call["input2"], call.constant_tensor(call["weight"])
    if weight is None:
        return call.keep()
    outputs, depth, other = weight.shape
    matrix = call.editor.constant("weight", weight.permute(0, 2, 1).reshape(outputs * other, depth))
    rows = call.emit(aten.linear.default, x, matrix, None)
    rows = call.emit(aten.reshape.default, rows, [*free_shape(x)[:-1], outputs, other])
    products = call.emit(aten.mul.Tensor, rows, call.emit(aten.unsqueeze.default, y, rank_of(y) - 1))
    result = call.emit(aten.sum.dim_IntList, products, [rank_of(products) - 1], False)
    return result if call["bias"] is None else call.emit(aten.add.Tensor, result, call["bias"])


@canonical_form("addmm.default", "addmv.default")
def addmm(call: Call) -> fx.Node:
    """beta * bias + alpha * x * W; a linear layer where bias and W are parameters and both factors 1."""
    bias, (x, weight) = call["self"], call.args[1:3]
    plain = call["beta"] == call["alpha"] == 1 and rank_of(weight) == 2 and is_constant(bias) and is_constant(weight)
    if plain and not is_constant(x) and shape_of(bias) == (shape_of(weight)[1],):
        return call.emit(aten.linear.default, x, permuted(call, weight, [1, 0]), bias)
    return with_addend(call, matrix_product(call.emit, x, weight))
