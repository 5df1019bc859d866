"""Rounding to whole numbers, and sign."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.ops.rounding import ROUND_HALF_AWAY, ROUND_HALF_DOWN

aten = torch.ops.aten

_ROUNDINGS = {
    aten.floor.default: ("floor",), aten.ceil.default: ("ceil",), aten.trunc.default: ("fix", "trunc"),
    aten.sign.default: ("sign",), ROUND_HALF_AWAY: ("round",), ROUND_HALF_DOWN: ("rint",),
}


def _register_rounding(target: Callable, operators: tuple[str, ...]) -> None:
    @register_converter(*operators)
    def convert_rounding(view: NodeView) -> fx.Node:
        return view.call(target, view.inputs[0])


for _target, _operators in _ROUNDINGS.items():
    _register_rounding(_target, _operators)
