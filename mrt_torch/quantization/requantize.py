"""Which integers rescale a tensor: [right shift] -> multiply by frac -> right shift and clamp.

The CVM has no rational multiplication, so a tensor x with scale s becomes y with scale about t by

    u = clamp(round(x / 2**pre_shift))            only for wide x
    y = clamp(round(u * frac / 2**shift))         round half up, as cvm_right_shift does

with ``frac / 2**(pre_shift + shift)`` close to t / s. The original shifted x to the target width first, which costs
up to one bit of resolution; here the product uses all the bits a shift may read (31).
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Protocol

from mrt_torch.cvm.interval import bits_for, precision_range
from mrt_torch.errors import InvalidArgumentError

PRODUCT_BITS = 31           # widest input for which the CPU and FORMAL back ends shift alike
LARGEST_SHIFT = 30          # widest shift on which they agree
LARGEST_MISMATCH = 2.0 ** -10  # of the scales of tensors that are added
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


class RequantizationRule(Protocol):
    """Chooses the integers of one requantization; ``choose_rescaling`` is the built-in rule.

    A rule of your own is given to ``MRT.set_requantization``. Its ``ratio`` need not be met exactly, because the scale
    of the result follows from the ``ratio`` of the Rescaling; but values beyond ``target_bits`` saturate, and tensors
    that are added, concatenated or compared share a scale, which must be met within 2**-10 of it, or one unit.
    """

    def __call__(self, ratio: float, width: int, target_bits: int, guard_bits: int) -> Rescaling:
        """The Rescaling by about ``ratio > 0``.

        Args:
            ratio: scale of the result over scale of the tensor.
            width: bits of the tensor's values, 1 to 32.
            target_bits: bits of the result.
            guard_bits: ``QuantizationSettings.shift_bits``.
        """


def check_rescaling(rescaling: Rescaling, width: int) -> Rescaling:
    """The rescaling of a tensor of ``width`` bits, if the runtime computes it without an overflow.

    Raises:
        InvalidArgumentError: the rule that chose it gave something else.
    """
    why = None
    if not isinstance(rescaling, Rescaling):
        why = f"saw {rescaling!r:.80}"
    elif any(isinstance(value, bool) or not isinstance(value, int) for value in astuple(rescaling)):
        why = f"{rescaling} holds something else than integers"
    elif not (0 <= rescaling.pre_shift <= LARGEST_SHIFT and 0 <= rescaling.shift <= LARGEST_SHIFT):
        why = f"the shifts of {rescaling} are not in 0..{LARGEST_SHIFT}"
    elif rescaling.frac < 1:
        why = f"the factor of {rescaling} is not positive"
    elif rescaling.width < width - rescaling.pre_shift:
        why = f"{rescaling} leaves fewer bits than the {width} - {rescaling.pre_shift} of the tensor"
    elif rescaling.frac > 1 and rescaling.width + bits_for(rescaling.frac) > PRODUCT_BITS:
        why = f"the product of {rescaling} may exceed {PRODUCT_BITS} bits"
    if why:
        raise InvalidArgumentError("a requantization rule must return a Rescaling that fits 32 bits", why=why,
                                   remedy="see mrt_torch.quantization.requantize, or use its choose_rescaling")
    return rescaling


def check_shared_scale(seen: float, wanted: float, largest: float, where: str) -> None:
    """Raise where a rule missed the scale that tensors share by so much that it moves their ``largest`` integer.

    Raises:
        InvalidArgumentError: the scales are more than 2**-10 apart, and more than a unit at the largest integer.
    """
    mismatch = abs(seen / wanted - 1)
    if mismatch > LARGEST_MISMATCH and mismatch * largest > 1:
        raise InvalidArgumentError("the requantization rule misses a scale that tensors share", where=where,
                                   why=f"wanted {wanted}, saw {seen}",
                                   remedy="let the rule meet the ratio within 2**-10")


def choose_rescaling(ratio: float, width: int, target_bits: int, guard_bits: int) -> Rescaling:
    """Rescaling by about ``ratio > 0`` of a tensor of ``width`` bits to ``target_bits`` bits.

    The tensor keeps ``guard_bits`` more than the target (its own rounding then weighs ``2**-(guard_bits + 1)`` of a
    unit of the result) as long as the fraction has its 12 bits; the fraction takes all the bits that are left.
    """
    mantissa, exponent = math.frexp(ratio)
    if mantissa == 0.5 and 0 <= 1 - exponent <= LARGEST_SHIFT:  # a power of two is one shift, with one rounding
        return Rescaling(0, width, 1, 1 - exponent)
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
