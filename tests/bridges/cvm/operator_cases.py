"""Calls of every CVM operator in the file's own words: operand shapes and ``op_attrs`` text."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import torch
from torch import fx

from mrt_torch.cvm import OPERATORS
from tests.bridges.cvm.graphs import cvm, integer_graph, integers


@dataclass(frozen=True)
class OperatorCase:
    """One operator on the input and on constants; a constant is a tensor."""

    operator: str
    shape: tuple[int, ...]
    constants: tuple[torch.Tensor, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    precision: int = 8
    input_position: int = 0
    rectified: bool = False  # the operator reads relu(input)

    def __str__(self):
        words = [self.operator, "x".join(map(str, self.shape)), *self.attributes.values()]
        return "-".join(words).replace(" ", "")

    def graph(self) -> fx.GraphModule:
        row = OPERATORS[self.operator]

        def build(editor, data):
            operands = [editor.constant(f"c{i}", tensor) for i, tensor in enumerate(self.constants)]
            operands.insert(self.input_position, editor.call(cvm.relu.default, data) if self.rectified else data)
            arguments = (operands,) if row.takes_list else tuple(operands)
            result = editor.call(row.target, *arguments, **row.read_attributes(self.attributes))
            return [result] if row.outputs == 1 else [editor.call(operator.getitem, result, index)
                                                      for index in range(row.outputs)]

        return integer_graph(build, self.shape, self.precision)

    def input(self, seed: int) -> torch.Tensor:
        bound = 2 ** (self.precision - 1) - 1
        return integers(self.shape, -bound, bound, seed)


def _conv(shape, weight, bias=None, **attributes):
    constants = (integers(weight, seed=1), *([integers(bias, -2 ** 20, 2 ** 20, seed=2)] if bias else []))
    return OperatorCase("conv2d", shape, constants, {
        "channels": str(weight[0]), "kernel_size": str(tuple(weight[2:])), "use_bias": str(bias is not None),
        **attributes})


def _one(operator, shape=(2, 3, 4, 5), precision=8, **attributes):
    return OperatorCase(operator, shape, (), attributes, precision)


def _suppression(shape, count, precision=8, **attributes):
    counts = torch.tensor([count], dtype=torch.int32)
    return OperatorCase("non_max_suppression", shape, (counts,), attributes, precision, rectified=True)


def _two(operator, shape, other, precision=8, low=-127, high=127, **attributes):
    return OperatorCase(operator, shape, (integers(other, low, high, seed=3),), attributes, precision)


CASES = [
    _conv((2, 3, 7, 6), (4, 3, 3, 3)),
    _conv((1, 4, 7, 6), (6, 2, 3, 2), (6,), strides="(2, 1)", padding="(1, 0)", dilation="(1, 2)",
          groups="2"),
    _conv((1, 4, 5, 5), (4, 1, 3, 3), (4,), padding="(1, 1)", groups="4"),
    _conv((1, 5, 4, 4), (3, 5, 1, 1), strides="(3, 3)"),
    OperatorCase("dense", (3, 7), (integers((4, 7), seed=1),), {"units": "4", "use_bias": "False"}),
    OperatorCase("dense", (1, 70), (integers((5, 70), seed=1), integers((5,), -10 ** 6, 10 ** 6, seed=2)),
                 {"units": "5"}),
    _one("max_pool2d", (1, 2, 7, 6), pool_size="(3, 2)", strides="(2, 2)", padding="(1, 0)",
         ceil_mode="True"),
    _one("max_pool2d", (2, 2, 6, 6), precision=20, pool_size="(2, 2)", strides="(2, 2)"),
    _one("max_pool2d", (1, 1, 5, 5), pool_size="(3, 3)", padding="(1,)"),
    _one("upsampling", (2, 2, 2, 3), scale="3"),
    _one("relu"), _one("relu", (1,), 31), _one("abs"), _one("abs", (4, 1), 32), _one("negative"),
    _one("negative", (3,), 32), _one("cvm_precision"), _one("cvm_precision", (50,), 32),
    _one("clip", a_min="-5", a_max="90"), _one("clip", (64,), 20, a_min="3", a_max="70000"),
    OperatorCase("cvm_clip", (40,), (), {"precision": "6"}),
    OperatorCase("cvm_clip", (4, 10), (), {"precision": "1"}),
    OperatorCase("cvm_clip", (4, 10), (), {"precision": "32"}, 32),
    OperatorCase("cvm_right_shift", (200,), (), {"precision": "5", "shift_bit": "2"}),
    OperatorCase("cvm_right_shift", (200,), (), {"precision": "32", "shift_bit": "1"}, 31),
    OperatorCase("cvm_right_shift", (200,), (), {"precision": "1", "shift_bit": "30"}, 31),
    OperatorCase("cvm_right_shift", (200,), (), {"precision": "8", "shift_bit": "23"}, 31),
    _two("elemwise_add", (2, 3), (2, 3)), _two("elemwise_add", (2, 30), (2, 30), 31, -2 ** 30, 2 ** 30),
    _two("elemwise_sub", (2, 3, 4), (2, 3, 4)), _two("broadcast_add", (2, 3, 4), (3, 1)),
    _two("broadcast_sub", (1, 3, 4), (2, 1, 1)), _two("broadcast_mul", (2, 3, 4), (1,)),
    _two("broadcast_mul", (1, 3, 2, 2), (3, 1, 1), 16, -2 ** 15 + 1, 2 ** 15 - 1),
    _two("broadcast_div", (6, 40), (40,), 16, -3, 3), _two("broadcast_div", (6, 40), (6, 1), 32, -9000, 9000),
    _two("broadcast_max", (2, 3, 4), (4,), 16), _two("broadcast_greater", (5, 6), (5, 6)),
    _one("sum", axis="(2, 3)"), _one("sum", axis="()"),
    _one("sum", axis="(0, 1)", keepdims="True", exclude="True"),
    _one("sum", (3, 4), axis="1"), _one("sum", (1, 2, 3), axis="-1", keepdims="True"),
    _one("max", axis="(2, 3)"), _one("max", axis="(-1,)"),
    _one("max", axis="[0]", keepdims="1", exclude="true"),
    _one("flatten"), _one("flatten", (5,)), _one("flatten", (3, 2)),
    OperatorCase("reshape", (2, 3, 4, 5), (), {"shape": "(-1, 10)"}),
    OperatorCase("reshape", (2, 3, 4, 5), (), {"shape": "(0, -3, 5)"}),
    OperatorCase("reshape", (2, 3, 4, 5), (), {"shape": "[-4, 1, 2, -2]"}),
    _one("squeeze", (2, 1, 3, 1), axis="(-1,)"), _one("squeeze", (2, 1, 3, 1)),
    _one("expand_dims", axis="-1", num_newaxis="2"), _one("expand_dims", (2, 3), axis="0"),
    _one("transpose", axes="(0, 2, -1, 1)"), _one("transpose"),
    OperatorCase("concatenate", (2, 3, 4), (integers((2, 2, 4)), integers((2, 1, 4))), {}),
    OperatorCase("concatenate", (2, 3), (integers((1, 3), -9000, 9000),), {"axis": "-2"}),
    OperatorCase("concatenate", (2, 3), (), {"axis": "0"}),
    _one("repeat", repeats="3", axis="-2"), _one("repeat", (4,), repeats="2"),
    _one("tile", (2, 3), reps="(2, 1, 3)"), _one("tile", (2, 3, 2), reps="(2,)"),
    _one("strided_slice", begin="(0, 1, -1)", end="(2, 3, -5)", stride="(1, 2, -2)"),
    _one("strided_slice", (6, 5), begin="(-4,)", end="(100,)"),
    _two("slice_like", (2, 4, 5), (1, 4, 3), axis="(0, -1)"),
    _two("slice_like", (4, 5), (2, 3)),
    _two("take", (4, 5, 3), (2, 3), low=-2, high=6, axis="1"), _two("take", (4, 5), (7,), low=-2, high=30),
    OperatorCase("take", (3, 4), (integers((9, 2), seed=5),), {"axis": "0"}, 8, 1),
    OperatorCase("cvm_lut", (30,), (integers((100,), -9000, 9000),), {"in_dim": "100"}),
    OperatorCase("where", (2, 30), (integers((2, 30)), integers((2, 30), seed=1)), {}),
    OperatorCase("where", (2, 30), (integers((2, 30), 0, 1), integers((2, 30), -1, 1)), {}, 2, 1),
    _one("get_valid_counts", (1, 9, 6)), _one("get_valid_counts", (3, 20, 2), score_threshold="-40"),
    _one("get_valid_counts", (1, 7, 31), 32, score_threshold="2147483646"),
    _one("get_valid_counts", (2, 1, 3), score_threshold="127"),
    _suppression((1, 12, 6), 12, 2), _suppression((1, 40, 6), 30, 4, iou_threshold="10", top_k="25"),
    _suppression((1, 40, 6), 99, 4, iou_threshold="1", force_suppress="True", max_output_size="5"),
    _suppression((1, 9, 6), -3), _suppression((1, 9, 6), 9, 31, iou_threshold="3", force_suppress="1", top_k="0"),
    _suppression((1, 30, 6), 30, 31, iou_threshold="5", force_suppress="1", id_index="0", invalid_to_bottom="true"),
]
# The CPU back end of the runtime throws on it, so it is never deployed.
NEVER_DEPLOYED = {"cvm_left_shift"}
