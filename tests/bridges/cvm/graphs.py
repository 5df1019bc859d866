"""Small integer graphs for the tests of the CVM bridge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import fx

from bridges.cvm.heads import flatten_heads
from bridges.cvm.lowering import lower
from bridges.cvm.params_file import format_params
from bridges.cvm.symbol_file import format_symbol
from mrt_torch.cvm import analyse, verify
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import set_facts

cvm = torch.ops.cvm


def integers(shape, low=-127, high=127, seed=0) -> torch.Tensor:
    """int32 tensor of uniformly drawn values, both bounds included."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high + 1, tuple(shape), generator=generator, dtype=torch.int64).to(torch.int32)


def integer_graph(build: Callable[[GraphEditor, fx.Node], Sequence[fx.Node]], shape=(1, 4), precision=8,
                  name="data") -> fx.GraphModule:
    """Analysed graph with one input; ``build(editor, input)`` returns the heads."""
    module = empty_graph_module()
    editor = GraphEditor(module)
    data = editor.input(name, shape, torch.int32)
    set_facts(data, precision=precision)
    editor.output(list(build(editor, data)))
    module.recompile()
    analyse(module)
    return module


def convolution_graph() -> fx.GraphModule:
    """conv2d, cvm_right_shift, relu, relu, flatten on (1, 3, 8, 8): the graph of the golden symbol file."""
    def build(editor, data):
        weight = editor.constant("conv0_weight", integers((4, 3, 3, 3)))
        x = editor.call(cvm.conv2d.default, data, weight, strides=[1, 1], padding=[0, 0], dilation=[1, 1],
                        groups=1)
        x = editor.call(cvm.cvm_right_shift.default, x, precision=8, shift_bit=5)
        x = editor.call(cvm.relu.default, editor.call(cvm.relu.default, x))
        return [editor.call(cvm.flatten.default, x)]
    return integer_graph(build, (1, 3, 8, 8))


def two_headed_graph(precision=8, batch=2) -> fx.GraphModule:
    """Heads of 4-D and 3-D shape, the second needing more than 8 bits."""
    def build(editor, data):
        half = editor.call(cvm.cvm_right_shift.default, data, precision=7, shift_bit=1)
        wide = editor.call(cvm.sum.default, data, axis=[3], keepdims=False, exclude=False)
        return [half, wide]
    return integer_graph(build, (batch, 2, 3, 4), precision)


def deployed_bytes(module: fx.GraphModule) -> tuple[bytes, bytes]:
    """Bytes of ``symbol`` and ``params`` as an export writes them."""
    flattened = flatten_heads(module)
    verify(flattened)
    symbol, parameters = lower(flattened)
    return format_symbol(symbol).encode("ascii"), format_params(parameters)
