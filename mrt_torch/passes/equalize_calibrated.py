"""Equalizes the channels of a graph that was calibrated, and brings its features along."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch
from torch import fx

from mrt_torch.calibration.features import Feature, MMLFeature
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.free_axis import is_batch_free
from mrt_torch.graph.live_values import LiveValues
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.passes.channel_scale_choice import FEWEST_EXAMPLES
from mrt_torch.passes.equalize_channels import Equalization, equalize_channels, rescale_features
from mrt_torch.quantization.calibrated import Calibrated

# A quarter of the error: what is gained on the sample by less is lost again where new data exceed its ranges.
WORTHWHILE = 1 / 4


def equalize_calibrated(module: fx.GraphModule, calibrated: Calibrated, weight_bits: int
                        ) -> tuple[fx.GraphModule, Calibrated]:
    """A copy of the graph whose channels ``equalize_channels`` scaled, and what calibration would find of it.

    The factors are chosen on the sample. Ranges of channels and groups are divided by them; the range of a whole tensor
    stays, as its largest channels do; what is new because of a clamp is measured on the sample. Without a sample of 8
    examples, or where the batch is not free, or not on axis 0, both are returned as they are.
    """
    sample = calibrated.sample
    on_axis_0 = all(facts_of(node).batch_axis == 0 for node in input_nodes(module.graph))
    if sample is None or not is_batch_free(module, on_any_axis=True) or not on_axis_0 or len(sample) < FEWEST_EXAMPLES:
        return module, calibrated
    report = Equalization()

    def equalize(graph: fx.GraphModule) -> int:
        return equalize_channels(graph, calibrated.features, sample=sample, weight_bits=weight_bits,
                                 worthwhile=WORTHWHILE, report=report)

    result = run_pass(module, equalize, Stage.FLOAT)
    if not result.firings:
        return module, calibrated
    features = rescale_features(calibrated.features, report.scales)
    features |= _measured(result.module, report.uncalibrated, sample)
    operands = {key: _of_groups(key, feature, report.scales) for key, feature in calibrated.operand_features.items()}
    return result.module, replace(calibrated, features=features, operand_features=operands)


def _of_groups(key: tuple[str, int], feature: Feature, scales: dict[str, torch.Tensor]) -> Feature:
    """The range of each group over the factor that all its channels share; over the largest where they do not."""
    name, groups = key
    if groups == 1 or name not in scales:
        return feature
    factors = scales[name].reshape(groups, -1).amax(1).tolist()
    lows, highs = ([end / factor for end, factor in zip(ends, factors, strict=True)]
                   for ends in feature.get_channel_ranges())
    return MMLFeature(lows, highs)


def _measured(module: fx.GraphModule, names: Collection[str], sample: torch.Tensor) -> dict[str, Feature]:
    """Ranges of the channels of some nodes on the sample."""
    live, found = LiveValues(module, sample), {}
    with torch.no_grad():
        for node in module.graph.nodes:
            if node.name in names:
                rows = live.of(node).transpose(0, 1).flatten(1)
                found[node.name] = MMLFeature(rows.amin(1).tolist(), rows.amax(1).tolist())
    return found
