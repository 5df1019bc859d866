"""Captures a module and compares the graph with it: the oracle of the capture tests is the module itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from mrt_torch.graph.capture import capture

BATCHES = (1, 2, 5)


class Function(nn.Module):
    """A function, with the modules and tensors it uses, as a module."""

    def __init__(self, function: Callable, **parts: nn.Module | torch.Tensor):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def randomise(module: nn.Module) -> nn.Module:
    """Running statistics and affine parameters that matter."""
    generator = torch.Generator().manual_seed(7)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.running_mean, part.weight, part.bias):
                if tensor is not None:
                    tensor.data.copy_(torch.randn(tensor.shape, generator=generator))
            part.running_var.copy_(torch.rand(part.running_var.shape, generator=generator) + 0.5)
    return module


def inputs(shapes: Sequence[Sequence[int]], batch: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Random inputs of a batch; ``shapes`` are without it."""
    generator = torch.Generator().manual_seed(batch)
    return [(3 * torch.randn((batch, *shape), generator=generator)).to(dtype) for shape in shapes]


def assert_equal(graph: fx.GraphModule, module: nn.Module, arguments: Sequence[torch.Tensor],
                 relative: float = 1e-5) -> None:
    """The graph gives the module's tensors: number, dtype, shape, and values.

    Tolerance: a canonical form may compute in another order, which moves a float32 result by a few units.
    """
    module.eval()
    with torch.no_grad():
        # The module may work in place on what it is given, and on its own buffers.
        expected = [value for value in pytree.tree_leaves(module(*(a.clone() for a in arguments)))
                    if isinstance(value, torch.Tensor)]
        actual = graph(*(a.clone() for a in arguments))
    assert isinstance(actual, tuple)
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        ours, theirs = ours.detach(), theirs.detach()
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if theirs.numel():
            bound = relative * max(float(theirs.double().abs().max()), 1.0)
            assert float((ours.double() - theirs.double()).abs().max()) <= bound


def check(module: nn.Module, *shapes: Sequence[int], targets: Sequence[str] | None = None,
          batches: Sequence[int] = BATCHES, dtype: torch.dtype = torch.float32, example: int = 1) -> fx.GraphModule:
    """Capture with ``example`` samples, compare at every batch, and compare the operators with ``targets``."""
    module = module.to(dtype)
    graph = capture(module, tuple(inputs(shapes, example, dtype)))
    for batch in batches:
        assert_equal(graph, module, inputs(shapes, batch, dtype))
    assert_shapes_are_current(graph, inputs(shapes, 2, dtype))
    if targets is not None:
        assert operators(graph) == list(targets)
    return graph


def operators(graph: fx.GraphModule) -> list[str]:
    """The operators of a graph in order, as in ``"conv2d.default"``."""
    return [str(getattr(node.target, "__name__", node.target) if not isinstance(node.target, torch._ops.OpOverload)
                else node.target).removeprefix("aten.") for node in graph.graph.nodes if node.op == "call_function"]


def assert_shapes_are_current(graph: fx.GraphModule, arguments: Sequence[torch.Tensor]) -> None:
    """``val`` has the shape and dtype every node gives when run on inputs of the example's shape."""
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    if [tuple(node.meta["val"].shape) for node in placeholders] != [tuple(a.shape) for a in arguments]:
        return

    class Recorder(fx.Interpreter):
        def run_node(self, node):
            result = super().run_node(node)
            if isinstance(result, torch.Tensor) and node.op != "output":
                assert (node.meta["val"].shape, node.meta["val"].dtype) == (result.shape, result.dtype), node
                assert node.meta["val"].device.type == "meta"
            return result

    with torch.no_grad():
        Recorder(graph).run(*arguments)
