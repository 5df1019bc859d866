"""Attention with queries, keys and values interleaved, as gluonnlp 0.10 writes it."""

from __future__ import annotations

import math

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.graph.contraction import contract
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.free_axis import free_shape

aten = torch.ops.aten

_SCORES = ["batch", "head", "row", "memory"]


@register_converter("_contrib_interleaved_matmul_selfatt_qk")
def convert_self_scores(view: NodeView) -> fx.Node:
    """Q * K^T / sqrt(C) of (T, N, heads * 3 * C): (N * heads, T, T)."""
    return _scores(view, _part(view, 0, 0, 3), _part(view, 0, 1, 3))


@register_converter("_contrib_interleaved_matmul_encdec_qk")
def convert_scores(view: NodeView) -> fx.Node:
    """Q * K^T / sqrt(C) of queries (T, N, heads * C) and (S, N, heads * 2 * C): (N * heads, T, S)."""
    view.expect_inputs(2)
    return _scores(view, _part(view, 0, 0, 1), _part(view, 1, 0, 2))


@register_converter("_contrib_interleaved_matmul_selfatt_valatt")
def convert_self_values(view: NodeView) -> fx.Node:
    """Weights (N * heads, T, T) times the values of (T, N, heads * 3 * C): (T, N, heads * C)."""
    view.expect_inputs(2)
    return _values(view, _part(view, 0, 2, 3))


@register_converter("_contrib_interleaved_matmul_encdec_valatt")
def convert_values(view: NodeView) -> fx.Node:
    """Weights (N * heads, T, S) times the values of (S, N, heads * 2 * C): (T, N, heads * C)."""
    view.expect_inputs(2)
    return _values(view, _part(view, 0, 1, 2))


def _part(view: NodeView, position: int, index: int, count: int) -> fx.Node:
    """One of ``count`` interleaved parts of an input: (T, N, heads, C)."""
    heads, node = view.attributes.integer("heads"), view.inputs[position]
    shape = shape_of(node)
    if len(shape) != 3 or heads < 1 or shape[2] % (heads * count):
        raise view.invalid(f"an input has shape {shape}, which {heads} heads of {count} parts do not divide")
    depth = shape[2] // (heads * count)
    split = view.step(aten.reshape.default, node, [*free_shape(node)[:2], heads, count * depth])
    return split if count == 1 else view.step(aten.slice.Tensor, split, 3, index * depth, (index + 1) * depth, 1)


def _scores(view: NodeView, query: fx.Node, key: fx.Node) -> fx.Node:
    scaled = view.step(aten.mul.Scalar, query, 1 / math.sqrt(shape_of(query)[3]))
    scores = contract(view.step, scaled, key, ["row", "batch", "head", "depth"], ["memory", "batch", "head", "depth"],
                      _SCORES)
    return view.call(aten.reshape.default, scores, _merged(free_shape(scores)))


def _merged(shape: list[int]) -> list[int]:
    """The first two axes as one."""
    return [-1 if -1 in shape[:2] else shape[0] * shape[1], *shape[2:]]


def _values(view: NodeView, value: fx.Node) -> fx.Node:
    weights = view.inputs[1]
    heads, batch = shape_of(value)[2], free_shape(value)[1]
    if len(shape_of(weights)) != 3 or shape_of(weights)[0] != shape_of(value)[1] * heads \
            or shape_of(weights)[2] != shape_of(value)[0]:
        raise view.invalid(f"the inputs have shapes {view.shape(0)} and {view.shape(1)}")
    weights = view.step(aten.reshape.default, weights, [batch, heads, *shape_of(weights)[1:]])
    result = contract(view.step, weights, value, _SCORES, ["memory", "batch", "head", "depth"],
                      ["row", "batch", "head", "depth"])
    length, batch, heads, depth = free_shape(result)
    return view.call(aten.reshape.default, result, [length, batch, heads * depth])
