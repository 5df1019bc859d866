"""CVM operators that narrow values: clamps and shifts with rounding."""

from __future__ import annotations

import torch

from mrt_torch.cvm.attribute_text import boolean, integer, reader, unused, write
from mrt_torch.cvm.interval import Interval, bits_for, precision_range
from mrt_torch.cvm.operator import OPERATORS, Call, CvmOperator
from mrt_torch.cvm.shape_rules import require, same_shape

LARGEST = 2 ** 31 - 1


def _clamp_to_precision(values: torch.Tensor, precision: int) -> torch.Tensor:
    bound = precision_range(precision)
    return values.clamp(-bound, bound)


def cvm_clip(data: torch.Tensor, *, precision: int) -> torch.Tensor:
    """``clamp(x, -R, R)`` with ``R = 2**(precision - 1) - 1``."""
    return _clamp_to_precision(data, precision)


def cvm_right_shift(data: torch.Tensor, *, precision: int, shift_bit: int) -> torch.Tensor:
    """``clamp(floor(x / 2**shift_bit + 1/2), -R, R)``: ties go to plus infinity.

    Computed as ``((x >> (shift_bit - 1)) + 1) >> 1``, which overflows for shift_bit 1 and the largest int32 only.
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


def _shifted(value: int, shift: int) -> int:
    """The formula in int32 arithmetic, before clamping."""
    increased = (value >> (shift - 1)) + 1
    return (increased - 2 ** 32 if increased > LARGEST else increased) >> 1


def _right_shift_range(call: Call) -> Interval:
    shift, values = call.attributes["shift_bit"], call.operands[0].value_range
    bound = precision_range(call.attributes["precision"])
    ends = [_shifted(value, shift) for value in _monotonic_ends(values, shift)]
    return Interval(min(ends), max(ends)).clamp(-bound, bound)


def _monotonic_ends(values: Interval, shift: int) -> set[int]:
    """Where the shift of an interval has its extremes: at its ends, and beside the one value that overflows."""
    ends = {values.minimum, values.maximum}
    if shift == 1 and values.maximum == LARGEST > values.minimum:
        ends.add(LARGEST - 1)
    return ends


def _shift_bit_limits(call: Call) -> list[str]:
    shift = call.attributes["shift_bit"]
    return _precision_limits(call) + ([] if 1 <= shift <= 32 else [f"shift_bit {shift} is not in 1..32"])


def _right_shift_divergences(call: Call) -> list[str]:
    """Cases of the CPU kernel, beside zeros for 1 bit: x >> 31, unclamped, or compared with the bounds before."""
    shift, precision = call.attributes["shift_bit"], call.attributes["precision"]
    values, bound = call.operands[0].value_range, precision_range(precision)
    if precision == 1:
        return []
    if shift == 1 and values.maximum == LARGEST:
        return [f"{LARGEST} overflows for shift_bit 1: narrow the input to 31 bits"]
    ends = values.minimum, values.maximum
    if shift >= 31:
        decisive = ends if values.minimum >= 0 or values.maximum < 0 else (*ends, -1)
        agree = all(_shifted(value, shift) == value >> 31 for value in decisive)
        return [] if agree else [f"the CPU back end shifts by 31 without rounding for shift_bit {shift}"]
    if precision + shift >= 32 and max(abs(_shifted(value, shift)) for value in ends) > bound:
        return [f"the CPU back end does not clamp for precision {precision} and shift_bit {shift}: narrow the input "
                "to 31 bits"]
    return []


def _left_shift_range(call: Call) -> Interval:
    factor, bound = 1 << call.attributes["shift_bit"], precision_range(call.attributes["precision"])
    values = call.operands[0].value_range
    return Interval(values.minimum * factor, values.maximum * factor).clamp(-bound, bound)


def _left_shift_limits(call: Call) -> list[str]:
    shift, width = call.attributes["shift_bit"], call.operands[0].precision
    reasons = _shift_bit_limits(call)
    if width + shift > 32:
        reasons.append(f"the input's {width} bits and shift_bit {shift} exceed 32 bits")
    return reasons


def _left_shift_divergences(call: Call) -> list[str]:
    return ["the CPU back end fails on every cvm_left_shift: prepare_for_compile multiplies by a power of two instead"]


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
    value_range=_right_shift_range, limits=_shift_bit_limits, divergences=_right_shift_divergences,
    write_attributes=_write_signed,
    read_attributes=reader("cvm_right_shift", precision=integer(), shift_bit=integer(), is_sign=_is_sign),
    in_place=True, mxnet_name="cvm_right_shift"))

OPERATORS.register(CvmOperator(
    name="cvm_left_shift", schema="(Tensor data, *, int precision, int shift_bit) -> Tensor",
    kernel=cvm_left_shift, output_shape=_clamped_shape, precision=lambda call: call.attributes["precision"],
    value_range=_left_shift_range, limits=_left_shift_limits, divergences=_left_shift_divergences,
    write_attributes=_write_signed,
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
