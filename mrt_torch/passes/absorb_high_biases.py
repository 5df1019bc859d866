"""Moves what a channel always exceeds into the bias of the next layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import fx

from mrt_torch.calibration.features import Feature, MMLFeature
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.facts import source_name
from mrt_torch.ops.convolution import convolution_arguments
from mrt_torch.ops.explanation import Explanation
from mrt_torch.passes.channel_parameters import set_operand
from mrt_torch.passes.channel_paths import ChannelPath, aten, find_channel_paths
from mrt_torch.passes.channel_shifts import Shift, shifts_along

RULE = "absorb_high_biases"
# Of a channel's largest weight and bias: what is lower is rounding.
NEGLIGIBLE = 1e-5


@dataclass
class Absorption:
    """What ``absorb_high_biases`` did.

    Attributes:
        shifts: of each activation that changed, by fx node name: its old values less its new ones, (E,) float64.
        explanation: which layers fired, and why others did not.
    """

    shifts: dict[str, torch.Tensor] = field(default_factory=dict)
    explanation: Explanation = field(default_factory=Explanation)


def absorb_high_biases(module: fx.GraphModule, floors: Mapping[str, torch.Tensor],
                       report: Absorption | None = None) -> int:
    """Lower the channels of a layer by c and raise the biases behind it to match; returns how many layers fired.

        conv(W, b) ──> relu ──> conv(V, d)     =>     conv(W, b - c) ──> relu ──> conv(V, d + sum(V * c))

    c = max(floor, 0), where a channel's values are taken to be at least ``floor``: relu(x - c) = relu(x) - c for
    x >= c. So it is equal, but for rounding, on data that keeps to the floors, as the calibration data does to its
    own minima, and an approximation beyond: a value x < c counts as c. What follows is read without the part that
    never changes, which leaves its 8 bits to the part that does.

    Max pooling, means, shapes, factors and LeakyReLU as relu(x) - a * relu(-x) may stand between. A layer behind it
    that pads with zeros, whose border sees fewer shifted values, keeps the one before as it is.
    (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1.3.)

    Args:
        module: prepared float graph, edited in place; its tensors are not.
        floors: (C,) of the outputs of convolutions and dense layers, by fx node name: ``lowest_values`` or
            ``likely_lowest_values``. Layers without keep theirs.
        report: is told what was done. Node names stay, and ``shift_features`` brings calibrated features along.

    Raises:
        InvalidArgumentError: floors of as many channels as a layer does not have, or that are not finite.
    """
    report = Absorption() if report is None else report
    paths, declined = find_channel_paths(module)
    editor, firings = GraphEditor(module), 0
    for path in paths:
        found = _shifts(module, path, floors)
        if isinstance(found, str):
            declined[path.producer] = found
            continue
        _write(editor, path, found)
        for node, shift in found.items():
            report.shifts[node.name] = report.shifts.get(node.name, 0.0) + shift.amount
        report.explanation.record(RULE, path.producer, True)
        firings += 1
    for layer, reason in declined.items():
        report.explanation.give_reason(layer, reason)
        report.explanation.record(RULE, layer, False)
    return firings


def lowest_values(features: Mapping[str, Feature]) -> dict[str, torch.Tensor]:
    """Floors that calibration never saw anything below: its minima, (C,) float64 by node name."""
    ranges = {name: feature.get_channel_ranges() for name, feature in features.items()}
    return {name: torch.tensor(found[0], dtype=torch.float64) for name, found in ranges.items() if found is not None}


def likely_lowest_values(means: Mapping[str, torch.Tensor], deviations: Mapping[str, torch.Tensor],
                         count: float = 3.0) -> dict[str, torch.Tensor]:
    """Floors mean - count * deviation of each channel, which few values of a bell curve are below (3: 1 in 741)."""
    return {name: mean.to(torch.float64) - count * deviations[name].to(torch.float64) for name, mean in means.items()}


def shift_features(features: Mapping[str, Feature], shifts: Mapping[str, torch.Tensor]) -> dict[str, Feature]:
    """The features of the graph after the pass: ranges of channels less their shifts, exactly.

    Raises:
        InvalidArgumentError: the feature of an activation that moved has no minimum and maximum for each channel.
    """
    moved = {name: shift for name, shift in shifts.items() if name in features and bool((shift != 0).any())}
    return {name: _shifted(name, feature, moved[name]) if name in moved else feature
            for name, feature in features.items()}


def _shifted(name: str, feature: Feature, shift: torch.Tensor) -> Feature:
    if not isinstance(feature, MMLFeature) or len(feature.minima) != len(shift):
        raise InvalidArgumentError("a feature cannot follow the shifts of its channels", where=f"node '{name}'",
                                   why=f"saw {type(feature).__name__}, and {len(shift)} shifts",
                                   remedy="calibrate the graph after the pass, or use MMLFeature")
    return type(feature)(*((torch.tensor(side, dtype=torch.float64) - shift).tolist() for side in feature.get()))


def _shifts(module: fx.GraphModule, path: ChannelPath, floors: Mapping[str, torch.Tensor]
            ) -> dict[fx.Node, Shift] | str:
    floor = floors.get(path.producer.name)
    if floor is None:
        return "it has no floors"
    if floor.shape != (path.channels,) or not bool(torch.isfinite(floor).all()):
        raise InvalidArgumentError("floors are a finite number for each channel",
                                   where=f"node '{path.producer.name}'",
                                   why=f"saw {tuple(floor.shape)} for {path.channels} channels",
                                   remedy="take them from lowest_values of this graph's features")
    floor = floor.to(torch.float64)
    floor = torch.where(floor > NEGLIGIBLE * _magnitudes(module, path.producer), floor, 0.0)
    if not bool((floor > 0).any()):
        return "no channel stays above zero"
    shifts = shifts_along(module, path, floor)
    for layer in path.consumers if not isinstance(shifts, str) else ():
        moved = bool((shifts[layer.args[0]].amount != 0).any())
        if moved and layer.target is aten.conv2d.default and convolution_arguments(layer)[4] != [0, 0]:
            return f"'{source_name(layer)}' pads with zeros, so that its border sees fewer values"
    return shifts


def _magnitudes(module: fx.GraphModule, layer: fx.Node) -> torch.Tensor:
    editor = GraphEditor(module)
    found = editor.tensor_of(layer.args[1]).flatten(1).abs().amax(1).to(torch.float64)
    bias = layer.args[2] if len(layer.args) > 2 else None
    return found if bias is None else torch.maximum(found, editor.tensor_of(bias).abs().to(torch.float64))


def _write(editor: GraphEditor, path: ChannelPath, shifts: dict[fx.Node, Shift]) -> None:
    _add_to_bias(editor, path.producer, -shifts[path.producer].amount)
    for layer in path.consumers:
        amount, weight = shifts[layer.args[0]].amount, editor.tensor_of(layer.args[1]).to(torch.float64)
        groups = convolution_arguments(layer)[6] if layer.target is aten.conv2d.default else 1
        rows = amount.reshape(groups, -1).repeat_interleave(len(weight) // groups, 0)
        _add_to_bias(editor, layer, (weight.flatten(2).sum(2) if weight.dim() > 2 else weight).mul(rows).sum(1))


def _add_to_bias(editor: GraphEditor, layer: fx.Node, addend: torch.Tensor) -> None:
    bias = layer.args[2] if len(layer.args) > 2 else None
    if bias is not None:
        before = editor.tensor_of(bias)
        set_operand(editor, layer, 2, (before.to(torch.float64) + addend).to(before.dtype))
        return
    with editor.before(layer):
        constant = editor.constant(f"{source_name(layer)}_bias", addend.to(layer.meta["val"].dtype))
    layer.args = (*layer.args[:2], constant, *layer.args[3:])
