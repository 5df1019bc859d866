"""Which integers rescale a tensor: [right shift] -> multiply by frac -> right shift and clamp.

The CVM has no rational multiplication, so a tensor x with scale s becomes y with scale about t by

    u = clamp(round(x / 2**pre_shift))            only for wide x
    y = clamp(round(u * frac / 2**shift))         round half up, as cvm_right_shift does

with ``frac / 2**(pre_shift + shift)`` close to t / s. The original shifted x to the target width first, which costs
up to one bit of resolution; here the product uses all the bits a shift may read (31).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mrt_torch.cvm.interval import precision_range

PRODUCT_BITS = 31           # widest input for which the CPU and FORMAL back ends shift alike
LARGEST_SHIFT = 30          # widest shift on which they agree
SMALLEST_FRACTION_BITS = 12  # keeps the scales of two added tensors within 2**-11 of each other


@dataclass(frozen=True)
class Rescaling:
    """``y = clamp(round(clamp(round(x / 2**pre_shift)) * frac / 2**shift))``; zero shifts and frac 1 emit no node.

    ``width`` is the precision in bits of the tensor that is multiplied.
    """

    pre_shift: int
    width: int
    frac: int
    shift: int

    @property
    def ratio(self) -> float:
        """Exact factor between output and input: ``frac * 2**-(pre_shift + shift)``."""
        return math.ldexp(self.frac, -(self.pre_shift + self.shift))


def choose_rescaling(ratio: float, width: int, target_bits: int, guard_bits: int) -> Rescaling:
    """Rescaling by about ``ratio > 0`` of a tensor of ``width`` bits to ``target_bits`` bits.

    The tensor keeps ``guard_bits`` more than the target (its own rounding then weighs ``2**-(guard_bits + 1)`` of a
    unit of the result) as long as the fraction has its 12 bits; the fraction takes all the bits that are left.
    """
    kept = min(width, target_bits + guard_bits, PRODUCT_BITS - SMALLEST_FRACTION_BITS)
    pre_shift = min(width - kept, LARGEST_SHIFT)
    kept = width - pre_shift
    frac, shift = _fraction(math.ldexp(ratio, pre_shift), PRODUCT_BITS - kept)
    if frac == 1 and pre_shift + shift <= LARGEST_SHIFT:
        return Rescaling(0, width, 1, pre_shift + shift)
    return Rescaling(pre_shift, kept, frac, shift)


def _fraction(ratio: float, bits: int) -> tuple[int, int]:
    """``(frac, shift)``, frac within ``bits`` signed bits and ``0 <= shift <= 30``, closest to ``frac / 2**shift``."""
    largest = precision_range(max(bits, 2))
    _, exponent = math.frexp(ratio)
    shift = min(max(bits - 1 - exponent, 0), LARGEST_SHIFT)
    frac = round(math.ldexp(ratio, shift))
    if frac > largest and shift > 0:
        shift -= 1
        frac = round(math.ldexp(ratio, shift))
    frac = max(min(frac, largest), 1)
    while shift > 0 and frac % 2 == 0:
        frac, shift = frac // 2, shift - 1
    return frac, shift
