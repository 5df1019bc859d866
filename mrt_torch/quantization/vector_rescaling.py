"""Which integers bring the channels of a tensor to scales of their own, and move them by a zero point.

As ``requantize`` does for one scale, but with a factor for each channel and one shift, because the CVM's shift has one
amount for a tensor:

    u = clamp(round(x / 2**pre_shift))                                only for wide x
    y = clamp(round((u * frac_c - zero_c * 2**shift) / 2**shift))     round half up, as cvm_right_shift does

A channel's ratio is ``frac_c / 2**(pre_shift + shift)``. All fractions share the shift of the largest one; what a
smaller one loses by it is, in units of the result, no more than what the largest one loses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mrt_torch.cvm.interval import bits_for, precision_range
from mrt_torch.quantization.requantize import LARGEST_SHIFT, PRODUCT_BITS

SMALLEST_FRACTION_BITS = 13


@dataclass(frozen=True)
class VectorRescaling:
    """See the module. ``width`` is the precision in bits of u; ``fracs`` and ``offsets`` are (C,) int64.

    ``offsets`` is ``zero << shift``.
    """

    pre_shift: int
    width: int
    fracs: torch.Tensor
    offsets: torch.Tensor
    shift: int

    @property
    def ratios(self) -> torch.Tensor:
        """Exact factors between output and input, (C,) float64."""
        return self.fracs.to(torch.float64) * 2.0 ** -(self.pre_shift + self.shift)


def choose_vector_rescaling(ratios: torch.Tensor, width: int, target_bits: int, guard_bits: int,
                            zeros: torch.Tensor) -> VectorRescaling:
    """Rescaling by about ``ratios`` (C,) > 0 of a tensor of ``width`` bits to ``target_bits`` bits around ``zeros``.

    The tensor keeps ``guard_bits`` more than the result has before its zero point is taken off, as long as the
    fractions have their 13 bits.
    """
    affine = bool((zeros != 0).any())
    reach = bits_for(precision_range(target_bits) + int(zeros.abs().max()))
    kept = max(min(width, reach + guard_bits, PRODUCT_BITS - SMALLEST_FRACTION_BITS), 2)
    pre_shift = min(max(width - kept, 0), LARGEST_SHIFT)
    kept = max(width - pre_shift, 2)
    largest = precision_range(PRODUCT_BITS - kept - int(affine))
    scaled = ratios * 2.0 ** pre_shift
    _, exponent = math.frexp(float(scaled.max()))
    shift = min(max(bits_for(largest) - 1 - exponent, 0), LARGEST_SHIFT)
    highest_zero = int(zeros.abs().max())
    while shift and (round(math.ldexp(float(scaled.max()), shift)) > largest
                     or highest_zero << shift > precision_range(PRODUCT_BITS - 1)):
        shift -= 1
    fracs = (scaled * 2.0 ** shift).round().clamp(1, largest).to(torch.int64)
    while shift and not bool((fracs % 2).any()):
        fracs, shift = fracs // 2, shift - 1
    if bool((fracs == 1).all()) and not affine and pre_shift + shift <= LARGEST_SHIFT:
        return VectorRescaling(0, width, fracs, zeros * 0, pre_shift + shift)
    return VectorRescaling(pre_shift, kept, fracs, zeros << shift, shift)
