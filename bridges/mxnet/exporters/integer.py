"""MXNet nodes that compute, in float64, the integers of one CVM operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridges.mxnet.symbol import Entry
from bridges.mxnet.symbol_builder import NodeWriter
from mrt_torch.cvm.movement import slice_bounds
from mrt_torch.cvm.operator import Call, CvmOperator
from mrt_torch.cvm.reduction import reduced_axes, starts_from_zero
from mrt_torch.cvm.shape_rules import elements

MAGNITUDE_BITS = 31  # |x| of an int32 that is not -2**31


@dataclass(frozen=True)
class IntegerCall(NodeWriter):
    """One call of a CVM operator and the means to write it.

    Attributes:
        row: the operator.
        call: operands, attributes and output shape.
        inputs: MXNet outputs of the operands.
    """

    row: CvmOperator
    call: Call
    inputs: Sequence[Entry]

    @property
    def attributes(self) -> Mapping[str, Any]:
        return self.call.attributes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first operand."""
        return tuple(self.call.operands[0].shape)


def write_plain(view: IntegerCall) -> Entry:
    """An operator of the same meaning, without attributes."""
    return view.result(view.row.mxnet_name, *view.inputs)


def write_conv2d(view: IntegerCall) -> Entry:
    """Convolution."""
    weight = view.call.operands[1].shape
    return view.result(
        "Convolution", *view.inputs, kernel=weight[2:], stride=view.attributes["strides"],
        dilate=view.attributes["dilation"], pad=view.attributes["padding"], num_filter=weight[0],
        num_group=view.attributes["groups"], no_bias=len(view.inputs) == 2, layout="NCHW")


def write_dense(view: IntegerCall) -> Entry:
    """FullyConnected."""
    return view.result("FullyConnected", *view.inputs, num_hidden=view.call.operands[1].shape[0],
                       no_bias=len(view.inputs) == 2, flatten=False)


def write_batch_dot(view: IntegerCall) -> Entry:
    """batch_dot, with the second operand transposed."""
    return view.result("batch_dot", *view.inputs, transpose_b=True)


def write_max_pool2d(view: IntegerCall) -> Entry:
    """Pooling; the convention "full" rounds the output size up as ceil_mode does."""
    padding = view.attributes["padding"]
    return view.result("Pooling", *view.inputs, kernel=view.attributes["pool_size"],
                       stride=view.attributes["strides"], pad=(padding[0], padding[-1]), pool_type="max",
                       pooling_convention="full" if view.attributes["ceil_mode"] else "valid")


def write_upsampling(view: IntegerCall) -> Entry:
    """UpSampling."""
    return view.result("UpSampling", *view.inputs, scale=view.attributes["scale"], sample_type="nearest",
                       num_args=1)


def write_clip(view: IntegerCall) -> Entry:
    """clip, or maximum and minimum where a bound is no float32, which clip keeps its bounds in."""
    low, high = view.attributes["a_min"], view.attributes["a_max"]
    if all(int(np.float32(bound)) == bound for bound in (low, high)):
        return view.result("clip", *view.inputs, a_min=low, a_max=high)
    return view.result("_minimum_scalar", view.part("low", "_maximum_scalar", *view.inputs, scalar=low),
                       scalar=high)


def write_custom(view: IntegerCall) -> Entry:
    """A Custom operator of `cvm_op`."""
    return view.result("Custom", *view.inputs, op_type=view.row.mxnet_name, **view.attributes)


def write_lut(view: IntegerCall) -> Entry:
    """cvm_lut, whose table has the shape (in_dim, 1)."""
    index, table = view.inputs
    length = elements(view.call.operands[1].shape)
    if tuple(view.call.operands[1].shape) != (length, 1):
        table = view.part("table", "Reshape", table, shape=(length, 1))
    return view.result("Custom", index, table, op_type=view.row.mxnet_name, in_dim=length)


def write_divide(view: IntegerCall) -> Entry:
    """``fix(a / (b + (b == 0))) * (b != 0)``.

    The rounded quotient of two int32 never rounds up to an integer that the true one misses: they differ by
    2**-31 at least, and float64 is finer.
    """
    dividend, divisor = view.inputs
    zero = view.part("is_zero", "_equal_scalar", divisor, scalar=0)
    quotient = view.part("quotient", "broadcast_div", dividend,
                         view.part("divisor", "elemwise_add", divisor, zero))
    truncated = view.part("truncated", "fix", quotient)
    return view.result("broadcast_mul", truncated,
                       view.part("is_not_zero", "_not_equal_scalar", divisor, scalar=0))


def write_bit_length(view: IntegerCall) -> Entry:
    """The number of powers of two not greater than ``|x|``, at least 1: exact, as no logarithm is."""
    magnitude = view.part("magnitude", "abs", *view.inputs)
    powers = view.constant("powers", 2.0 ** np.arange(MAGNITUDE_BITS))
    reached = view.part("reached", "broadcast_greater_equal",
                        view.part("column", "expand_dims", magnitude, axis=len(view.shape)), powers)
    count = view.part("count", "sum", reached, axis=(len(view.shape),), keepdims=False)
    return view.result("_maximum_scalar", count, scalar=1)


