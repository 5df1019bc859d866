"""Where a channel of a convolution's output goes: the operators that commute with a factor for each channel.

A path begins at a convolution or dense layer and ends at the convolutions and dense layers that read it. Between them
stand operators with f(s * x) = s * f(x) for every s > 0, channel by channel, so that a factor may be moved along it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import fx

from mrt_torch.graph.editor import shape_of, tensor_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.ops.convolution import computed_parameter, convolution_arguments
from mrt_torch.ops.padding import pad_amounts
from mrt_torch.ops.reduction import reduction_arguments
from mrt_torch.ops.slicing import slice_bounds
from mrt_torch.ops.transposition import PERMUTE, permutation_of

aten = torch.ops.aten
LAYERS = (aten.conv2d.default, aten.linear.default)
RANKS = {aten.conv2d.default: 4, aten.linear.default: 2}
FOREIGN = -1

# For each position on axis 1 of a node the producer's output channel it comes from, or FOREIGN: (E,) int64.
Owners = torch.Tensor
Known = Mapping[fx.Node, Owners]


@dataclass(frozen=True)
class ChannelPath:
    """Everything that a factor for each output channel of a layer reaches before other layers take it back.

    Attributes:
        producer: the convolution or dense layer whose C output channels they are.
        owners: for the producer and each node on the path, in the order of the graph, where each position on axis 1
            comes from.
        consumers: convolutions and dense layers that read the path, in the order of the graph.
    """

    producer: fx.Node
    owners: dict[fx.Node, Owners]
    consumers: tuple[fx.Node, ...]

    @property
    def channels(self) -> int:
        return shape_of(self.producer)[1]

    def expand(self, node: fx.Node, values: torch.Tensor, fill: float) -> torch.Tensor:
        """(C,) as one value for each position on axis 1 of a node of the path, ``fill`` for those of others."""
        owners = self.owners[node]
        return torch.where(owners == FOREIGN, torch.as_tensor(fill, dtype=values.dtype), values[owners])


def find_channel_paths(module: fx.GraphModule) -> tuple[list[ChannelPath], dict[fx.Node, str]]:
    """The paths of all layers, in the order of the graph; and the layers without one, with the reason."""
    paths, declined = [], {}
    for node in module.graph.nodes:
        if node.target in LAYERS and not keeps_channels(module, node):
            found = _path_from(module, node)
            if isinstance(found, ChannelPath):
                paths.append(found)
            else:
                declined[node] = found
    return paths, declined


def keeps_channels(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a layer treats all channels alike and apart, as average pooling written as a convolution does."""
    if node.target is not aten.conv2d.default or node.args[1].op != "get_attr":
        return False
    x, weight, bias, *_, groups = convolution_arguments(node)
    outputs, inputs = shape_of(weight)[:2]
    if bias is not None or inputs != 1 or groups != shape_of(x)[1] or outputs != groups or groups == 1:
        return False
    kernels = tensor_of(module, weight)
    return bool((kernels == kernels[:1]).all())


def _path_from(module: fx.GraphModule, producer: fx.Node) -> ChannelPath | str:
    if not _is_layer(producer):
        return "its weight or bias is computed, or it has an unusual number of axes"
    owners = {producer: torch.arange(shape_of(producer)[1])}
    consumers: list[fx.Node] = []
    pending = set(producer.users)
    reason = _unusual_batch(producer)
    while pending and reason is None:
        node = min(pending)
        pending.remove(node)
        if node.op == "output":
            reason = "it reaches an output of the graph"
        elif _is_layer(node) and node.args[0] in owners and not keeps_channels(module, node):
            consumers.append(node)
        else:
            followed = _follow(module, node, owners)
            if isinstance(followed, str):
                reason = f"'{source_name(node)}' ({node.target}) {followed}"
            elif bool((followed != FOREIGN).any()):
                owners[node] = followed
                pending |= set(node.users)
                reason = _unusual_batch(node)
    if reason is None and not consumers:
        reason = "nothing reads it"
    return ChannelPath(producer, owners, tuple(consumers)) if reason is None else reason


def _is_layer(node: fx.Node) -> bool:
    if node.target not in LAYERS or len(shape_of(node)) != RANKS[node.target]:
        return False
    return computed_parameter(node.args[1], node.args[2] if len(node.args) > 2 else None) is None


def _unusual_batch(node: fx.Node) -> str | None:
    """The bookkeeping of channels counts on the batch, if any, being axis 0."""
    return None if free_axis(node) in (0, None) else f"the batch of '{source_name(node)}' is not on axis 0"


def _follow(module: fx.GraphModule, node: fx.Node, known: Known) -> Owners | str:
    """Owners of a node that reads the path, or why the path cannot go on."""
    if node.target is aten.conv2d.default and keeps_channels(module, node):
        return known[node.args[0]]
    rule = RULES.get(node.target)
    return "does not commute with a factor for each channel" if rule is None else rule(node, known)


