"""Chains of layers for the tests of passes that move factors and shifts of channels, in float64."""

from __future__ import annotations

from functools import partial

import torch
from torch import fx

from mrt_torch.calibration.features import Feature, MMLFeature
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.passes.absorb_high_biases import Absorption, absorb_high_biases
from mrt_torch.passes.equalize_channels import Equalization, equalize_channels
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw

ROUNDING = 1e-12  # of float64 sums in another order, relative


def conv(e: GraphEditor, x: fx.Node, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 0, groups: int = 1,
         bias: bool = True, seed: int = 1, spread: float = 1.0, name: str | None = None) -> fx.Node:
    """A convolution whose output channels differ by up to ``spread`` in magnitude."""
    shape = (outputs, shape_of(x)[1] // groups, kernel, kernel)
    magnitudes = spread ** draw(outputs, seed=seed + 100)
    weight = e.constant(f"w{seed}", draw(*shape, seed=seed) * magnitudes.reshape(-1, 1, 1, 1))
    offset = e.constant(f"b{seed}", draw(outputs, seed=seed + 50) * magnitudes) if bias else None
    return e.call(aten.conv2d.default, x, weight, offset, [stride] * 2, [padding] * 2, [1, 1], groups, name=name)


def linear(e: GraphEditor, x: fx.Node, outputs: int, seed: int = 9, name: str | None = None) -> fx.Node:
    """A dense layer with a bias."""
    weight = e.constant(f"w{seed}", draw(outputs, shape_of(x)[1], seed=seed))
    return e.call(aten.linear.default, x, weight, e.constant(f"b{seed}", draw(outputs, seed=seed + 50)), name=name)


def leaky(e: GraphEditor, x: fx.Node, slope: float = 0.1) -> fx.Node:
    """LeakyReLU as prepare leaves it."""
    negative = e.call(aten.relu.default, e.call(aten.neg.default, x))
    return e.call(aten.sub.Tensor, e.call(aten.relu.default, x), e.call(aten.mul.Scalar, negative, slope))


def features_of(module: fx.GraphModule, *batches: torch.Tensor) -> dict[str, Feature]:
    """Smallest and largest value of each channel of every activation, from all values kept in full."""
    values: dict[str, list[torch.Tensor]] = {}

    class Keeping(fx.Interpreter):
        def run_node(self, node: fx.Node):
            value = super().run_node(node)
            if node.op in ("placeholder", "call_function") and value.dim() > 1:
                values.setdefault(node.name, []).append(value.transpose(0, 1).flatten(1))
            return value

    for batch in batches:
        Keeping(module).run(batch)
    rows = {name: torch.cat(found, 1) for name, found in values.items()}
    return {name: MMLFeature(found.amin(1).tolist(), found.amax(1).tolist()) for name, found in rows.items()}


def equalized(module: fx.GraphModule, *arguments, **keywords) -> tuple[fx.GraphModule, Equalization, int]:
    """The equalized copy, its report, and how many layers fired."""
    report = Equalization()
    result = run_pass(module, partial(equalize_channels, features=arguments[0] if arguments else None, report=report,
                                      **keywords), Stage.FLOAT)
    return result.module, report, result.firings


def absorbed(module: fx.GraphModule, floors) -> tuple[fx.GraphModule, Absorption, int]:
    """The copy after absorption, its report, and how many layers fired."""
    report = Absorption()
    result = run_pass(module, partial(absorb_high_biases, floors=floors, report=report), Stage.FLOAT)
    return result.module, report, result.firings


def assert_equal_in_float(before: fx.GraphModule, after: fx.GraphModule, tolerance: float = ROUNDING) -> None:
    """Same outputs at batches 1 and 3."""
    shape = shape_of(next(node for node in before.graph.nodes if node.op == "placeholder"))
    for rows in (1, 3):
        assert_same_values(before, after, draw(rows, *shape[1:], seed=rows + 20, magnitude=3.0), tolerance=tolerance)


def reasons(report: Equalization | Absorption) -> list[str]:
    """Why layers were left as they are."""
    return [reason for rule in report.explanation.declined.values() for reason in rule.values()]


def node_named(module: fx.GraphModule, name: str) -> fx.Node:
    return next(node for node in module.graph.nodes if node.name == name)
