"""Outputs of training: in inference their prediction, without the label."""

from __future__ import annotations

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten


@register_converter("SoftmaxOutput", "Softmax", labels=1)
def convert_softmax_output(view: NodeView) -> fx.Node:
    """softmax over axis 1 (``multi_output``), the last (``preserve_shape``) or all axes but the batch."""
    if view.attributes.boolean("multi_output", False):
        return view.call(aten.softmax.int, view.inputs[0], view.axis(1))
    if view.attributes.boolean("preserve_shape", False):
        return view.call(aten.softmax.int, view.inputs[0], len(view.shape()) - 1)
    return _flat_softmax(view)


@register_converter("LogisticRegressionOutput", labels=1)
def convert_logistic_regression_output(view: NodeView) -> fx.Node:
    """sigmoid."""
    return view.call(aten.sigmoid.default, view.inputs[0])


@register_converter("LinearRegressionOutput", "MAERegressionOutput", "SVMOutput", labels=1)
def convert_regression_output(view: NodeView) -> fx.Node:
    """The first input."""
    return view.inputs[0]


def _flat_softmax(view: NodeView) -> fx.Node:
    """softmax over all axes but the batch, in the shape of the input."""
    shape = view.shape()
    if len(shape) < 2:
        raise view.invalid(f"the input has shape {shape}; at least two axes are expected")
    if len(shape) == 2:
        return view.call(aten.softmax.int, view.inputs[0], 1)
    flat = view.step(aten.softmax.int, view.step(aten.flatten.using_ints, view.inputs[0], 1, -1), 1)
    return view.call(aten.reshape.default, flat, [-1, *shape[1:]])
