"""Float graphs of normalizations, norms and reductions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from tests.bridges.mxnet.float_cases import FloatCase

aten = torch.ops.aten
IMAGE, ROWS, ROWS3 = (2, 4, 7, 6), (2, 5), (2, 3, 5)


@dataclass(frozen=True)
class AffineCase(FloatCase):
    """A target whose constants stand behind its first argument."""

    def graph(self, dtype=torch.float32) -> fx.GraphModule:
        generator = torch.Generator().manual_seed(3)
        editor = GraphEditor(empty_graph_module())
        data = editor.input("data", self.shape, dtype)
        constants = [None if shape is None else editor.constant(
            f"c{position}", (torch.rand(shape, generator=generator) + 0.1).to(dtype))
            for position, shape in enumerate(self.constants)]
        editor.output([editor.call(self.target, data, self.arguments[0], *constants, *self.arguments[1:],
                                   name="result")])
        editor.module.recompile()
        return editor.module


NORMALIZATION_CASES = [
    AffineCase(aten.layer_norm.default, ROWS, ((5,), (5,)), ([5], 1e-3)),
    AffineCase(aten.layer_norm.default, ROWS3, (None, None), ([5],)),
    AffineCase(aten.layer_norm.default, IMAGE, ((7, 6), None), ([7, 6], 1e-2)),
    AffineCase(aten.layer_norm.default, IMAGE, (None, (4, 7, 6)), ([4, 7, 6],)),
    AffineCase(aten.rms_norm.default, ROWS3, ((5,),), ([5], 1e-3)),
    AffineCase(aten.rms_norm.default, IMAGE, (None,), ([7, 6], 1e-5)),
    AffineCase(aten.rms_norm.default, ROWS, (None,), ([5],)),
    AffineCase(aten.group_norm.default, IMAGE, ((4,), (4,)), (2, 1e-3)),
    AffineCase(aten.group_norm.default, ROWS3, (None, None), (3,)),
    FloatCase(aten.instance_norm.default, IMAGE, ((4,), (4,), None, None), (True, 0.1, 1e-3, False)),
    FloatCase(aten.instance_norm.default, ROWS3, (None, None, None, None), (True, 0.1, 1e-5, False)),
    FloatCase(aten.linalg_vector_norm.default, IMAGE, (), (2, [2, -1], True)),
    FloatCase(aten.linalg_vector_norm.default, IMAGE, (), (1, [1, 2, 3])),
    FloatCase(aten.linalg_vector_norm.default, ROWS, (), (math.inf, [1])),
    FloatCase(aten.log_softmax.int, ROWS3, (), (1,)), FloatCase(aten.log_softmax.int, ROWS, (), (-1,)),
    FloatCase(aten.amin.default, IMAGE, (), ([2, -1], True)), FloatCase(aten.amin.default, ROWS, (), ([1],)),
    FloatCase(aten.prod.dim_int, IMAGE, (), (2, True)), FloatCase(aten.prod.dim_int, ROWS, (), (-1,)),
]
