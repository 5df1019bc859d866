"""Products of computed matrices: batch_dot, dot, linalg_gemm."""

from __future__ import annotations

import math

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.graph.contraction import contract
from mrt_torch.graph.editor import shape_of

aten = torch.ops.aten


@register_converter("batch_dot")
def convert_batch_dot(view: NodeView) -> fx.Node:
    """A product of matrices for each element of axis 0, each transposed where asked."""
    view.expect_inputs(2)
    if len(view.shape(0)) != 3 or len(view.shape(1)) != 3:
        raise view.invalid(f"the inputs have shapes {view.shape(0)} and {view.shape(1)}; 3 axes each are expected")
    left, right = _matrices(view)
    return _product(view, ["batch", *left], ["batch", *right], ["batch", "row", "column"])


def _matrices(view: NodeView) -> tuple[list[str], list[str]]:
    """Labels of the axes of both matrices, exchanged where the attributes transpose them."""
    left, right = ["row", "inner"], ["inner", "column"]
    return (left[::-1] if view.attributes.boolean("transpose_a", False) else left,
            right[::-1] if view.attributes.boolean("transpose_b", False) else right)


@register_converter("dot")
def convert_dot(view: NodeView) -> fx.Node:
    """The last axis of the first input times the first of the second; ``transpose_a`` takes the first of the first,
    ``transpose_b`` the last of the second. Two vectors give shape (1,)."""
    view.expect_inputs(2)
    first, second = view.shape(0), view.shape(1)
    left = _labelled(first, "row", 0 if view.attributes.boolean("transpose_a", False) else -1)
    right = _labelled(second, "column", -1 if view.attributes.boolean("transpose_b", False) else 0)
    result = [axis for axis in (*left, *right) if axis != "inner"]
    if result:
        return _product(view, left, right, result)
    return view.call(aten.reshape.default, _product(view, left, right, result), [1])


def _labelled(shape: tuple[int, ...], name: str, inner: int) -> list[str]:
    axes = [f"{name} {position}" for position in range(len(shape))]
    axes[inner] = "inner"
    return axes


@register_converter("_linalg_gemm2", "linalg_gemm2")
def convert_gemm2(view: NodeView) -> fx.Node:
    """alpha * A * B, with the rows of the matrices on ``axis`` (-2 by default) and their columns on the last."""
    view.expect_inputs(2)
    return _scaled(view, _gemm(view), "alpha")


@register_converter("_linalg_gemm", "linalg_gemm")
def convert_gemm(view: NodeView) -> fx.Node:
    """alpha * A * B + beta * C."""
    view.expect_inputs(3)
    product, beta = _scaled(view, _gemm(view), "alpha"), view.attributes.real("beta", 1.0)
    view.expect_shape(2, shape_of(product), "C")
    addend = view.inputs[2] if beta == 1 else view.step(aten.mul.Scalar, view.inputs[2], beta)
    return view.call(aten.add.Tensor, product, addend)


def _scaled(view: NodeView, product: fx.Node, attribute: str) -> fx.Node:
    factor = view.attributes.real(attribute, 1.0)
    return product if factor == 1 else view.step(aten.mul.Scalar, product, factor)


def _gemm(view: NodeView) -> fx.Node:
    first, second = view.shape(0), view.shape(1)
    rank, axis = len(first), view.axis(view.attributes.integer("axis", -2))
    if rank != len(second) or rank < 2 or axis == rank - 1:
        raise view.invalid(f"the inputs have shapes {first} and {second}, the rows are axis {axis}")
    batch = [f"batch {position}" for position in range(rank - 2)]
    left, right, result = ([*batch[:axis], pair[0], *batch[axis:], pair[1]]
                           for pair in (*_matrices(view), ["row", "column"]))
    return _product(view, left, right, result)


def _product(view: NodeView, left: list[str], right: list[str], result: list[str]) -> fx.Node:
    """``contract``, with the extents checked that must agree."""
    first, second = dict(zip(left, view.shape(0), strict=True)), dict(zip(right, view.shape(1), strict=True))
    if any(first[axis] != second[axis] for axis in first if axis in second):
        raise view.invalid(f"the inputs have shapes {view.shape(0)} and {view.shape(1)}")
    return contract(view.step, view.inputs[0], view.inputs[1], left, right, result)


@register_converter("_contrib_div_sqrt_dim")
def convert_div_sqrt_dim(view: NodeView) -> fx.Node:
    """x / sqrt(length of the last axis)."""
    return view.call(aten.mul.Scalar, view.inputs[0], 1 / math.sqrt(view.shape()[-1]))
