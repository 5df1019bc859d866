"""Small integer graphs for the tests."""

from __future__ import annotations

import torch
from torch import fx, nn

from mrt_torch.cvm import OPERATORS
from mrt_torch.graph.facts import set_facts


class GraphBuilder:
    """Builds an integer graph node by node: inputs, constants and operators by name."""

    def __init__(self):
        self.graph, self.root = fx.Graph(), nn.Module()

    def input(self, shape, precision=8, name="data") -> fx.Node:
        node = self.graph.placeholder(name)
        node.meta["val"] = torch.empty(shape, dtype=torch.int32, device="meta")
        set_facts(node, precision=precision)
        return node

    def constant(self, value, name="weight") -> fx.Node:
        self.root.register_buffer(name, torch.as_tensor(value, dtype=torch.int32))
        return self.graph.get_attr(name)

    def call(self, name, *arguments, **attributes) -> fx.Node:
        return self.graph.call_function(OPERATORS[name].target, arguments, attributes)

    def finish(self, *heads) -> fx.GraphModule:
        self.graph.output(tuple(heads))
        return fx.GraphModule(self.root, self.graph)


CONVOLUTION = {"strides": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}


def small_network() -> fx.GraphModule:
    """conv2d, relu, right shift to 8 bits, sum over height and width, dense."""
    build, generator = GraphBuilder(), torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randint(-127, 128, shape, generator=generator)

    data = build.input((2, 3, 4, 4))
    convolved = build.call("conv2d", data, build.constant(draw(5, 3, 3, 3), "kernel"),
                           build.constant(draw(5) * 100, "bias"), **CONVOLUTION)
    narrowed = build.call("cvm_right_shift", build.call("relu", convolved), precision=8, shift_bit=11)
    summed = build.call("sum", narrowed, axis=[2, 3], keepdims=False, exclude=False)
    shifted = build.call("cvm_right_shift", summed, precision=9, shift_bit=3)
    clipped = build.call("cvm_clip", shifted, precision=8)
    return build.finish(build.call("dense", clipped, build.constant(draw(7, 5), "weight")))
