"""Small float graphs for the tests, and what became of them: rewritten, prepared, quantized and run node by node.

Graphs are in float64 unless a test says otherwise, so that the rounding of the reference does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import fx

from mrt_torch.calibration.calibrate import Calibrator
from mrt_torch.cvm import verify
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, input_nodes, output_nodes, shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage, check_stage
from mrt_torch.passes import fuse_transpose, prepare, prepare_for_compile, quantize, rewrite
from mrt_torch.quantization import QuantizationSettings, int_realize

aten = torch.ops.aten
INPUT_NAMES = ("data", "second", "third")


def draw(*shape: int, magnitude: float = 1.0, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Uniform values within +-magnitude, the largest of which is the magnitude itself."""
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
    return (values / values.abs().max() * magnitude).to(dtype)


def graph(build: Callable, *shapes: Sequence[int], names: Sequence[str] = INPUT_NAMES,
          dtype: torch.dtype = torch.float64) -> fx.GraphModule:
    """Float graph with inputs of ``shapes``; ``build(editor, *inputs)`` returns the output node, or several."""
    editor = GraphEditor(empty_graph_module())
    inputs = [editor.input(name, shape, dtype) for name, shape in zip(names, shapes, strict=False)]
    outputs = build(editor, *inputs)
    editor.output([outputs] if isinstance(outputs, fx.Node) else outputs)
    editor.module.recompile()
    return editor.module


def unary(target: Callable, *arguments, shape: Sequence[int] = (2, 3, 4, 5)) -> fx.GraphModule:
    """Graph of one operator with one input."""
    return graph(lambda editor, x: editor.call(target, x, *arguments), shape)


def operators(module: fx.GraphModule) -> list[str]:
    """Names of the operators in the order they run, such as "conv2d"."""
    return [node.target._opname if hasattr(node.target, "_opname") else node.target.__name__
            for node in module.graph.nodes if node.op == "call_function"]


def rewritten(module: fx.GraphModule) -> fx.GraphModule:
    """The graph after the pass rewrite, run to its end."""
    return run_pass(module, rewrite, Stage.FLOAT).module


def transposed(module: fx.GraphModule) -> fx.GraphModule:
    """The graph after the pass fuse_transpose, run to its end."""
    return run_pass(module, fuse_transpose, Stage.FLOAT).module


def assert_same_values(before: fx.GraphModule, after: fx.GraphModule, *inputs: torch.Tensor,
                       tolerance: float = 1e-12) -> None:
    """Both graphs give the same outputs; ``tolerance`` is relative to the largest, for reordered float64 sums."""
    expected, found = before(*inputs), after(*inputs)
    assert len(expected) == len(found)
    for wanted, seen in zip(expected, found, strict=True):
        assert (seen.shape, seen.dtype) == (wanted.shape, wanted.dtype)
        assert float((seen - wanted).abs().max()) <= tolerance * max(float(wanted.abs().max()), 1.0)


def assert_untouched(module: fx.GraphModule, *inputs: torch.Tensor) -> None:
    """The pass rewrite does not fire."""
    assert run_pass(module, rewrite, Stage.FLOAT).firings == 0
    assert operators(rewritten(module)) == operators(module)


class CheckedRun(fx.Interpreter):
    """Runs an integer graph and holds every node against its facts; keeps all values by node name."""

    def __init__(self, module: fx.GraphModule):
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[str, torch.Tensor] = {}

    def run_node(self, node: fx.Node):
        result = super().run_node(node)
        if isinstance(result, torch.Tensor):  # of several outputs each is checked where it is read
            facts = facts_of(node)
            assert result.dtype == torch.int32, node
            free = free_axis(node)
            assert all(axis == free or pair[0] == pair[1]
                       for axis, pair in enumerate(zip(result.shape, shape_of(node), strict=True))), node
            assert facts.value_range.precision <= facts.precision <= 32, (node, facts)
            low, high = int(result.min()), int(result.max())
            assert facts.value_range.minimum <= low and high <= facts.value_range.maximum, (node, facts, low, high)
            self.values[node.name] = result
        return result


@dataclass(frozen=True)
class IntegerModel:
    """A quantized graph with its scales, run on floats."""

    module: fx.GraphModule
    scales: list[float]
    thresholds: dict[str, float]

    def input_integers(self, x: torch.Tensor) -> torch.Tensor:
        facts = facts_of(input_nodes(self.module.graph)[0])
        return int_realize(x.to(torch.float64) * facts.scale, facts.precision)

    def seen(self, x: torch.Tensor) -> torch.Tensor:
        """What the integer model sees of a float input: the input rounded to its grid."""
        return self.input_integers(x).to(torch.float64) / facts_of(input_nodes(self.module.graph)[0]).scale

    def integers(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Integer outputs, with every node checked against its facts."""
        return CheckedRun(self.module).run(self.input_integers(x))

    def values(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Integers of all nodes by name."""
        run = CheckedRun(self.module)
        run.run(self.input_integers(x))
        return run.values

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The first output in float64."""
        return self.integers(x)[0].to(torch.float64) / self.scales[0]

    def node(self, operator: str, position: int = 0) -> fx.Node:
        """The ``position``-th node of a CVM operator."""
        found = [n for n in self.module.graph.nodes if n.op == "call_function" and n.target._opname == operator]
        return found[position]


def thresholds_of(module: fx.GraphModule, *batches: torch.Tensor) -> dict[str, float]:
    """Calibrated thresholds of a prepared graph."""
    calibrator = Calibrator(module)
    calibrator.run(list(batches), torch.device("cpu"))
    return calibrator.thresholds()


def integer_model(module: fx.GraphModule, data: torch.Tensor, thresholds: dict[str, float] | None = None,
                  **settings) -> IntegerModel:
    """Prepare, calibrate on ``data`` and quantize; the result is proven deployable at two batches."""
    prepared = prepare(module)
    thresholds = thresholds_of(prepared, data) if thresholds is None else thresholds
    integer_module, scales = quantize(prepared, thresholds, QuantizationSettings(**settings))
    assert_deployable(integer_module)
    assert len(scales) == len(output_nodes(integer_module.graph))
    return IntegerModel(integer_module, scales, thresholds)


def assert_deployable(module: fx.GraphModule, batches: Sequence[int] = (1, 3)) -> None:
    """Legal in the integer stage, and free of reasons against it in the runtime at each batch."""
    check_stage(module, Stage.INTEGER)
    data = input_nodes(module.graph)[0]
    for batch in batches:
        fixed = prepare_for_compile(module, {data.name: (batch, *shape_of(data)[1:])})
        verify(fixed)
        integers = torch.ones((batch, *shape_of(data)[1:]), dtype=torch.int32)
        for free, bound in zip(module(integers), fixed(integers), strict=True):
            assert torch.equal(free, bound)


def assert_within(found: torch.Tensor, expected: torch.Tensor, bound: torch.Tensor | float) -> None:
    """Same shape and ``|found - expected| <= bound`` everywhere, with 1e-9 for the float64 arithmetic of the test."""
    assert found.shape == expected.shape
    excess = (found.to(torch.float64) - expected.to(torch.float64)).abs() - torch.as_tensor(bound)
    assert float(excess.max()) <= 1e-9 * max(float(expected.abs().max()), 1.0)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative distance in the Euclidean norm."""
    assert found.shape == expected.shape
    return float((found.to(torch.float64) - expected).norm() / expected.norm())
