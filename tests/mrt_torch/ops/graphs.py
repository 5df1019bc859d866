"""Small float graphs for the tests, and what became of them: rewritten, prepared, quantized and run node by node.

Graphs are in float64 unless a test says otherwise, so that the rounding of the reference does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import fx

from mrt_torch.calibration.calibrate import Calibrator
from mrt_torch.calibration.features import Feature
from mrt_torch.cvm import verify
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, input_nodes, output_nodes, shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage, check_stage
from mrt_torch.passes import fuse_transpose, prepare, prepare_for_compile, quantize, rewrite
from mrt_torch.quantization import QuantizationSettings, int_realize
from mrt_torch.quantization.calibrated import Calibrated
from mrt_torch.quantization.recipe import RECIPES

aten = torch.ops.aten
INPUT_NAMES = ("data", "second", "third")
# Per-channel weights and zero points, and MRT's one scale for each tensor.
both_recipes = pytest.mark.parametrize("recipe", ["default", "original"])
# Of its largest magnitude, what a tensor loses on the way from scales of its channels to one scale of 16 bits: half a
# unit, and the rounding of the fractions, the largest of which has 12 bits at least (2**-12 of what it multiplies). The
# others share its shift, so they lose no more where none has larger integers than that one; else as many times more.
UNIFORM_SHARE = 2.0 ** -16 + 2.0 ** -12


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
        return self.input_integers(x).to(torch.float64) / self.input_scale

    def integers(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Integer outputs, with every node checked against its facts."""
        return CheckedRun(self.module).run(self.input_integers(x))

    def values(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Integers of all nodes by name."""
        run = CheckedRun(self.module)
        run.run(self.input_integers(x))
        return run.values

    @property
    def input_scale(self) -> float:
        """Scale of the input."""
        return facts_of(input_nodes(self.module.graph)[0]).scale

    @property
    def output_error(self) -> float:
        """What the first output loses, in float, where it was brought from scales of its channels to one scale."""
        uniform = any(node.target is torch.ops.cvm.cvm_right_shift.default and facts_of(node).precision == 18
                      for node in self.module.graph.nodes)
        return UNIFORM_SHARE * 32767 / self.scales[0] if uniform else 0.0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The first output in float64."""
        return self.integers(x)[0].to(torch.float64) / self.scales[0]

    def node(self, operator: str, position: int = 0) -> fx.Node:
        """The ``position``-th node of a CVM operator."""
        found = [n for n in self.module.graph.nodes if n.op == "call_function" and n.target._opname == operator]
        return found[position]


def thresholds_of(module: fx.GraphModule, *batches: torch.Tensor) -> dict[str, float]:
    """Calibrated thresholds of a prepared graph."""
    return _calibrator(module, *batches).thresholds()


def calibrated_of(module: fx.GraphModule, *batches: torch.Tensor, clipped: bool = False, sampled: bool = False
                  ) -> Calibrated:
    """What calibration finds of a prepared graph: the extremes of every activation, so that nothing saturates.

    With ``clipped`` operands keep the range of least squared error; with ``sampled`` there is a sample, so biases are
    corrected. ``MRT.calibrate`` gives both.
    """
    calibrator = _calibrator(module, *batches)
    return Calibrated(calibrator.features(), calibrator.operand_features() if clipped else {},
                      calibrator.sample.tensor() if sampled else None)


def _calibrator(module: fx.GraphModule, *batches: torch.Tensor) -> Calibrator:
    calibrator = Calibrator(module)
    calibrator.run(list(batches), torch.device("cpu"))
    return calibrator


def integer_model(module: fx.GraphModule, data: torch.Tensor,
                  calibrated: Calibrated | Mapping[str, Feature | float] | None = None, recipe: str = "default",
                  **settings) -> IntegerModel:
    """Prepare, calibrate on ``data`` and quantize by a recipe; the result is proven deployable at two batches.

    Without ``calibrated`` it is ``calibrated_of(module, data)``.
    """
    prepared = prepare(module)
    known = Calibrated.of(calibrated_of(prepared, data) if calibrated is None else calibrated)
    chosen = QuantizationSettings(recipe=RECIPES[recipe], **settings)
    integer_module, scales = quantize(prepared, known, chosen)
    assert_deployable(integer_module)
    assert len(scales) == len(output_nodes(integer_module.graph))
    return IntegerModel(integer_module, scales, {name: f.get_threshold() for name, f in known.features.items()})


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


def weight_scales(weight: torch.Tensor, recipe: str, bits: int = 8) -> torch.Tensor:
    """Scales (O,) that fill ``bits`` bits with each output channel, or with the tensor, as the recipe has it."""
    magnitudes = weight.abs().flatten(1).amax(1)
    return (2 ** (bits - 1) - 1) / (magnitudes if recipe == "default" else magnitudes.max().expand_as(magnitudes))


def by_channel(values: torch.Tensor) -> torch.Tensor:
    """(O,) as (O, 1, 1), beside images."""
    return values.reshape(-1, 1, 1)


def assert_within(found: torch.Tensor, expected: torch.Tensor, bound: torch.Tensor | float) -> None:
    """Same shape and ``|found - expected| <= bound`` everywhere, with 1e-9 for the float64 arithmetic of the test."""
    assert found.shape == expected.shape
    excess = (found.to(torch.float64) - expected.to(torch.float64)).abs() - torch.as_tensor(bound)
    assert float(excess.max()) <= 1e-9 * max(float(expected.abs().max()), 1.0)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative distance in the Euclidean norm."""
    assert found.shape == expected.shape
    return float((found.to(torch.float64) - expected).norm() / expected.norm())
