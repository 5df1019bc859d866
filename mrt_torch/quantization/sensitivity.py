"""What the quantization of each convolution and dense layer costs at the outputs of the network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.live_values import LiveValues, Values
from mrt_torch.quantization.channels import along_channels
from mrt_torch.quantization.context import Held, Quantized

if TYPE_CHECKING:
    from mrt_torch.quantization.operands import Operand
    from mrt_torch.quantization.weighted_sum import WeightedSum


@dataclass(frozen=True)
class NodeSensitivity:
    """Noise that one convolution or dense layer brings, as power over that of the outputs; outputs count alike.

    Attributes:
        node: its fx name.
        name: its name in the user's model.
        operand: noise when only its data operand is quantized.
        weight: noise when only its weights are.
        cumulative: noise of its result in the integer graph, over the power of that result.
        share: of the multiply-accumulates of all convolutions and dense layers that are its own.
    """

    node: str
    name: str
    operand: float
    weight: float
    cumulative: float
    share: float

    @property
    def isolated(self) -> float:
        """Noise of operand and weights together."""
        return self.operand + self.weight


@dataclass(frozen=True)
class SensitivityTable:
    """The sensitivities of a network, worst first; it prints as a table in dB."""

    rows: tuple[NodeSensitivity, ...]

    def __iter__(self) -> Iterator[NodeSensitivity]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_json(self) -> list[dict[str, Any]]:
        """One object for each row; noises as ratios of powers, None for what was not measured."""
        rows = ({**asdict(row), "isolated": row.isolated} for row in self.rows)
        return [{key: None if value != value else value for key, value in row.items()} for row in rows]

    def __str__(self) -> str:
        width = max([len("node"), *(len(row.name) for row in self.rows)])
        lines = [f"{'node':<{width}}  isolated   operand   weights  cumulative   share"]
        lines += [f"{row.name:<{width}}  {decibels(row.isolated):8.1f}  {decibels(row.operand):8.1f}  "
                  f"{decibels(row.weight):8.1f}  {decibels(row.cumulative):10.1f}  {row.share:6.1%}"
                  for row in self.rows]
        return "\n".join(lines)


def decibels(noise: float) -> float:
    """Signal-to-noise ratio in dB of a noise power relative to the signal."""
    return math.inf if noise <= 0 else -10 * math.log10(noise)


def sensitivities(module: fx.GraphModule, weighted_sums: Mapping[fx.Node, WeightedSum], sample: torch.Tensor,
                  cumulative: Mapping[fx.Node, float] | None = None) -> SensitivityTable:
    """The sensitivity of every weighted sum of a float graph, worst first.

    Each is measured by itself: in the float graph only its operand, or only its weights, are rounded to what quantize
    chose, and the mean that this moves each channel by is taken off, as bias correction will. Costs about one forward
    pass of the sample for each of them.

    Args:
        module: the prepared float graph.
        weighted_sums: what quantize chose, by node.
        sample: examples of the float input.
        cumulative: what ``cumulative_noise`` found; NaN in the table without.
    """
    operations = {op: math.prod(shape_of(op)) * math.prod(sums.kernel.shape[1:]) for op, sums in weighted_sums.items()}
    total = sum(operations.values())
    live, found = LiveValues(module, sample), []
    with torch.no_grad():
        exact = live.outputs()
        for op in (node for node in module.graph.nodes if node in weighted_sums):
            noises = [_noise(exact, live.outputs(op, changed))
                      for changed in _changed(op, live.before(op), weighted_sums[op])]
            found.append(NodeSensitivity(op.name, source_name(op), *noises, (cumulative or {}).get(op, math.nan),
                                         operations[op] / total))
    return SensitivityTable(tuple(sorted(found, key=lambda row: (-row.isolated, row.node))))


def cumulative_noise(module: fx.GraphModule, integer_module: fx.GraphModule, held: Mapping[fx.Node, Held],
                     sample: torch.Tensor, integers: torch.Tensor) -> dict[fx.Node, float]:
    """Noise of the results of float nodes in the integer graph, over the power of each result.

    Args:
        module: the float graph.
        integer_module: its integers.
        held: what holds each float node that is asked for; those that are no longer in the integer graph are left out.
        sample: examples of the float input.
        integers: the same as the integer graph takes them.
    """
    exact, rounded = LiveValues(module, sample), LiveValues(integer_module, integers)
    living = set(integer_module.graph.nodes)
    order = {node: position for position, node in enumerate(integer_module.graph.nodes)}
    wanted = sorted((op for op in held if held[op].node in living), key=lambda op: order[held[op].node])
    places = {node: position for position, node in enumerate(module.graph.nodes)}
    floats = {}
    with torch.no_grad():
        for op in sorted(wanted, key=places.__getitem__):
            floats[op] = exact.of(op)
        found = {}
        for op in wanted:
            values = rounded.of(held[op].node).to(torch.float64)
            scale = held[op].scale if isinstance(held[op], Quantized) else along_channels(held[op].scales, values.dim())
            found[op] = _noise([floats.pop(op)], [values / scale])
    return found


def integers_of(data: Operand, x: torch.Tensor) -> torch.Tensor:
    """clamp(round(x * s) - z) + z of each group of channels: the values of ``x`` in units of the operand."""
    repeats = x.shape[1] // len(data.scales)
    scales, zeros = (along_channels(values.to(x.device, x.dtype).repeat_interleave(repeats), x.dim())
                     for values in (data.scales, data.zeros))
    return (x * scales).round().sub(zeros).clamp(-data.magnitude, data.magnitude) + zeros


def _changed(op: fx.Node, values: Values, sums: WeightedSum) -> tuple[torch.Tensor, torch.Tensor]:
    """Results of ``op`` with its operand rounded, and with its weights rounded."""
    x, weight = values[op.args[0]], values[op.args[1]]
    rest = [values[a] if isinstance(a, fx.Node) else a for a in op.args[2:]]
    each = sums.data.scales.repeat_interleave(x.shape[1] // len(sums.data.scales)).to(x.device, x.dtype)
    operand = integers_of(sums.data, x) / along_channels(each, x.dim())
    inputs = sums.data.scales.repeat_interleave(len(weight) // len(sums.data.scales))
    scales = (sums.scales / inputs).reshape([-1] + [1] * (weight.dim() - 1))
    kernel = (sums.whole_kernel / scales).to(weight.device, weight.dtype)
    exact = op.target(x, weight, *rest)
    return tuple(_same_mean(op.target(*operands, *rest), exact) for operands in ((operand, weight), (x, kernel)))


def _same_mean(found: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    axes = [axis for axis in range(found.dim()) if axis != 1]
    return found - (found - exact).mean(axes, keepdim=True)


def _noise(exact: list[torch.Tensor], found: list[torch.Tensor]) -> float:
    ratios = [float(((a - b).double() ** 2).sum() / (a.double() ** 2).sum().clamp(min=1e-300))
              for a, b in zip(exact, found, strict=True) if a.is_floating_point()]
    return sum(ratios) / max(len(ratios), 1)
