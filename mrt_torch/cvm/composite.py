"""Operators of the integer stage that the CVM lacks and is given as several of its own once the batch is fixed.

As long as the batch is free the composite stands for all expansions at once;
``prepare_for_compile`` replaces it, and an unexpanded one is never deployed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from mrt_torch.cvm.attribute_text import reader
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.limits import product_limits
from mrt_torch.cvm.operator import OPERATORS, Call, CvmOperator, Shape
from mrt_torch.cvm.shape_rules import require

if TYPE_CHECKING:  # the editor serves every stage and knows no operators
    from torch import fx

    from mrt_torch.graph.editor import GraphEditor


def batch_dot(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """``y[b] = left[b] @ right[b].T`` of (B, M, K) and (B, N, K): exact, as dense is.

    A CUDA device has no int32 product: float64 holds every partial sum of operands of up to 8 bits.
    """
    if left.is_cuda:
        return torch.bmm(left.to(torch.float64), right.to(torch.float64).transpose(1, 2)).to(torch.int32)
    return torch.bmm(left, right.transpose(1, 2))


def _batch_dot_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    left, right = shapes
    require(len(left) == len(right) == 3 and left[0] == right[0] and left[2] == right[2],
            "batch_dot takes (B, M, K) and (B, N, K)", f"shapes {left} and {right}")
    return (left[0], left[1], right[1])


def _precision(call: Call) -> int:
    """``p(left) + p(right) + bit_length(K)``: that of what it expands into."""
    left, right = call.operands
    return left.precision + right.precision + left.shape[2].bit_length()


def _value_range(call: Call) -> Interval:
    left, right = call.operands
    product, length = left.value_range * right.value_range, left.shape[2]
    return Interval(length * product.minimum, length * product.maximum)


def _expand_batch_dot(editor: GraphEditor, left: fx.Node, right: fx.Node) -> fx.Node:
    """One matrix product as dense; several as the groups of one 1 x 1 convolution, whose weight is ``left``.

    ``left`` (B, M, K) becomes the weight (B * M, K, 1, 1) and ``right`` (B, N, K), its last axes exchanged, the data
    (1, B * K, N, 1): group b holds the K rows of batch element b. Against one dense for each element, sliced and
    joined, that is five nodes instead of 3 * B + 4, and less gas and storage.
    """
    cvm = torch.ops.cvm
    (batch, rows, length), (_, columns, _) = (tuple(node.meta["val"].shape) for node in (left, right))
    if batch == 1:
        product = editor.call(cvm.dense.default,
                              editor.call(cvm.reshape.default, left, shape=[rows, length]),
                              editor.call(cvm.reshape.default, right, shape=[columns, length]))
    else:
        data = editor.call(cvm.transpose.default, right, axes=[0, 2, 1])
        product = editor.call(cvm.conv2d.default,
                              editor.call(cvm.reshape.default, data, shape=[1, batch * length, columns, 1]),
                              editor.call(cvm.reshape.default, left, shape=[batch * rows, length, 1, 1]),
                              strides=[1, 1], padding=[0, 0], dilation=[1, 1], groups=batch)
    return editor.call(cvm.reshape.default, product, shape=[batch, rows, columns])


OPERATORS.register(CvmOperator(
    name="batch_dot", schema="(Tensor left, Tensor right) -> Tensor", kernel=batch_dot,
    output_shape=_batch_dot_shape, precision=_precision, value_range=_value_range,
    limits=lambda call: product_limits(call, ("left", "right")),
    read_attributes=reader("batch_dot"), mxnet_name="batch_dot",
    composite=True, expansion=_expand_batch_dot))
