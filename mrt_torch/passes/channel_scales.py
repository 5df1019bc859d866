"""Which factor each channel of a path is divided by: from weights alone, or from calibrated ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import fx

from mrt_torch.calibration.features import Feature
from mrt_torch.graph.editor import tensor_of
from mrt_torch.ops.convolution import convolution_arguments
from mrt_torch.passes.channel_paths import FOREIGN, ChannelPath

aten = torch.ops.aten
# Of one call: a channel that needs more was hardly seen, and would be clipped where it is larger.
LARGEST_FACTOR = 2.0 ** 12
MOST_SWEEPS = 300
CONVERGED = 1e-5
OVERRELAXATION = 1.5     # along chains of layers it takes a fifth of the sweeps
TINY = 1e-30
SIGNS = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)


def largest_by_column(module: fx.GraphModule, layer: fx.Node) -> torch.Tensor:
    """The largest magnitude of each weight (outputs, inputs) among its taps; zeros where groups do not meet."""
    weight = tensor_of(module, layer.args[1]).abs()
    columns = weight.flatten(2).amax(2) if weight.dim() > 2 else weight
    groups = convolution_arguments(layer)[6] if layer.target is aten.conv2d.default else 1
    if groups == 1:
        return columns
    outputs, inputs = columns.shape
    dense = columns.new_zeros(groups, outputs // groups, groups, inputs)
    dense[range(groups), :, range(groups)] = columns.reshape(groups, outputs // groups, inputs)
    return dense.reshape(outputs, groups * inputs)


def by_owner(values: torch.Tensor, owners: torch.Tensor, channels: int, reduce: str) -> torch.Tensor:
    """Columns (R, E) gathered by the channel that owns them: (R, channels + 1) float64, others' in the last one."""
    if len(owners) == channels and torch.equal(owners, torch.arange(channels)):
        return torch.cat([values, values.new_zeros(len(values), 1)], 1).to(torch.float64)
    bins = torch.where(owners == FOREIGN, channels, owners).expand(len(values), -1)
    found = values.new_zeros(len(values), channels + 1).scatter_reduce_(1, bins, values, reduce)
    return found.to(torch.float64)


def _safe_power(values: torch.Tensor, exponent: float) -> torch.Tensor:
    return torch.where(values > 0, values, torch.ones_like(values)) ** exponent


def scales_from_weights(module: fx.GraphModule, paths: Sequence[ChannelPath], exponent: float) -> list[torch.Tensor]:
    """s = r**a / w**(1 - a) of each path, (C,) float64, for r and w as they are when all paths are scaled.

    r_c is the largest weight that makes channel c, w_c the largest one that reads it; a = 1/2 makes r / w the same for
    all channels of a path. The geometric mean of s is 1. A layer may end one path and begin the next, so sweeps are
    repeated until nothing changes by more than 1e-5, 300 times at most. A channel without weights on one side stays
    as it is.
    (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction".)
    """
    layers = dict.fromkeys(layer for path in paths for layer in (path.producer, *path.consumers))
    peaks = {layer: largest_by_column(module, layer) for layer in layers}
    scales = [torch.ones(path.channels, dtype=torch.float64) for path in paths]
    for _ in range(MOST_SWEEPS):
        change = 0.0
        for path, scale in zip(paths, scales, strict=True):
            made = peaks[path.producer].amax(1).to(torch.float64)
            read = torch.zeros_like(made)
            for layer in path.consumers:
                columns = peaks[layer].amax(0, keepdim=True)
                read = torch.maximum(read, by_owner(columns, path.owners[layer.args[0]], path.channels, "amax")[0, :-1])
            factor = _safe_power(made, exponent) / _safe_power(read, 1 - exponent)
            alive = (made > 0) & (read > 0)
            # A factor for all channels changes nothing, and would wander along a chain of layers for many sweeps.
            factor = factor / factor[alive].log().mean().exp() if bool(alive.any()) else factor
            factor = torch.where(alive, factor, torch.ones_like(factor)) ** OVERRELAXATION
            factor = (scale * factor).clamp(1 / LARGEST_FACTOR, LARGEST_FACTOR) / scale
            change = max(change, float(factor.log().abs().max()))
            scale *= factor
            peaks[path.producer].div_(factor[:, None].to(peaks[path.producer].dtype))
            for layer in path.consumers:
                peaks[layer].mul_(path.expand(layer.args[0], factor, 1.0).to(peaks[layer].dtype))
        if change < CONVERGED:
            break
    return scales