def _same(node: fx.Node, known: Known) -> Owners | str:
    """Operators of one tensor that work on every channel by itself."""
    return known[node.args[0]]


def _term(node: fx.Node, known: Known) -> Owners | str:
    """a + b, a - b, max(a, b), min(a, b): of two tensors of the path, or of one and a constant, which is scaled too."""
    if node.kwargs:
        return "has further arguments"
    constant = constant_operand(node)
    if constant is not None:
        other = node.args[0] if constant is node.args[1] else node.args[1]
        return known[other] if shape_of(other) == shape_of(node) else "broadcasts the tensor"
    first, second = (known.get(operand) for operand in node.args)
    if first is None or second is None:
        return "joins it with a tensor from elsewhere"
    same = shape_of(node.args[0]) == shape_of(node.args[1]) and torch.equal(first, second)
    return first if same else "joins different channels"


def _factor(node: fx.Node, known: Known) -> Owners | str:
    """x * b and x / b, where b is a constant or comes from elsewhere."""
    tensor, other = node.args
    if tensor not in known and node.target is aten.mul.Tensor:
        tensor, other = other, tensor
    if tensor not in known or other in known or node.kwargs:
        return "multiplies it with itself, or divides by it"
    return known[tensor] if shape_of(tensor) == shape_of(node) else "broadcasts the tensor"


def _reduction(node: fx.Node, known: Known) -> Owners | str:
    axes, _ = reduction_arguments(node)
    return known[node.args[0]] if min(axes) >= 2 and not node.kwargs else "reduces over channels"


def _reshape(node: fx.Node, known: Known) -> Owners | str:
    """Exact bookkeeping: each position on the new axis 1 must hold elements of one channel only."""
    before, after, owners = shape_of(node.args[0]), shape_of(node), known[node.args[0]]
    if len(after) < 2 or before[0] != after[0] or free_axis(node) != free_axis(node.args[0]):
        return "merges the batch with other axes"
    rows = owners.repeat_interleave(math.prod(before[2:])).reshape(after[1], math.prod(after[2:]))
    return rows[:, 0].contiguous() if bool((rows == rows[:, :1]).all()) else "mixes channels on axis 1"


def _permute(node: fx.Node, known: Known) -> Owners | str:
    return known[node.args[0]] if permutation_of(node)[:2] == [0, 1] else "moves the channels to another axis"


def _slice(node: fx.Node, known: Known) -> Owners | str:
    axis, start, end, step = slice_bounds(node)
    owners = known[node.args[0]]
    return owners[start:end:step] if axis == 1 else owners


def _pad(node: fx.Node, known: Known) -> Owners | str:
    if len(node.args) > 2 and node.args[2] != 0:
        return "pads with a number other than zero"
    return known[node.args[0]] if all(axis >= 2 for axis, *_ in pad_amounts(node)) else "pads the channels"


def _concatenate(node: fx.Node, known: Known) -> Owners | str:
    parts, axis = node.args[0], node.args[1] if len(node.args) > 1 else 0
    owners = [known.get(part, torch.full(shape_of(part)[1:2], FOREIGN)) for part in parts]
    axis %= len(shape_of(node))
    if axis == 1:
        return torch.cat(owners)
    if axis == 0 or any(not torch.equal(part, owners[0]) for part in owners):
        return "joins different channels"
    return owners[0]


def constant_operand(node: fx.Node) -> fx.Node | None:
    """The constant among the two operands of a sum, maximum or minimum; None where there is none."""
    return next((operand for operand in node.args[:2] if operand.op == "get_attr"), None)


TERMS = (aten.add.Tensor, aten.sub.Tensor, aten.maximum.default, aten.minimum.default)
RULES: dict[Callable, Callable[[fx.Node, Known], Owners | str]] = {
    **dict.fromkeys((aten.relu.default, aten.leaky_relu.default, aten.neg.default, aten.abs.default,
                     aten.dropout.default, aten.mul.Scalar, aten.div.Scalar, aten.clamp.default,
                     aten.max_pool2d.default, aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default,
                     aten.upsample_nearest2d.default, aten.upsample_bilinear2d.default), _same),
    **dict.fromkeys(TERMS, _term),
    **dict.fromkeys((aten.mul.Tensor, aten.div.Tensor), _factor),
    **dict.fromkeys((aten.mean.dim, aten.sum.dim_IntList, aten.amax.default, aten.amin.default), _reduction),
    **dict.fromkeys((aten.flatten.using_ints, aten.reshape.default, aten.unsqueeze.default, aten.squeeze.dims),
                    _reshape),
    PERMUTE: _permute, aten.slice.Tensor: _slice, aten.constant_pad_nd.default: _pad,
    aten.cat.default: _concatenate,
}
