"""Pooling: max, average, sum and Lp, local and global."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx

from bridges.mxnet.converters.spatial import Layout, Stage, chain, spatial
from bridges.mxnet.node_view import NodeView
from bridges.mxnet.registry import register_converter
from mrt_torch.ops.mathematical_functions import cbrt

aten = torch.ops.aten
MAXIMA = {2: aten.max_pool2d.default, 3: aten.max_pool3d.default}
ROOTS: Mapping[int, list[Stage]] = {1: [], 2: [(aten.sqrt.default,)], 3: [(cbrt,)]}
_MOST_WINDOWS = 2**22  # a short text could ask for more than any memory holds
AVERAGES = {2: aten.avg_pool2d.default, 3: aten.avg_pool3d.default}


@dataclass(frozen=True)
class Windows:
    """Windows along one spatial axis; the last ones may lie beyond the input."""

    extent: int
    kernel: int
    stride: int
    pad: int
    full: bool

    @property
    def outputs(self) -> int:
        """Windows that fit; with the convention "full", one more where something is left over."""
        room = self.extent + 2 * self.pad - self.kernel
        return (-(-room // self.stride) if self.full else room // self.stride) + 1

    @property
    def rounds_up(self) -> bool:
        return self.full and (self.extent + 2 * self.pad - self.kernel) % self.stride > 0

    @property
    def starts(self) -> torch.Tensor:
        return torch.arange(self.outputs) * self.stride - self.pad

    @property
    def last_start(self) -> int:
        return (self.outputs - 1) * self.stride - self.pad

    @property
    def read_padding_only(self) -> bool:
        """Whether some window reads no input."""
        return self.pad >= self.kernel or self.last_start >= self.extent

    @property
    def after(self) -> int:
        """Padding behind the input that the last window needs."""
        return max(self.last_start + self.kernel - self.extent, 0)

    def counts(self, include_padding: bool) -> torch.Tensor:
        """What MXNet divides by: elements of each window, with the padding, never beyond it, or without."""
        ends = self.starts + self.kernel
        if include_padding:
            return (ends.clamp(max=self.extent + self.pad) - self.starts).to(torch.float64)
        return (ends.clamp(max=self.extent) - self.starts.clamp(min=0)).clamp(min=0).to(torch.float64)


@register_converter("Pooling")
def convert_pooling(view: NodeView) -> fx.Node:
    """2-D and 3-D pooling; 1-D too, with another spatial axis of length 1, removed again.

    The convention "valid" rounds the output size floor((x + 2 * pad - kernel) / stride) + 1 down, "full" up. Lp is the
    p-th root of the sum of x**p, without abs, as MXNet computes it. Channels-last data are transposed. Refused: the
    convention "same", which MXNet 1.9.1 cannot run either, and maxima of windows that lie in the padding alone.
    """
    attributes = view.attributes
    view.expect_inputs(1)
    rank = len(view.shape()) - 2
    if rank not in (1, 2, 3):
        raise view.unsupported(f"the input has shape {view.shape()}; one to three spatial axes are supported")
    layout = Layout.of(view, rank)
    kind = attributes.choice("pool_type", ("avg", "lp", "max", "sum"), "max")
    power = attributes.integer("p_value") if kind == "lp" else 1
    if power not in ROOTS:
        raise view.invalid(f"p_value is {power}; it is 1, 2 or 3")
    whole = attributes.boolean("global_pool", False)
    data = chain(view, view.inputs[0], *layout.opening, named=False)
    base = data
    for _ in range(power - 1):
        data = view.step(aten.mul.Tensor, data, base)
    kind, roots = "sum" if kind == "lp" else kind, ROOTS[power]
    if whole:
        return chain(view, data, _global_stage(kind, rank), *roots, *layout.closing)
    windows = _windows(view, layout, kind, rank)
    if rank == 1:
        data = view.step(aten.unsqueeze.default, data, 3)
        windows.append(Windows(1, 1, 1, 0, False))
    stages = (_maximum if kind == "max" else _average)(view, windows, kind)
    squeezing = [(aten.squeeze.dims, [3])] if rank == 1 else []
    return chain(view, data, *stages, *squeezing, *roots, *layout.closing)


@register_converter("_contrib_AdaptiveAvgPooling2D")
def convert_adaptive_average_pooling(view: NodeView) -> fx.Node:
    """The average over windows that cover the input; no size means 1, one number stands for both axes."""
    size = list(view.attributes.integers("output_size", ())) or [1]
    if len(view.shape()) != 4 or len(size) > 2 or any(length < 1 for length in size):
        raise view.invalid(f"output_size is {tuple(size)} for the input shape {view.shape()}")
    return view.call(aten.adaptive_avg_pool2d.default, view.inputs[0], size * 2 if len(size) == 1 else size)


def _global_stage(kind: str, rank: int) -> Stage:
    axes = list(range(2, rank + 2))
    if kind == "avg" and rank == 2:
        return aten.adaptive_avg_pool2d.default, [1, 1]
    target = {"max": aten.amax.default, "sum": aten.sum.dim_IntList, "avg": aten.mean.dim}[kind]
    return target, axes, True


def _windows(view: NodeView, layout: Layout, kind: str, rank: int) -> list[Windows]:
    attributes = view.attributes
    kernel = list(attributes.integers("kernel"))
    if len(kernel) != rank or any(length < 1 for length in kernel):
        raise view.invalid(f"kernel is {tuple(kernel)}; {rank} positive numbers are expected")
    stride, padding = spatial(view, "stride", rank, 1), spatial(view, "pad", rank, 0)
    convention = attributes.choice("pooling_convention", ("full", "same", "valid"), "valid")
    if convention == "same":
        raise view.unsupported("pooling_convention is same, which MXNet 1.9.1 cannot run",
                               "use valid or full with the padding you need")
    found = [Windows(*numbers, convention == "full") for numbers in
             zip(layout.shape(view)[2:], kernel, stride, padding)]
    if math.prod(axis.outputs for axis in found) > _MOST_WINDOWS:
        raise view.invalid(f"it has {' x '.join(str(axis.outputs) for axis in found)} windows; {_MOST_WINDOWS} at most "
                           "are supported")
    for axis in found:
        if axis.extent + 2 * axis.pad < axis.kernel:
            raise view.invalid(f"a window of {axis.kernel} is larger than {axis.extent} elements with padding "
                               f"{axis.pad}")
        if kind == "max" and axis.read_padding_only:
            raise view.unsupported(f"a window of {axis.kernel} with stride {axis.stride} and padding {axis.pad} lies "
                                   f"outside of the {axis.extent} elements: its maximum is the lowest float",
                                   "use the convention valid, or less padding")
    return found


def _maximum(view: NodeView, windows: list[Windows], kind: str) -> list[Stage]:
    """torch pads by half the kernel at most; repeating the first and last element beyond that changes no maximum."""
    padding = [min(axis.pad, axis.kernel // 2) for axis in windows]
    border = [axis.pad - pad for axis, pad in zip(windows, padding) for _ in (0, 1)]
    stages: list[Stage] = [(aten.pad.default, _last_axis_first(border), "replicate")] if any(border) else []
    kernel, stride = [axis.kernel for axis in windows], [axis.stride for axis in windows]
    ceil = any(axis.rounds_up for axis in windows)
    return [*stages, (MAXIMA[len(windows)], kernel, stride, padding, [1] * len(windows), ceil)]


def _average(view: NodeView, windows: list[Windows], kind: str) -> list[Stage]:
    """torch's pooling where it has it, else sums over an explicit border, times a map of 1 / count."""
    include = kind == "sum" or view.attributes.optional_boolean("count_include_pad") is not False
    kernel, stride, padding = ([getattr(axis, name) for axis in windows] for name in ("kernel", "stride", "pad"))
    target, wide = AVERAGES[len(windows)], any(2 * axis.pad > axis.kernel for axis in windows)
    outside = any(axis.read_padding_only for axis in windows)
    divisor = 1 if kind == "sum" else None
    if not wide and not outside:
        return [(target, kernel, stride, padding, any(axis.rounds_up for axis in windows), include, divisor)]
    border = _last_axis_first([amount for axis in windows for amount in (axis.pad, axis.after)])
    stages: list[Stage] = [(aten.constant_pad_nd.default, border, 0.0)] if any(border) else []
    stages.append((target, kernel, stride, [0] * len(windows), False, True, 1))
    if kind == "avg":
        stages.append(_shares(view, windows, include))
    return stages


def _last_axis_first(amounts: list[int]) -> list[int]:
    """Pairs of amounts in torch's order."""
    return [amount for axis in reversed(range(len(amounts) // 2)) for amount in amounts[2 * axis:2 * axis + 2]]


def _shares(view: NodeView, windows: list[Windows], include: bool) -> Stage:
    """A multiplication by 1 / count; windows in the padding alone average to 0."""
    rank, counts = len(windows), torch.ones((), dtype=torch.float64)
    for position, axis in enumerate(windows):
        counts = counts * axis.counts(include).reshape([-1 if i == position else 1 for i in range(rank)])
    if (include or rank == 3) and bool((counts == 0).any()):  # MXNet has a guard for one and two axes only
        raise view.unsupported("a window has no element: MXNet divides by zero there",
                               "use the convention valid, or less padding")
    if bool((counts == counts.flatten()[0]).all()) and float(counts.flatten()[0]) != 0:
        return aten.div.Scalar, float(counts.flatten()[0])
    shares = torch.where(counts == 0, 0.0, 1 / counts).to(view.dtype)
    return aten.mul.Tensor, view.constant(shares.reshape(1, 1, *shares.shape), "shares")
