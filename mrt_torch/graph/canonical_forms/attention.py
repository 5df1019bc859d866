"""Products of computed matrices, and the attention made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import fx

from mrt_torch.graph.contraction import contract, matrix_product, without_broadcast_axes
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.free_axis import free_shape
from mrt_torch.graph.masking import MASKED_SOFTMAX, as_mask, softmax_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, permuted, rank_of


@canonical_form("bmm.default")
def bmm(call: Call) -> fx.Node:
    """As it is; by rewrite a product with a parameter becomes a linear layer or a convolution."""
    return call.emit(aten.bmm.default, call["self"], call["mat2"])


@canonical_form("baddbmm.default", "addbmm.default")
def baddbmm(call: Call) -> fx.Node:
    """beta * x + alpha * a * b, with x broadcast; addbmm adds the products of the batch too."""
    if str(call.target) == "aten.addbmm.default":
        product = contract(call.emit, call["batch1"], call["batch2"], ["b", "m", "k"], ["b", "k", "n"], ["m", "n"])
    else:
        product = call.emit(aten.bmm.default, call["batch1"], call["batch2"])
    return with_addend(call, product)


def with_addend(call: Call, product: fx.Node) -> fx.Node:
    """beta * self + alpha * product."""
    addend, beta = call["self"], call["beta"]
    if call["alpha"] != 1:
        product = call.emit(aten.mul.Scalar, product, call["alpha"])
    if beta == 0:
        return product
    return call.emit(aten.add.Tensor, product, addend if beta == 1 else call.emit(aten.mul.Scalar, addend, beta))


@canonical_form("matmul.default", "mm.default", "mv.default", "dot.default", "inner.default")
def matmul(call: Call) -> fx.Node:
    """Products of vectors, matrices and stacks of matrices; a linear layer where one of them is a parameter."""
    return matrix_product(call.emit, *call.args)


@canonical_form("einsum.default")
def einsum(call: Call) -> fx.Node:
    """Operands without repeated indices, with or without an ellipsis, from left to right; other equations stay."""
    equation, operands = call.args[0].replace(" ", ""), list(call.args[1])
    inputs, arrow, result = equation.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(operands) or not arrow:
        return call.keep()
    axes = [_labels(term, rank_of(node)) for term, node in zip(terms, operands, strict=True)]
    output = _labels(result, call.node.meta["val"].dim())
    if any(len(set(labels)) < len(labels) for labels in (*axes, output)):
        return call.keep()
    product, labels = operands[0], axes[0]
    if len(operands) == 1:
        return _summed(call, product, labels, output)
    for position in range(1, len(operands)):
        read = {label for later in axes[position + 1:] for label in later}.union(output)
        union = [*labels, *(label for label in axes[position] if label not in labels)]
        kept = [label for label in union if label in read] if position < len(operands) - 1 else output
        product, labels = _product(call, product, labels, operands[position], axes[position], kept), kept
    return product


def _summed(call: Call, x: fx.Node, labels: Sequence[str], output: Sequence[str]) -> fx.Node:
    """One operand: sums over the axes that the result lacks, and the others in its order."""
    dropped = [axis for axis, label in enumerate(labels) if label not in output]
    if dropped:
        x = call.emit(aten.sum.dim_IntList, x, dropped, False)
    kept = [label for label in labels if label in output]
    return permuted(call, x, [kept.index(label) for label in output])


def _labels(term: str, rank: int) -> list[str]:
    """A label for each axis of an operand; those of an ellipsis are numbered from the right."""
    before, ellipsis, after = term.partition("...")
    hidden = rank - len(before) - len(after) if ellipsis else 0
    return [*before, *(f"...{position}" for position in range(hidden, 0, -1)), *after]


@canonical_form("scaled_dot_product_attention.default")
def attention(call: Call) -> fx.Node:
    """softmax(Q * K^T * scale + mask) * V, the softmax over what the mask keeps. (Vaswani et al., 2017.)"""
    query, key, value = call["query"], call["key"], call["value"]
    if call["dropout_p"]:
        return call.keep()
    groups = shape_of(query)[-3] // shape_of(key)[-3] if call["enable_gqa"] else 1
    own = [f"leading {position}" for position in range(rank_of(query) - 2)]
    leading = [*own, "group"] if groups > 1 else own
    scores = _product(call, _grouped(call, query, groups), [*leading, "row", "depth"], key, [*own, "memory", "depth"],
                      [*leading, "row", "memory"])
    scale = 1 / math.sqrt(shape_of(query)[-1]) if call["scale"] is None else call["scale"]
    weights = _weights(call, call.emit(aten.mul.Scalar, _ungrouped(call, scores, groups), scale))
    result = _product(call, _grouped(call, weights, groups), [*leading, "row", "memory"], value,
                      [*own, "memory", "depth"], [*leading, "row", "depth"])
    return _ungrouped(call, result, groups)


def _product(call: Call, left: fx.Node, left_axes: Sequence[str], right: fx.Node, right_axes: Sequence[str],
             result_axes: Sequence[str]) -> fx.Node:
    first, first_axes, second, second_axes = without_broadcast_axes(call.emit, left, left_axes, right, right_axes)
    return contract(call.emit, first, second, first_axes, second_axes, result_axes)


def _grouped(call: Call, x: fx.Node, groups: int) -> fx.Node:
    """(..., heads, T, C) as (..., heads / groups, groups, T, C): queries that share a key."""
    if groups == 1:
        return x
    *before, heads, rows, depth = free_shape(x)
    return call.emit(aten.reshape.default, x, [*before, heads // groups, groups, rows, depth])


def _ungrouped(call: Call, x: fx.Node, groups: int) -> fx.Node:
    """The inverse of ``_grouped``."""
    if groups == 1:
        return x
    *before, heads, _, rows, depth = free_shape(x)
    return call.emit(aten.reshape.default, x, [*before, heads * groups, rows, depth])


def _weights(call: Call, scores: fx.Node) -> fx.Node:
    """Softmax over the last axis of the scores, with the mask of the call: True, or a number to add."""
    mask, last, dtype = call["attn_mask"], rank_of(scores) - 1, scores.meta["val"].dtype
    if call["is_causal"]:
        kept = call.editor.constant("mask", torch.ones(shape_of(scores)[-2:]).tril().to(dtype))
        return call.emit(MASKED_SOFTMAX, scores, kept, last)
    if mask is None:
        return call.emit(aten.softmax.int, scores, last)
    if mask.meta["val"].dtype is torch.bool:
        return call.emit(MASKED_SOFTMAX, scores, as_mask(call.emit, call.editor, mask, dtype), last)
    return softmax_of(call.emit, call.editor, call.emit(aten.add.Tensor, scores, mask), last)
