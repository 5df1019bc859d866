"""CVM operators that narrow values: clamps and shifts with rounding."""

from __future__ import annotations

import torch

from mrt_torch.cvm.attribute_text import boolean, integer, reader, unused, write
from mrt_torch.cvm.interval import Interval, bits_for, precision_range
from mrt_torch.cvm.operator import OPERATORS, Call, CvmOperator
from mrt_torch.cvm.shape_rules import require, same_shape

LARGEST = 2 ** 31 - 1
# The CPU back end returns x >> 31 unclamped from shift 31 on, FORMAL the formula: keep to what both compute.
LARGEST_COMMON_SHIFT = 30
WIDEST_COMMON_SHIFT_INPUT = 31


def _clamp_to_precision(values: torch.Tensor, precision: int) -> torch.Tensor:
    bound = precision_range(precision)
    return values.clamp(-bound, bound)


def cvm_clip(data: torch.Tensor, *, precision: int) -> torch.Tensor:
    """``clamp(x, -R, R)`` with ``R = 2**(precision - 1) - 1``."""
    return _clamp_to_precision(data, precision)


def cvm_right_shift(data: torch.Tensor, *, precision: int, shift_bit: int) -> torch.Tensor:
    """``clamp(floor(x / 2**shift_bit + 1/2), -R, R)``: ties go to plus infinity.

    Computed as ``((x >> (shift_bit - 1)) + 1) >> 1``, which cannot overflow for inputs of up to 31 bits.
    """
    return _clamp_to_precision(((data >> (shift_bit - 1)) + 1) >> 1, precision)


def cvm_left_shift(data: torch.Tensor, *, precision: int, shift_bit: int) -> torch.Tensor:
    """``clamp(x * 2**shift_bit, -R, R)``."""
    return _clamp_to_precision(data << shift_bit, precision)


def clip(data: torch.Tensor, *, a_min: int, a_max: int) -> torch.Tensor:
    """``clamp(x, a_min, a_max)``."""
    return data.clamp(a_min, a_max)


def _clamped_shape(shapes, attributes):
    precision, shift = attributes["precision"], attributes.get("shift_bit", 1)
    require(1 <= precision <= 32 and 1 <= shift <= 32, "precision and shift_bit are in 1..32",
            f"precision {precision}, shift_bit {shift}")
    return same_shape(shapes, attributes)


def _clip_to_precision_range(call: Call) -> Interval:
    bound = precision_range(call.attributes["precision"])
    return call.operands[0].value_range.clamp(-bound, bound)


def _precision_limits(call: Call) -> list[str]:
    precision = call.attributes["precision"]
    return [] if 1 <= precision <= 32 else [f"precision {precision} is not in 1..32"]


def _right_shift_range(call: Call) -> Interval:
    shift, bound = call.attributes["shift_bit"], precision_range(call.attributes["precision"])
    values = call.operands[0].value_range
    low, high = (((v >> (shift - 1)) + 1) >> 1 for v in (values.minimum, values.maximum))
    return Interval(low, high).clamp(-bound, bound)


def _right_shift_limits(call: Call) -> list[str]:
    reasons = _precision_limits(call)
    shift, width = call.attributes["shift_bit"], call.operands[0].precision
    if not 1 <= shift <= LARGEST_COMMON_SHIFT:
        reasons.append(f"shift_bit {shift} is not in 1..{LARGEST_COMMON_SHIFT}, where all back ends agree")
    if width > WIDEST_COMMON_SHIFT_INPUT:
        reasons.append(f"the input has {width} bits; back ends agree up to {WIDEST_COMMON_SHIFT_INPUT}")
    return reasons


def _left_shift_range(call: Call) -> Interval:
    factor, bound = 1 << call.attributes["shift_bit"], precision_range(call.attributes["precision"])
    values = call.operands[0].value_range
    return Interval(values.minimum * factor, values.maximum * factor).clamp(-bound, bound)


def _left_shift_limits(call: Call) -> list[str]:
    reasons = ["the CPU back end fails on every cvm_left_shift: multiply by a constant power of two instead"]
    shift, width = call.attributes["shift_bit"], call.operands[0].precision
    if not 1 <= shift <= 32 or width + shift > 32:
        reasons.append(f"shift_bit {shift} is not in 1..32, or with the input's {width} bits exceeds 32")
    return reasons + _precision_limits(call)


def _clip_limits(call: Call) -> list[str]:
    low, high = call.attributes["a_min"], call.attributes["a_max"]
    if not -LARGEST <= low < high <= LARGEST:
        return [f"a_min {low} and a_max {high} do not satisfy -{LARGEST} <= a_min < a_max <= {LARGEST}"]
    return []


def _write_all(call: Call) -> dict[str, str]:
    return write(**call.attributes)


def _write_signed(call: Call) -> dict[str, str]:
    return write(**call.attributes, is_sign=True)


# The runtime parses is_sign and ignores it: it always clamps to the symmetric signed range.
_is_sign = unused(boolean(True))

OPERATORS.register(CvmOperator(
    name="cvm_clip", schema="(Tensor data, *, int precision) -> Tensor", kernel=cvm_clip,
    output_shape=_clamped_shape, precision=lambda call: call.attributes["precision"],
    value_range=_clip_to_precision_range, limits=_precision_limits, write_attributes=_write_signed,
    read_attributes=reader("cvm_clip", precision=integer(), is_sign=_is_sign), in_place=True,
    mxnet_name="cvm_clip"))

OPERATORS.register(CvmOperator(
    name="cvm_right_shift", schema="(Tensor data, *, int precision, int shift_bit) -> Tensor",
    kernel=cvm_right_shift, output_shape=_clamped_shape, precision=lambda call: call.attributes["precision"],
    value_range=_right_shift_range, limits=_right_shift_limits, write_attributes=_write_signed,
    read_attributes=reader("cvm_right_shift", precision=integer(), shift_bit=integer(), is_sign=_is_sign),
    in_place=True, mxnet_name="cvm_right_shift"))

OPERATORS.register(CvmOperator(
    name="cvm_left_shift", schema="(Tensor data, *, int precision, int shift_bit) -> Tensor",
    kernel=cvm_left_shift, output_shape=_clamped_shape, precision=lambda call: call.attributes["precision"],
    value_range=_left_shift_range, limits=_left_shift_limits, write_attributes=_write_signed,
    read_attributes=reader("cvm_left_shift", precision=integer(), shift_bit=integer(), is_sign=_is_sign),
    in_place=True, mxnet_name="cvm_left_shift"))

OPERATORS.register(CvmOperator(
    name="clip", schema="(Tensor data, *, int a_min, int a_max) -> Tensor", kernel=clip,
    output_shape=same_shape,
    # The runtime counts one bit too many where the bound is 2**k - 1: bits of (bound + 1), and a sign.
    precision=lambda call: bits_for(max(abs(call.attributes["a_min"]), abs(call.attributes["a_max"])) + 1),
    value_range=lambda call: call.operands[0].value_range.clamp(call.attributes["a_min"],
                                                                call.attributes["a_max"]),
    limits=_clip_limits, write_attributes=_write_all,
    read_attributes=reader("clip", a_min=integer(), a_max=integer()), in_place=True, mxnet_name="clip"))
