"""Tries factors for the channels of each path on examples that their ranges were not taken from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import fx

from mrt_torch.calibration.features import Feature, MMLFeature
from mrt_torch.cvm.interval import precision_range
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import shape_of
from mrt_torch.passes.channel_paths import ChannelPath, aten
from mrt_torch.passes.channel_scales import PathRanges

SHARES = (1 / 8, 1 / 4, 1 / 3, 1 / 2, 2 / 3)
EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
FEWEST_EXAMPLES = 8
WORTHWHILE = 0.9        # of the error without factors
OPERAND_BITS = 8

# A rule and its number: ("raised", share) or ("powered", exponent); None for no factors.
Choice = tuple[str, float] | None
CHOICES: tuple[Choice, ...] = (None, *(("raised", share) for share in SHARES),
                               *(("powered", exponent) for exponent in EXPONENTS))
# Where layers read channels apart: it leaves bits to small channels wherever all of a tensor share 16.
FREE: Choice = ("raised", 1 / 4)


def scales_of(ranges: PathRanges, choice: Choice) -> torch.Tensor:
    """The factors of a rule."""
    return torch.ones_like(ranges.magnitudes) if choice is None else getattr(ranges, choice[0])(choice[1])


def reads_channels_apart(layer: fx.Node) -> bool:
    """Whether each weight reads one channel, whose range is its own: any factor is absorbed."""
    return layer.target is aten.conv2d.default and shape_of(layer.args[1])[1] == 1 and \
        shape_of(layer.args[0])[1] > 1


def choose_scales(module: fx.GraphModule, paths: Sequence[ChannelPath], sample: torch.Tensor,
                  weight_bits: int, worthwhile: float = WORTHWHILE) -> list[Choice]:
    """For each path the rule whose factors give the layers that read it the smallest error.

    Ranges are measured on one half of the sample. On the other one each layer is computed with its operand in 8 bits
    of its tensor's range and its weights in ``weight_bits`` bits of each row's, and compared with float: mean square
    of the error beyond its mean, which bias correction takes away, over that of the result, added up over output
    channels. So what a range costs that is too tight for new data counts as well as the bits it saves. Then the halves
    change places. No factors are best where the error with others is not below ``worthwhile`` of that without.

    Raises:
        InvalidArgumentError: fewer than 8 examples.
    """
    if len(sample) < FEWEST_EXAMPLES:
        raise InvalidArgumentError("a choice needs 8 examples at least", where="equalize_channels",
                                   why=f"saw {len(sample)}", remedy="pass more, or no sample")
    halves = sample.chunk(2)
    sources = {layer.args[0] for path in paths for layer in path.consumers}
    errors = [torch.zeros(len(CHOICES), dtype=torch.float64) for _ in paths]
    with torch.no_grad():
        for measured, judged in (halves, halves[::-1]):
            measuring = _Measuring(module, sources)
            measuring.run(measured)
            trial = _Trial(module, paths, measuring.features, weight_bits)
            trial.run(judged)
            errors = [total + trial.errors[path.producer] for total, path in zip(errors, paths, strict=True)]
    return [_best(path, found, worthwhile) for path, found in zip(paths, errors, strict=True)]


def _best(path: ChannelPath, errors: torch.Tensor, worthwhile: float) -> Choice:
    if all(map(reads_channels_apart, path.consumers)):
        return FREE
    best = int(errors.argmin())
    return CHOICES[best] if float(errors[best]) < worthwhile * float(errors[0]) else None


class _Measuring(fx.Interpreter):
    """Keeps the ranges of some nodes' channels."""

    def __init__(self, module: fx.GraphModule, nodes: set[fx.Node]):
        super().__init__(module)
        self._nodes = nodes
        self.features: dict[str, Feature] = {}

    def run_node(self, node: fx.Node):
        value = super().run_node(node)
        if node in self._nodes:
            rows = value.transpose(0, 1).flatten(1)
            self.features[node.name] = MMLFeature(rows.amin(1).tolist(), rows.amax(1).tolist())
        return value


class _Trial(fx.Interpreter):
    """Runs the float graph, and beside it every layer that reads a path, quantized with the factors of each choice."""

    def __init__(self, module: fx.GraphModule, paths: Sequence[ChannelPath], features: Mapping[str, Feature],
                 weight_bits: int):
        super().__init__(module)
        self._weight_bits, self._features = weight_bits, features
        self.errors = {path.producer: torch.zeros(len(CHOICES), dtype=torch.float64) for path in paths}
        self._read: dict[fx.Node, list[tuple[ChannelPath, list[torch.Tensor]]]] = {}
        for path in paths:
            ranges = PathRanges(module, path, features)
            scales = [scales_of(ranges, choice) for choice in CHOICES]
            for layer in path.consumers:
                if not reads_channels_apart(layer):
                    self._read.setdefault(layer, []).append((path, scales))

    def run_node(self, node: fx.Node):
        for path, scales in self._read.get(node, ()):
            x, weight = (self.env[argument] for argument in node.args[:2])
            expected = _rows(node.target(x, weight, None, *node.args[3:]))
            power = expected.square().mean(1)
            sides = torch.tensor(self._features[node.args[0].name].get_channel_ranges(), dtype=torch.float64)
            for index, scale in enumerate(scales):
                factors = path.expand(node.args[0], scale, 1.0)
                found = _rows(self._quantized(node, x, weight, factors, sides / factors))
                error = (found - expected).var(1, correction=0) / power
                self.errors[path.producer][index] += float(error[power > 0].sum())
        return super().run_node(node)

    def _quantized(self, layer: fx.Node, x: torch.Tensor, weight: torch.Tensor, factors: torch.Tensor,
                   sides: torch.Tensor) -> torch.Tensor:
        low, high = min(float(sides[0].min()), 0.0), max(float(sides[1].max()), 0.0)
        operand = x / factors.to(x).reshape(1, -1, *[1] * (x.dim() - 2))
        if high > low:
            step = (high - low) / (2 * precision_range(OPERAND_BITS))
            operand = (operand / step).round().clamp(round(low / step), round(high / step)) * step
        groups = shape_of(layer.args[0])[1] // weight.shape[1]
        rows = factors.to(weight).reshape(groups, -1).repeat_interleave(len(weight) // groups, 0)
        weight = weight * rows.reshape(*rows.shape, *[1] * (weight.dim() - 2))
        steps = weight.flatten(1).abs().amax(1).clamp(min=1e-30) / precision_range(self._weight_bits)
        steps = steps.reshape(-1, *[1] * (weight.dim() - 1))
        return layer.target(operand, (weight / steps).round() * steps, None, *layer.args[3:])


def _rows(values: torch.Tensor) -> torch.Tensor:
    """(C, everything else) in float64."""
    return values.transpose(0, 1).flatten(1).to(torch.float64)
