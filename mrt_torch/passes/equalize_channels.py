"""Divides the channels between two layers by factors, so that their ranges become alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import fx

from mrt_torch.calibration.features import ALFeature, Feature, MMLFeature
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.ops.activation import clip_bounds
from mrt_torch.ops.convolution import convolution_arguments
from mrt_torch.ops.explanation import Explanation
from mrt_torch.passes.channel_parameters import along_axis_1, set_operand
from mrt_torch.passes.channel_paths import TERMS, ChannelPath, aten, constant_operand, find_channel_paths
from mrt_torch.passes.channel_scale_choice import WORTHWHILE, choose_scales, scales_of
from mrt_torch.passes.channel_scales import PathRanges, scales_from_weights
from mrt_torch.passes.names import claim_name

RULE = "equalize_channels"
NEGLIGIBLE = 1e-3       # a factor that differs from one by less would not change a single bit
CLAMPS = ("bounds", "unreached", "keep")
WEIGHTS_ONLY_EXPONENT = 0.5

# By node name, what each position on axis 1 is divided by: (E,) float64.
ChannelScales = dict[str, torch.Tensor]


@dataclass
class Equalization:
    """What ``equalize_channels`` did.

    Attributes:
        scales: of each activation that changed, by fx node name: its old values over its new ones.
        uncalibrated: names of nodes that are new, because a clamp has a bound for each channel now.
        explanation: which layers fired, and why others did not.
    """

    scales: ChannelScales = field(default_factory=dict)
    uncalibrated: list[str] = field(default_factory=list)
    explanation: Explanation = field(default_factory=Explanation)


def equalize_channels(module: fx.GraphModule, features: Mapping[str, Feature] | None = None, *,
                      sample: torch.Tensor | None = None, share: float = 1 / 2, exponent: float | None = None,
                      weight_bits: int = 8, worthwhile: float = WORTHWHILE, clamps: str = "bounds",
                      report: Equalization | None = None) -> int:
    """Divide each output channel of a layer by s and multiply what reads it by s; returns how many layers fired.

        conv(W, b) ──> relu ──> conv(V)     =>     conv(W / s, b / s) ──> relu ──> conv(V * s)

    Equal but for the rounding of the weights, wherever only operators that commute with a factor stand between, and
    only convolutions and dense layers read the result: see ``channel_paths``. Which factors:

    * With ``features``, s = min(reach / share, 1): channels whose calibrated range is small beside that of the tensor
      they are rounded in are raised to a share of it, and so keep bits of it. The range of the tensor stays. Weights
      with a scale for each output channel make W / s free.
    * With an ``exponent`` a as well, s = r**a / w**(1 - a), where r is the channel's range and w the largest weight
      that reads it, relative to the largest product in the weight's row. a = 1 makes all ranges equal. On real
      networks that loses more to values beyond the calibrated ranges, which all channels then meet, than it gains.
    * With ``features`` and a ``sample``, the rule, of several shares, exponents and no factors at all, that gives the
      smallest error on examples that its ranges were not taken from, layer by layer: see ``choose_scales``.
    * Without any, s = r**a / w**(1 - a), a = 1/2 unless given, where r is the largest weight that makes the channel,
      and w the largest one that reads it: data-free cross-layer equalization (Nagel et al. 2019), which is meant for
      weights with one scale for the tensor.

    Args:
        module: prepared float graph, edited in place; its tensors are not.
        features: of every activation by fx node name, with ranges for each channel (``MMLFeature``).
        sample: at least 8 examples of the graph's input; it takes about a dozen times their forward pass.
        share: of the tensor's range that a channel takes up at least, above 0, 1 at most.
        exponent: a, from 0 to 1.
        weight_bits: of the weights, where a sample is given.
        worthwhile: share of the error without factors that the error with them stays below, where a sample is given.
        clamps: what becomes of min(max(x, low), high), as of ReLU6, which does not commute: "bounds" gives each
            channel bounds of its own, which is exact and takes a maximum and two negations; "unreached" leaves out
            bounds that no calibrated value exceeds, and gives others as "bounds" does: equal on the calibration data
            only; "keep" leaves the layer before it as it is.
        report: is told what was done. Node names stay, and ``rescale_features`` brings calibrated features along.

    Raises:
        InvalidArgumentError: an exponent or a choice for clamps that there is not; "unreached" without features.
    """
    _check(features, sample, share, exponent, clamps)
    report = Equalization() if report is None else report
    found, declined = find_channel_paths(module)
    for layer, reason in declined.items():
        _decline(report, layer, reason)
    paths = []
    for path in found:
        reason = _unusable(path, features, clamps)
        if reason is None:
            paths.append(path)
        else:
            _decline(report, path.producer, reason)
    scales = _scales(module, paths, features, sample, share, exponent, weight_bits, worthwhile)
    changed = []
    for path, scale in zip(paths, scales, strict=True):
        if float((scale - 1).abs().max()) < NEGLIGIBLE:
            _decline(report, path.producer, "the factors that suit it best are ones")
        else:
            changed.append((path, scale))
            report.explanation.record(RULE, path.producer, True)
    _Writer(module, features, clamps, report).write(changed)
    return len(changed)


def rescale_features(features: Mapping[str, Feature], scales: ChannelScales) -> dict[str, Feature]:
    """The features of the equalized graph: ranges of channels over what the channels were divided by, exactly.

    Nodes that are new (``Equalization.uncalibrated``) have none; calibrate again where there are such.

    Raises:
        InvalidArgumentError: a feature of a scaled activation stands for the whole tensor, or for other channels.
    """
    return {name: _rescaled(name, feature, scales[name]) if name in scales else feature
            for name, feature in features.items()}


def _rescaled(name: str, feature: Feature, scale: torch.Tensor) -> Feature:
    ranges = feature.get_channel_ranges()
    if not isinstance(feature, (ALFeature, MMLFeature)) or len(ranges[0]) != len(scale):
        raise InvalidArgumentError("a feature cannot follow the factors of its channels", where=f"node '{name}'",
                                   why=f"saw {type(feature).__name__}, and {len(scale)} factors",
                                   remedy="calibrate the equalized graph, or use a feature with a range a channel")
    lows, highs = ((torch.tensor(side, dtype=torch.float64) / scale).tolist() for side in ranges)
    return type(feature)(highs) if isinstance(feature, ALFeature) else type(feature)(lows, highs)


def _check(features: Mapping[str, Feature] | None, sample: torch.Tensor | None, share: float, exponent: float | None,
           clamps: str) -> None:
    if exponent is not None and not 0 <= exponent <= 1 or not 0 < share <= 1:
        raise InvalidArgumentError("an exponent is from 0 to 1, and a share above 0 and 1 at most",
                                   where="equalize_channels", why=f"saw {exponent!r} and {share!r}",
                                   remedy="pass 1 to make ranges equal, and None or 1/2 for what is usual")
    if sample is not None and (features is None or exponent is not None):
        raise InvalidArgumentError("a sample chooses the factors that features give", where="equalize_channels",
                                   why="saw an exponent, or no features", remedy="pass features and no exponent")
    if clamps not in CLAMPS or clamps == "unreached" and features is None:
        raise InvalidArgumentError("clamps cannot be treated so", where="equalize_channels", why=f"saw {clamps!r}",
                                   remedy=f"choose one of {', '.join(CLAMPS)}; 'unreached' needs features")


def _decline(report: Equalization, layer: fx.Node, reason: str) -> None:
    report.explanation.give_reason(layer, reason)
    report.explanation.record(RULE, layer, False)


def _unusable(path: ChannelPath, features: Mapping[str, Feature] | None, clamps: str) -> str | None:
    clamped = next((node for node in path.owners if node.target is aten.clamp.default), None)
    if clamped is not None and clamps == "keep":
        return f"'{source_name(clamped)}' has bounds for all channels"
    for node in () if features is None else dict.fromkeys(layer.args[0] for layer in path.consumers):
        ranges = features[node.name].get_channel_ranges() if node.name in features else None
        if ranges is None or len(ranges[0]) != shape_of(node)[1]:
            return f"calibration gave '{source_name(node)}' no range for each channel"
    return None


def _scales(module: fx.GraphModule, paths: list[ChannelPath], features: Mapping[str, Feature] | None,
            sample: torch.Tensor | None, share: float, exponent: float | None, weight_bits: int, worthwhile: float
            ) -> list[torch.Tensor]:
    if features is None:
        return scales_from_weights(module, paths, WEIGHTS_ONLY_EXPONENT if exponent is None else exponent)
    choice = ("raised", share) if exponent is None else ("powered", exponent)
    choices = [choice] * len(paths) if sample is None else choose_scales(module, paths, sample, weight_bits, worthwhile)
    return [scales_of(PathRanges(module, path, features), choice) for path, choice in zip(paths, choices, strict=True)]


class _Writer:
    """Moves factors into the parameters of a graph, each of which is written once, as a new constant."""

    def __init__(self, module: fx.GraphModule, features: Mapping[str, Feature] | None, clamps: str,
                 report: Equalization):
        self._editor, self._graph = GraphEditor(module), module.graph
        self._features, self._clamps, self._report = features, clamps, report

    def write(self, changed: list[tuple[ChannelPath, torch.Tensor]]) -> None:
        outputs: dict[fx.Node, torch.Tensor] = {}
        values: dict[fx.Node, torch.Tensor] = {}
        readers: dict[fx.Node, None] = {}
        for path, scale in changed:
            outputs[path.producer] = scale
            readers |= dict.fromkeys(path.consumers)
            for node in path.owners:
                values[node] = values.get(node, 1.0) * path.expand(node, scale, 1.0)
        self._report.scales |= {node.name: scale for node, scale in values.items()}
        for layer in (node for node in list(self._graph.nodes) if node in outputs or node in readers):
            self._scale_layer(layer, outputs.get(layer), values[layer.args[0]] if layer in readers else None)
        for node, scale in values.items():
            if node.target in TERMS and constant_operand(node) is not None:
                self._scale_term(node, scale)
            elif node.target is aten.clamp.default and bool((scale != 1).any()):
                self._bound(node, scale)

    def _scale_layer(self, layer: fx.Node, made: torch.Tensor | None, read: torch.Tensor | None) -> None:
        weight = self._editor.tensor_of(layer.args[1])
        if read is not None:
            groups = convolution_arguments(layer)[6] if layer.target is aten.conv2d.default else 1
            rows = read.to(weight).reshape(groups, -1).repeat_interleave(len(weight) // groups, 0)
            weight = weight * rows.reshape(*rows.shape, *[1] * (weight.dim() - 2))
        if made is not None:
            weight = weight / made.to(weight).reshape(-1, *[1] * (weight.dim() - 1))
            if len(layer.args) > 2 and layer.args[2] is not None:
                bias = self._editor.tensor_of(layer.args[2])
                set_operand(self._editor, layer, 2, bias / made.to(bias))
        set_operand(self._editor, layer, 1, weight)

    def _scale_term(self, node: fx.Node, scale: torch.Tensor) -> None:
        constant = constant_operand(node)
        value = self._editor.tensor_of(constant)
        scaled = value / along_axis_1(scale.to(value), len(shape_of(node)))
        set_operand(self._editor, node, node.args.index(constant), scaled)

    def _bound(self, node: fx.Node, scale: torch.Tensor) -> None:
        """min(max(x, low / s), high / s), the minimum as -max(-x, -high / s), which the runtime has."""
        low, high = self._reached(node)
        column, name = along_axis_1(scale.to(node.meta["val"].dtype), len(shape_of(node))), node.name
        before = set(self._graph.nodes)
        with self._editor.before(node):
            value = node.args[0]
            if low == 0:
                value = self._editor.call(aten.relu.default, value)
            elif low > -math.inf:
                lowest = self._editor.constant(f"{name}_low", low / column)
                value = self._editor.call(aten.maximum.default, value, lowest)
            if high < math.inf:
                highest = self._editor.constant(f"{name}_high", -high / column)
                negated = self._editor.call(aten.neg.default, value)
                value = self._editor.call(aten.neg.default, self._editor.call(aten.maximum.default, negated, highest))
        self._editor.replace(node, value)
        if value.op == "call_function" and value not in before:
            claim_name(value, name)
        self._report.uncalibrated += [made.name for made in self._graph.nodes
                                      if made not in before and made.op == "call_function" and made is not value]

    def _reached(self, node: fx.Node) -> tuple[float, float]:
        """The bounds of a clamp that values reach, as far as calibration and the choice for clamps tell."""
        low, high = clip_bounds(node)
        feature = self._features.get(node.args[0].name) if self._clamps == "unreached" else None
        if feature is None:
            return low, high
        least, largest = feature.get_range()
        return low if least < low or low == 0 else -math.inf, high if largest > high else math.inf
