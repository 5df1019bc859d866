"""Operators that do nothing in inference."""

from __future__ import annotations

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten

_FLOATS = ("float16", "float32", "float64", "bfloat16")
_TYPES = (*_FLOATS, "bool", "int32", "int64", "int8", "uint8")


@register_converter("_copy", "identity", "BlockGrad", "stop_gradient", "MakeLoss", "make_loss")
def convert_identity(view: NodeView) -> fx.Node:
    """The input."""
    return view.inputs[0]


@register_converter("Dropout")
def convert_dropout(view: NodeView) -> fx.Node:
    """dropout that is switched off; the mode "always" is refused."""
    if view.attributes.choice("mode", ("always", "training"), "training") == "always":
        raise view.unsupported("mode is always: the output is random in inference too")
    return view.call(aten.dropout.default, view.inputs[0], view.attributes.real("p", 0.5), False)


@register_converter("Cast", "cast", "amp_cast")
def convert_cast(view: NodeView) -> fx.Node:
    """The input: the graph has one float type. Casts to integers are refused."""
    dtype = view.attributes.choice("dtype", _TYPES)
    if dtype not in _FLOATS:
        raise view.unsupported(f"dtype is {dtype}; float types are supported")
    return view.inputs[0]
