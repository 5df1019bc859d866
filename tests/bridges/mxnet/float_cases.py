"""Float graphs of one operator each: every ATen target that has a writer, in the variants that differ in
MXNet."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, empty_graph_module

aten = torch.ops.aten


@dataclass(frozen=True)
class FloatCase:
    """A target on an input and constants; shapes stand for random constants, a number selects a part of a
    result."""

    target: object
    shape: tuple[int, ...]
    constants: tuple[tuple[int, ...] | torch.Tensor | None, ...] = ()
    arguments: tuple = ()
    part: int | None = None
    options: dict = field(default_factory=dict)

    def __str__(self):
        texts = [getattr(self.target, "__name__", str(self.target)), "x".join(map(str, self.shape)),
                 *map(str, self.arguments), *map(str, self.options.values())]
        return "-".join(texts).replace(" ", "")

    def graph(self, dtype=torch.float32) -> fx.GraphModule:
        generator = torch.Generator().manual_seed(3)
        editor = GraphEditor(empty_graph_module())
        data = editor.input("data", self.shape, dtype)
        operands = [data]
        for position, constant in enumerate(self.constants):
            if isinstance(constant, tuple):
                constant = torch.rand(constant, generator=generator) + 0.1
            operands.append(None if constant is None else editor.constant(f"c{position}", constant.to(dtype)))
        if self.target is aten.cat.default:
            operands = [operands]
        node = editor.call(self.target, *operands, *self.arguments, name="result", **self.options)
        if self.part is not None:
            node = editor.call(operator.getitem, node, self.part)
        editor.output([node])
        editor.module.recompile()
        return editor.module


IMAGE, ROWS = (2, 4, 7, 6), (2, 5)
CASES = [
    FloatCase(aten.conv2d.default, IMAGE, ((6, 2, 3, 2), (6,)), ([2, 1], [1, 0], [1, 2], 2)),
    FloatCase(aten.conv2d.default, IMAGE, ((3, 4, 1, 1),)),
    FloatCase(aten.conv2d.default, IMAGE, ((4, 1, 3, 3), None), ([1, 1], [1, 1], [1, 1], 4)),
    FloatCase(aten.linear.default, ROWS, ((3, 5), (3,))),
    FloatCase(aten.linear.default, (2, 3, 5), ((4, 5),)),
    FloatCase(aten.batch_norm.default, IMAGE, ((4,), (4,), (4,), (4,)), (False, 0.1, 1e-3, False)),
    FloatCase(aten.batch_norm.default, IMAGE, (None, None, (4,), (4,)), (False, 0.1, 1e-5, False)),
    FloatCase(aten.batch_norm.default, ROWS, ((5,), (5,), (5,), (5,)), (False, 0.1, 1e-5, False)),
    FloatCase(aten.relu.default, ROWS), FloatCase(aten.sigmoid.default, ROWS),
    FloatCase(aten.tanh.default, ROWS),
    FloatCase(aten.exp.default, ROWS), FloatCase(aten.leaky_relu.default, ROWS, (), (0.2,)),
    FloatCase(aten.elu.default, ROWS, (), (0.7, 1.0, 1.0)),
    FloatCase(aten.elu.default, ROWS, (), (1.6732632423543772, 1.0507009873554805, 1.0)),
    FloatCase(aten.elu.default, ROWS, (), (1.5, 2.0, 1 / 1.5)),
    FloatCase(aten.dropout.default, ROWS, (), (0.5, False)),
    FloatCase(aten.softmax.int, (2, 3, 4), (), (1,)), FloatCase(aten.softmax.int, (2, 3, 4), (), (-1,)),
    FloatCase(aten.max_pool2d.default, IMAGE, (), ([3, 2], [2, 2], [1, 0])),
    FloatCase(aten.max_pool2d.default, IMAGE, (), ([2, 2], [2, 2], [0, 0], [1, 1], True)),
    FloatCase(aten.max_pool2d.default, IMAGE, (), ([2, 2],)),
    # torch's ceil mode drops windows that start in the padding, on both axes or on one; MXNet's does not.
    FloatCase(aten.max_pool2d.default, (1, 2, 5, 5), (), ([2, 2], [2, 2], [1, 1], [1, 1], True)),
    FloatCase(aten.max_pool2d.default, (1, 2, 5, 6), (), ([2, 2], [3, 2], [1, 1], [1, 1], True)),
    FloatCase(aten.max_pool2d.default, (1, 2, 6, 5), (), ([2, 2], [2, 2], [1, 1], [1, 1], True)),
    FloatCase(aten.max_pool2d.default, (1, 2, 7, 5), (), ([3, 2], [3, 3], [1, 1], [1, 1], True)),
    FloatCase(aten.avg_pool2d.default, IMAGE, (), ([3, 2], [2, 2], [1, 0], False, True)),
    FloatCase(aten.avg_pool2d.default, IMAGE, (), ([3, 2], [2, 2], [1, 1], True, True)),
    FloatCase(aten.avg_pool2d.default, IMAGE, (), ([3, 2], [2, 2], [1, 1], True, False)),
    FloatCase(aten.avg_pool2d.default, (1, 2, 6, 5), (), ([2, 2], [2, 2], [1, 1], True, False)),
    FloatCase(aten.avg_pool2d.default, IMAGE, (), ([3, 2], [2, 2], [0, 0], False, True, 7)),
    FloatCase(aten.avg_pool2d.default, (1, 2, 6, 5), (), ([2, 2], [2, 2], [1, 1], True, True, 3)),
    FloatCase(aten.adaptive_avg_pool2d.default, IMAGE, (), ([1, 1],)),
    FloatCase(aten.adaptive_avg_pool2d.default, (2, 4, 6, 9), (), ([3, 3],)),
    FloatCase(aten.adaptive_avg_pool2d.default, IMAGE, (), ([3, 4],)),
    FloatCase(aten.amax.default, IMAGE, (), ([2, -1], True)), FloatCase(aten.amax.default, IMAGE, (), ([1],)),
    FloatCase(aten.mean.dim, IMAGE, (), ([2, 3],)), FloatCase(aten.mean.dim, IMAGE, (), ([-1], True)),
    FloatCase(aten.sum.dim_IntList, IMAGE, (), ([1, 2], False)),
    FloatCase(aten.sum.dim_IntList, IMAGE, (), ([], True)),
    FloatCase(aten.flatten.using_ints, IMAGE, (), (1, -1)),
    FloatCase(aten.flatten.using_ints, IMAGE, (), (2, 3)),
    FloatCase(aten.flatten.using_ints, IMAGE, (), (0, 1)), FloatCase(aten.flatten.using_ints, ROWS, (), (1,)),
    FloatCase(aten.reshape.default, IMAGE, (), ([-1, 8, 21],)),
    FloatCase(aten.reshape.default, IMAGE, (), ([2, -1],)),
    FloatCase(aten.permute.default, IMAGE, (), ([0, 2, -1, 1],)),
    FloatCase(aten.unsqueeze.default, ROWS, (), (-1,)), FloatCase(aten.unsqueeze.default, ROWS, (), (1,)),
    FloatCase(aten.squeeze.dims, (2, 1, 3, 1), (), ([1, -1],)),
    FloatCase(aten.squeeze.dims, (2, 1, 3), (), ([2, 1],)),
    FloatCase(aten.squeeze.dims, (2, 3), (), ([1],)),
    FloatCase(aten.cat.default, IMAGE, ((2, 1, 7, 6),), (1,)), FloatCase(aten.cat.default, IMAGE, (), (-1,)),
    FloatCase(aten.add.Tensor, ROWS, ((5,),)), FloatCase(aten.sub.Tensor, ROWS, ((2, 5),)),
    FloatCase(aten.mul.Tensor, ROWS, (torch.tensor(3.5),)),
    FloatCase(aten.div.Tensor, (1, 3, 2), ((2, 1, 2),)),
    FloatCase(aten.maximum.default, ROWS, ((5,),)), FloatCase(aten.minimum.default, ROWS, ((2, 5),)),
    FloatCase(aten.add.Scalar, ROWS, (), (1.3,)), FloatCase(aten.sub.Scalar, ROWS, (), (2,)),
    FloatCase(aten.rsub.Scalar, ROWS, (), (1e-7,)), FloatCase(aten.mul.Scalar, ROWS, (), (-1e10,)),
    FloatCase(aten.div.Scalar, ROWS, (), (3,)), FloatCase(aten.neg.default, ROWS),
    FloatCase(aten.abs.default, ROWS),
    FloatCase(aten.clamp.default, ROWS, (), (-0.5, 6)), FloatCase(aten.clamp.default, ROWS, (), (0.25,)),
    FloatCase(aten.clamp.default, ROWS, (), (None, 0.25)),
    FloatCase(aten.slice.Tensor, IMAGE, (), (1, 1, 3)),
    FloatCase(aten.slice.Tensor, IMAGE, (), (-1, 1, 2 ** 62, 2)),
    FloatCase(aten.slice.Tensor, IMAGE, (), (2, -3)), FloatCase(aten.slice.Tensor, IMAGE),
    FloatCase(aten.constant_pad_nd.default, IMAGE, (), ([1, 2, 0, 3], 1.5)),
    FloatCase(aten.constant_pad_nd.default, IMAGE, (), ([0, 0, 0, 0, 2, 1],)),
    FloatCase(aten.constant_pad_nd.default, ROWS, (), ([0, 2], -1.0)),
    FloatCase(aten.constant_pad_nd.default, IMAGE, (), ([-1, 2, 1, -2, 1, 0], 0.5)),
    FloatCase(aten.constant_pad_nd.default, ROWS, (), ([0, 0],)),
    FloatCase(aten.split_with_sizes.default, IMAGE, (), ([2, 2], 1), 1),
    FloatCase(aten.split_with_sizes.default, IMAGE, (), ([1, 3], 1), 1),
    FloatCase(aten.split_with_sizes.default, IMAGE, (), ([1, 2, 1], -3), -1),
    FloatCase(aten.split_with_sizes.default, IMAGE, (), ([4], 1), 0),
]