def write_reduction(view: IntegerCall) -> Entry:
    """sum or max over listed axes; over none, a copy. A max that starts from 0 is rectified."""
    axes = reduced_axes(len(view.shape), view.attributes["axis"], view.attributes["exclude"])
    if not axes:
        return view.result("Reshape", *view.inputs, shape=(-2,))
    if view.row.name == "max" and starts_from_zero(view.attributes["axis"], view.attributes["exclude"]):
        largest = view.part("largest", "max", *view.inputs, axis=tuple(axes), keepdims=view.attributes["keepdims"])
        return view.result("relu", largest)
    return view.result(view.row.mxnet_name, *view.inputs, axis=tuple(axes),
                       keepdims=view.attributes["keepdims"])


def write_reshape(view: IntegerCall) -> Entry:
    """Reshape, whose codes CVM shares; below -4 there are none, and the CVM skips them."""
    return view.result("Reshape", *view.inputs, shape=[code for code in view.attributes["shape"] if code >= -4])


def write_squeeze(view: IntegerCall) -> Entry:
    """squeeze; without axes it drops all of extent 1."""
    axes = tuple(axis % len(view.shape) for axis in view.attributes["axis"])
    return view.result("squeeze", *view.inputs, axis=axes or None)


def write_expand_dims(view: IntegerCall) -> Entry:
    """One expand_dims for each new axis."""
    axis = view.attributes["axis"] % (len(view.shape) + 1)
    entry = view.inputs[0]
    for _ in range(view.attributes["num_newaxis"] - 1):
        entry = view.part("axis", "expand_dims", entry, axis=axis)
    return view.result("expand_dims", entry, axis=axis)


def write_transpose(view: IntegerCall) -> Entry:
    """transpose."""
    rank = len(view.shape)
    axes = tuple(axis % rank for axis in view.attributes["axes"]) or tuple(reversed(range(rank)))
    return view.result("transpose", *view.inputs, axes=axes)


def write_concatenate(view: IntegerCall) -> Entry:
    """Concat."""
    return view.result("Concat", *view.inputs, dim=view.attributes["axis"] % len(view.shape),
                       num_args=len(view.inputs))


def write_repeat(view: IntegerCall) -> Entry:
    """repeat."""
    return view.result("repeat", *view.inputs, repeats=view.attributes["repeats"],
                       axis=view.attributes["axis"] % len(view.shape))


def write_tile(view: IntegerCall) -> Entry:
    """tile."""
    return view.result("tile", *view.inputs, reps=view.attributes["reps"])


def write_slice(view: IntegerCall) -> Entry:
    """slice; ends of an axis are None, which leaves the batch free, and trailing whole axes are left out."""
    given, bounds = [view.attributes[key] for key in ("begin", "end", "stride")], []
    for axis, extent in enumerate(view.shape):
        first, step, count = slice_bounds(extent, axis, *given)
        start, next_to_last = (0, 1) if step > 0 else (extent - 1, -1)
        beyond = not 0 <= first + count * step < extent
        end = None if beyond else first + (count - 1) * step + next_to_last
        bounds.append((None if first == start else first, end, step))
    while len(bounds) > 1 and bounds[-1] == (None, None, 1):
        bounds.pop()
    begin, end, step = zip(*bounds)
    return view.result("slice", *view.inputs, begin=begin, end=end, step=step)


def write_slice_like(view: IntegerCall) -> Entry:
    """slice_like."""
    axes = tuple(axis % len(view.shape) for axis in view.attributes["axis"])
    return view.result("slice_like", *view.inputs, axes=axes or None)


def write_take(view: IntegerCall) -> Entry:
    """take; without an axis, from the flattened tensor."""
    data, indices = view.inputs
    axis = view.attributes["axis"]
    if axis is None:
        data, axis = view.part("flat", "Reshape", data, shape=(-1,)), 0
    return view.result("take", data, indices, axis=axis % len(view.shape), mode="clip")


INTEGER_WRITERS: Mapping[str, Callable[[IntegerCall], Entry]] = {
    **dict.fromkeys(("relu", "abs", "negative", "elemwise_add", "elemwise_sub", "broadcast_add",
                     "broadcast_sub", "broadcast_mul", "broadcast_max", "broadcast_greater", "flatten",
                     "where"), write_plain),
    **dict.fromkeys(("cvm_clip", "cvm_right_shift", "cvm_left_shift"), write_custom),
    "conv2d": write_conv2d,
    "dense": write_dense,
    "batch_dot": write_batch_dot,
    "max_pool2d": write_max_pool2d,
    "upsampling": write_upsampling,
    "clip": write_clip,
    "get_valid_counts": write_custom,
    "non_max_suppression": write_custom,
    "cvm_lut": write_lut,
    "cvm_precision": write_bit_length,
    "broadcast_div": write_divide,
    "sum": write_reduction,
    "max": write_reduction,
    "reshape": write_reshape,
    "squeeze": write_squeeze,
    "expand_dims": write_expand_dims,
    "transpose": write_transpose,
    "concatenate": write_concatenate,
    "repeat": write_repeat,
    "tile": write_tile,
    "strided_slice": write_slice,
    "slice_like": write_slice_like,
    "take": write_take,
}