class PathRanges:
    """Calibrated ranges of a path's channels where layers read them, and the factors that follow from them.

    Attributes:
        magnitudes: (C,) largest magnitude, over all positions and layers that read the channel.
        reach: (C,) largest share of its tensor's range, above or below zero, that the channel takes up; 0 to 1.
        read: (C,) largest weight that reads the channel, relative to the largest product in the weight's row.
    """

    def __init__(self, module: fx.GraphModule, path: ChannelPath, features: Mapping[str, Feature]):
        self.magnitudes, self.reach, self.read = torch.zeros(3, path.channels, dtype=torch.float64)
        self._largest = 0.0
        for source in dict.fromkeys(layer.args[0] for layer in path.consumers):
            sides = torch.tensor(features[source.name].get_channel_ranges(), dtype=torch.float64) * SIGNS
            sides = by_owner(sides.clamp(min=0), path.owners[source], path.channels, "amax")
            self.magnitudes = torch.maximum(self.magnitudes, sides.amax(0)[:-1])
            self.reach = torch.maximum(self.reach, (sides / sides.amax(1, keepdim=True).clamp(min=TINY)).amax(0)[:-1])
            self._largest = max(self._largest, float(sides.max()))
        for layer in path.consumers:
            sides = torch.tensor(features[layer.args[0].name].get_channel_ranges(), dtype=torch.float64) * SIGNS
            peaks = largest_by_column(module, layer)
            products = (peaks * sides.amax(0).clamp(min=0).to(peaks)).amax(1, keepdim=True)
            columns = torch.where(products > 0, peaks / products.clamp(min=TINY), 0.0).amax(0, keepdim=True)
            self.read = torch.maximum(self.read, by_owner(columns, path.owners[layer.args[0]], path.channels,
                                                          "amax")[0, :-1])

    def raised(self, share: float) -> torch.Tensor:
        """s = min(reach / share, 1): every channel takes up ``share`` of its tensor's range at least.

        The range of the tensor stays, and so do the channels that take up more. What is left above the others is room
        for values that calibration did not meet.
        """
        return self._bounded((self.reach / share).clamp(max=1.0))

    def powered(self, exponent: float) -> torch.Tensor:
        """s = r**a / w**(1 - a), r the magnitude, times what leaves the largest magnitude of the tensors as it is.

        A factor that an earlier layer has put on a channel does not count. a = 1 makes all channels as large as the
        largest one; smaller ones do so by their share in what is computed from them.
        """
        alive = self.magnitudes > 0
        if not bool(alive.any()):
            return torch.ones_like(self.magnitudes)
        magnitudes = torch.where(alive, self.magnitudes, torch.ones_like(self.magnitudes))
        read = torch.where(self.read > 0, self.read, 1 / magnitudes)
        scale = magnitudes ** exponent / read ** (1 - exponent)
        return self._bounded(scale * float((magnitudes / scale)[alive].max()) / self._largest)

    def _bounded(self, scale: torch.Tensor) -> torch.Tensor:
        """Within the largest factor.

        A channel that was never seen to differ from zero stays as it is, unless the weights that read it would be
        larger than those of all others, whose bits they would take.
        """
        alive = self.magnitudes > 0
        scale = scale.clamp(1 / LARGEST_FACTOR, LARGEST_FACTOR)
        largest = float((self.read * scale)[alive].max()) if bool(alive.any()) else 0.0
        silent = torch.where(self.read > largest, largest / self.read.clamp(min=TINY), 1.0)
        return torch.where(alive, scale, silent.clamp(min=1 / LARGEST_FACTOR))
