"""Operators that do nothing in inference."""

from __future__ import annotations

import torch
from torch import fx

from bridges.mxnet.converters.comparison import CAST, floats, truth
from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter

aten = torch.ops.aten

_FLOATS = ("float16", "float32", "float64", "bfloat16")
_WRAPPING = {"int8": torch.int8, "uint8": torch.uint8}
_TYPES = (*_FLOATS, *_WRAPPING, "bool", "int32", "int64")


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
    """The input for floats: the graph has one float type. In that type too, x without its fraction for int32 and int64,
    and x != 0 for bool; int8 and uint8, which wrap, become casts there and back.
    """
    dtype = view.attributes.choice("dtype", _TYPES)
    data = view.inputs[0]
    if dtype in _FLOATS:
        return data
    if data.target is CAST and not data.args[0].meta["val"].is_floating_point():  # truth values or indices
        if dtype not in _WRAPPING or data.args[0].meta["val"].dtype is torch.bool:
            return data if dtype != "bool" else floats(view, truth(view, data))
    if dtype == "bool":
        return floats(view, truth(view, data))
    if dtype in _WRAPPING:
        return floats(view, view.step(CAST, data, dtype=_WRAPPING[dtype]))
    return view.call(aten.trunc.default, data)
