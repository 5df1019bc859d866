"""Float graphs of one operator each: every ATen target that has a writer, in the variants that differ in
MXNet."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.masking import MASKED_SOFTMAX
from mrt_torch.ops.creation import ARANGE_LIKE
from mrt_torch.ops.detection_kernels import BIPARTITE_MATCHING, BOX_DECODE, BOX_IOU, BOX_NMS, MULTIBOX_DETECTION
from mrt_torch.ops.likeness import BROADCAST_LIKE, RESHAPE_LIKE, SLICE_LIKE

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


@dataclass(frozen=True)
class MadeCase(FloatCase):
    """A target that reads no tensor; its result is added to the input."""

    def graph(self, dtype=torch.float32) -> fx.GraphModule:
        editor = GraphEditor(empty_graph_module())
        data = editor.input("data", self.shape, dtype)
        made = editor.call(self.target, *self.arguments, dtype=dtype)
        made.meta["val"] = made.meta["val"].to("meta")
        editor.output([editor.call(aten.add.Tensor, data, made, name="result")])
        editor.module.recompile()
        return editor.module


@dataclass(frozen=True)
class IndexCase(FloatCase):
    """A choice of elements of what is computed at constant positions."""

    def graph(self, dtype=torch.float32) -> fx.GraphModule:
        editor = GraphEditor(empty_graph_module())
        data = editor.call(aten.neg.default, editor.input("data", self.shape, dtype))
        index = editor.constant("index", torch.tensor([3, 0, 0]))
        editor.output([editor.call(self.target, data, *self.arguments, index, name="result")])
        editor.module.recompile()
        return editor.module


IMAGE, ROWS = (2, 4, 7, 6), (2, 5)
CASES = [
    FloatCase(aten.conv2d.default, IMAGE, ((6, 2, 3, 2), (6,)), ([2, 1], [1, 0], [1, 2], 2)),
    FloatCase(aten.conv2d.default, IMAGE, ((3, 4, 1, 1),)),
    FloatCase(aten.conv2d.default, IMAGE, ((4, 1, 3, 3), None), ([1, 1], [1, 1], [1, 1], 4)),
    FloatCase(aten.conv3d.default, (2, 4, 5, 4, 3), ((6, 2, 3, 2, 1), (6,)), ([2, 1, 1], [1, 0, 0], [1, 2, 1], 2)),
    FloatCase(aten.conv_transpose2d.input, IMAGE, ((4, 3, 3, 2), (6,)), ([2, 3], [1, 0], [1, 2], 2, [1, 2])),
    FloatCase(aten.conv_transpose2d.input, IMAGE, ((4, 3, 2, 2),)),
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
    FloatCase(aten.max_pool2d.default, IMAGE, (), ([3, 2], [1, 2], [1, 1], [2, 3])),
    FloatCase(aten.max_pool2d.default, IMAGE, (), ([2, 2], [3, 2], [0, 1], [3, 1], True)),
    FloatCase(aten.max_pool3d.default, (2, 3, 5, 6, 4), (), ([2, 3, 2], [2, 2, 1], [1, 1, 0])),
    FloatCase(aten.avg_pool3d.default, (2, 3, 5, 6, 4), (), ([2, 3, 2], [2, 2, 2], [1, 1, 0], False, False)),
    FloatCase(aten.avg_pool3d.default, (2, 3, 5, 6, 4), (), ([2, 2, 2], [2, 2, 2], [0, 0, 0], True, True, 3)),
    FloatCase(aten.avg_pool2d.default, IMAGE, (), ([3, 2], [2, 2], [1, 0], True, True, 1)),
    FloatCase(aten.upsample_nearest2d.default, IMAGE, (), ([14, 12], None, None)),
    FloatCase(aten.upsample_nearest2d.default, IMAGE, (), ([14, 6], None, None)),
    FloatCase(aten.upsample_nearest2d.default, IMAGE, (), ([9, 18], 1.3, None)),
    FloatCase(aten._upsample_nearest_exact2d.default, IMAGE, (), ([5, 8], None, None)),
    FloatCase(aten.upsample_bilinear2d.default, IMAGE, (), ([9, 12], False, None, None)),
    FloatCase(aten.upsample_bilinear2d.default, IMAGE, (), ([9, 1], True, None, None)),
    FloatCase(aten.upsample_bilinear2d.default, IMAGE, (), ([1, 9], False, None, None)),
    FloatCase(aten.upsample_bilinear2d.default, IMAGE, (), ([9, 6], False, 1.4, None)),
    FloatCase(aten.upsample_bicubic2d.default, IMAGE, (), ([9, 5], False, None, None)),
    FloatCase(aten._upsample_bilinear2d_aa.default, IMAGE, (), ([3, 5], False, None, None)),
    FloatCase(aten._upsample_bicubic2d_aa.default, IMAGE, (), ([3, 5], False, None, None)),
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
    FloatCase(aten.split.Tensor, IMAGE, (), (2, 1), 1), FloatCase(aten.split.Tensor, IMAGE, (), (4, 2), 1),
    FloatCase(aten.chunk.default, IMAGE, (), (3, -1), 0), FloatCase(aten.chunk.default, IMAGE, (), (3, 2), 2),
    FloatCase(aten.unbind.int, IMAGE, (), (1,), 3), FloatCase(aten.unbind.int, IMAGE, (), (-1,), 0),
    FloatCase(aten.narrow.default, IMAGE, (), (1, 1, 2)), FloatCase(aten.narrow.default, IMAGE, (), (-1, -3, 2)),
    FloatCase(aten.transpose.int, IMAGE, (), (1, -1)), FloatCase(aten.flip.default, IMAGE, (), ([1, -1],)),
    FloatCase(aten.flip.default, ROWS, (), ([],)), FloatCase(aten.repeat.default, ROWS, (), ([1, 3],)),
    FloatCase(aten.repeat.default, ROWS, (), ([2, 1, 3],)),
    FloatCase(aten.repeat_interleave.self_int, IMAGE, (), (3, 1)),
    FloatCase(aten.repeat_interleave.self_int, ROWS, (), (2,)),
    FloatCase(aten.repeat_interleave.self_int, ROWS, (), (2, -1)),
    FloatCase(aten.expand.default, (2, 1, 3), (), ([-1, 4, 3],)),
    FloatCase(aten.expand.default, (2, 1), (), ([3, 2, 5],)),
    FloatCase(aten.expand.default, ROWS, (), ([-1, 5],)), FloatCase(aten.expand_as.default, (2, 1), ((2, 5),)),
    FloatCase(aten.expand_as.default, (1, 5), ((3, 2, 5),)), FloatCase(BROADCAST_LIKE, (2, 1, 1), ((2, 3, 4),)),
    FloatCase(BROADCAST_LIKE, (2, 1, 3), ((2, 7),), ([1], [-1])),
    FloatCase(SLICE_LIKE, IMAGE, ((1, 2, 3, 4),), ([1, -1],)), FloatCase(SLICE_LIKE, ROWS, ((2, 3),), ([],)),
    FloatCase(RESHAPE_LIKE, (2, 6), ((2, 3, 2),)), FloatCase(RESHAPE_LIKE, (2, 6, 5), ((4, 2, 3),), (1, 2, -2, None)),
    FloatCase(aten.reshape_as.default, (2, 6), ((2, 3, 2),)), FloatCase(aten.view_as.default, (2, 6), ((4, 3),)),
    FloatCase(aten.zeros_like.default, ROWS), FloatCase(aten.ones_like.default, ROWS),
    FloatCase(aten.full_like.default, ROWS, (), (-2.5,)),
    FloatCase(aten.pad.default, IMAGE, (), ([1, 2, 3, 0], "reflect")),
    FloatCase(aten.pad.default, IMAGE, (), ([1, 2, 3, 0], "replicate")),
    FloatCase(aten.pad.default, IMAGE, (), ([1, 2, 0, 3], "circular")),
    FloatCase(aten.pad.default, (2, 3, 7), (), ([2, 3], "reflect")),
    FloatCase(aten.pad.default, (2, 3, 7), (), ([-2, 3], "replicate")),
    FloatCase(ARANGE_LIKE, IMAGE, (), (1.0, 0.5, 2, 2)), FloatCase(ARANGE_LIKE, ROWS, (), (0.0, 1.0, 1, None)),
    MadeCase(aten.arange.default, ROWS, (), (5,)), MadeCase(aten.arange.start, ROWS, (), (2, 7)),
    MadeCase(aten.arange.start_step, ROWS, (), (2, -0.5, -0.5)),
    FloatCase(BOX_NMS, (2, 9, 6), (), (0.25, 0.0, -1, 2, 1, -1, -1, False, "corner", "corner")),
    FloatCase(BOX_NMS, (9, 7), (), (0.5, -0.5, 4, 0, 5, 6, 1, True, "center", "corner")),
    FloatCase(BOX_DECODE, (2, 7, 4), ((1, 7, 4),), (0.5, 0.25, 1.0, 2.0, 0.5, "corner")),
    FloatCase(BOX_DECODE, (2, 7, 4), ((1, 7, 4),), (0.5, 0.25, 1.0, 2.0, -1.0, "center")),
    FloatCase(BOX_IOU, (2, 3, 4), ((5, 4),), ("center",)),
    FloatCase(BIPARTITE_MATCHING, (2, 3, 4), (), (0.25, False, -1), 0),
    FloatCase(BIPARTITE_MATCHING, (2, 3, 4), (), (0.25, True, 1), 1),
    FloatCase(MULTIBOX_DETECTION, (2, 3, 6), ((2, 24), (1, 6, 4)),
              (False, 0.25, [0.5, 0.25, 1.0, 2.0], 0.25, True, 4)),
    FloatCase(aten.bmm.default, (2, 3, 4), ((2, 4, 5),)),
    IndexCase(aten.embedding.default, (4, 3)), IndexCase(aten.index_select.default, IMAGE, (), (1,)),
    IndexCase(aten.index_select.default, IMAGE, (), (-1,)),
    FloatCase(MASKED_SOFTMAX, (2, 3, 4), (torch.ones(3, 4).tril(),), (2,)),
    FloatCase(MASKED_SOFTMAX, (2, 3, 4), (torch.tensor([[[1.0], [0.0], [1.0]], [[0.0], [0.0], [0.0]]]),), (1,)),
]
