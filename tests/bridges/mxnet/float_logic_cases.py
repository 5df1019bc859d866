"""Float graphs of comparisons, choices, rounding, casts and selection by value, on data with ties and halves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.ops.ordering import TOPK_INDICES, TOPK_MASK, TOPK_VALUES
from mrt_torch.ops.rounding import ROUND_HALF_AWAY, ROUND_HALF_DOWN
from mrt_torch.ops.selection import GATHER_ND
from tests.bridges.mxnet.float_cases import FloatCase

aten = torch.ops.aten
ROWS, IMAGE = (2, 5), (2, 4, 3, 6)
TABLE = torch.arange(-5.0, 5.0).reshape(2, 5) / 2


@dataclass(frozen=True)
class RoundedCase(FloatCase):
    """A target on the input rounded to halves, and, where ``conditions`` says so, truth values made of it."""

    shape: tuple[int, ...] = ROWS
    conditions: str = ""

    def graph(self, dtype=torch.float32) -> fx.GraphModule:
        editor = GraphEditor(empty_graph_module())
        data = editor.input("data", self.shape, dtype)
        doubled = editor.call(ROUND_HALF_AWAY, editor.call(aten.mul.Scalar, data, 2.0))
        halves = editor.call(aten.mul.Scalar, doubled, 0.5)
        operands = [halves]
        if self.conditions:
            truth = editor.call(aten.gt.Scalar, halves, 0.25)
            operands = {"truth": [truth], "both": [truth, editor.call(aten.lt.Scalar, data, 0.75)],
                        "where": [truth, *operands], "index": [editor.call(aten.argmax.default, halves, 1, True)]
                        }[self.conditions]
        for position, constant in enumerate(self.constants):
            constant = constant if constant.dtype in (torch.bool, torch.int64) else constant.to(dtype)
            operands.append(editor.constant(f"c{position}", constant))
        operands += self.arguments
        if self.target is aten.where.ScalarSelf:
            operands[1:] = operands[:0:-1]
        node = editor.call(self.target, *operands, name="result", **self.options)
        editor.output([node])
        editor.module.recompile()
        return editor.module


@dataclass(frozen=True)
class ChosenCase(FloatCase):
    """A target that reads the input and indices of its largest elements along axis 1."""

    shape: tuple[int, ...] = (3, 4, 5)

    def graph(self, dtype=torch.float32) -> fx.GraphModule:
        editor = GraphEditor(empty_graph_module())
        data = editor.input("data", self.shape, dtype)
        if self.target is aten.gather.default:
            axis, count = self.arguments
            index = editor.call(TOPK_INDICES, editor.call(aten.neg.default, data), count, axis, True)
            node = editor.call(self.target, data, axis, index, name="result")
        else:
            index = editor.call(aten.unsqueeze.default, editor.call(aten.argmax.default, data, 1, False), 0)
            table = editor.constant("table", torch.arange(12.0).reshape(4, 3))
            node = editor.call(self.target, table, index, name="result")
        editor.output([node])
        editor.module.recompile()
        return editor.module


PACKETS = (aten.gt, aten.ge, aten.lt, aten.le, aten.eq, aten.ne)
LOGIC = (aten.logical_and.default, aten.logical_or.default, aten.logical_xor.default)
LOGIC_CASES = [
    *(RoundedCase(packet.Tensor, constants=(TABLE,)) for packet in PACKETS),
    *(RoundedCase(packet.Tensor, IMAGE, constants=(TABLE[:, :1].reshape(2, 1, 1, 1),)) for packet in PACKETS[:2]),
    *(RoundedCase(packet.Scalar, arguments=(number,)) for packet in PACKETS for number in (0.5, -1)),
    *(RoundedCase(target, conditions="both") for target in LOGIC),
    *(RoundedCase(target, constants=(TABLE > 0,), conditions="truth") for target in LOGIC),
    RoundedCase(aten.logical_not.default, conditions="truth"),
    *(RoundedCase(target) for target in (aten.floor.default, aten.ceil.default, aten.trunc.default, aten.round.default,
                                         aten.sign.default, ROUND_HALF_AWAY, ROUND_HALF_DOWN)),
    *(RoundedCase(aten._to_copy.default, options={"dtype": dtype})
      for dtype in (torch.int64, torch.int32, torch.bool, torch.float64, torch.int8)),
    RoundedCase(aten._to_copy.default, options={"dtype": torch.float32}, conditions="truth"),
    RoundedCase(aten._to_copy.default, options={"dtype": torch.float32}, conditions="index"),
    RoundedCase(aten.where.self, constants=(TABLE,), conditions="where"),
    RoundedCase(aten.where.self, IMAGE, constants=(TABLE[:1, :3].reshape(1, 3, 1),), conditions="where"),
    RoundedCase(aten.where.self, IMAGE, constants=(torch.ones(1, 1, 1, 1, 1) * 3,), conditions="where"),
    RoundedCase(aten.where.ScalarOther, arguments=(-7.0,), conditions="where"),
    RoundedCase(aten.where.ScalarOther, arguments=(-1e18,), conditions="where"),
    RoundedCase(aten.where.ScalarSelf, arguments=(2.5,), conditions="where"),
    *(RoundedCase(target, shape, arguments=(axis, keep)) for target in (aten.argmax.default, aten.argmin.default)
      for shape, axis, keep in ((ROWS, 1, False), (IMAGE, -2, True), (IMAGE, 3, False))),
    *(FloatCase(target, (2, 7, 3), (), (k, axis, largest)) for target in (TOPK_VALUES, TOPK_INDICES, TOPK_MASK)
      for k, axis, largest in ((1, 1, True), (3, -2, False))),
    ChosenCase(aten.gather.default, arguments=(1, 1)), ChosenCase(aten.gather.default, arguments=(2, 3)),
    ChosenCase(aten.gather.default, arguments=(1, 2)), ChosenCase(GATHER_ND),
]
