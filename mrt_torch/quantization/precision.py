"""Number helpers of MRT under their documented names: bits, ranges, scales and rounding to integers."""

from __future__ import annotations

import math

import numpy as np
import torch

from mrt_torch.cvm.interval import bits_for, precision_range
from mrt_torch.errors import InvalidArgumentError, PrecisionError

ArrayLike = torch.Tensor | np.ndarray | float | int


def get_bit(value: ArrayLike) -> int:
    """Precision in bits that holds ``|value|`` (of an array: its largest): ``ceil(log2(|x| + 1)) + 1``."""
    magnitude = _largest_magnitude(value)
    if not math.isfinite(magnitude):
        raise PrecisionError("no precision holds a value that is not finite", why=f"saw {magnitude}",
                             remedy="look for NaN or infinity in the data")
    return bits_for(math.ceil(magnitude))


def get_bit_cnt(count: int) -> int:
    """Bit length of a positive count: what a sum of ``count`` terms adds to their precision."""
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise InvalidArgumentError("get_bit_cnt takes a positive integer", why=f"saw {count!r}",
                                   remedy="pass the number of terms as an int")
    return int(count).bit_length()


def get_range(precision: int) -> int:
    """Largest magnitude of a symmetric precision: ``2**(precision - 1) - 1``."""
    if isinstance(precision, bool) or not isinstance(precision, (int, np.integer)) or precision < 1:
        raise InvalidArgumentError("a precision is an integer of at least 1 bit", why=f"saw {precision!r}",
                                   remedy="pass a number of bits such as 8")
    return precision_range(int(precision))


def scale(threshold: float, precision: int) -> float:
    """Scale that maps ``threshold`` to the top of the range: ``range / threshold``, 1 for a zero threshold."""
    if not threshold >= 0 or not math.isfinite(threshold):
        raise InvalidArgumentError("a threshold is a finite number of at least 0", why=f"saw {threshold!r}",
                                   remedy="pass the largest magnitude of the tensor")
    value = 1.0 if threshold == 0 else get_range(precision) / float(threshold)
    if not math.isfinite(value):
        raise InvalidArgumentError("a threshold is too small for a finite scale", why=f"saw {threshold!r}",
                                   remedy="pass 0 for a tensor that counts as zero")
    return value


def round_half_away(data: torch.Tensor) -> torch.Tensor:
    """Nearest integers, ties away from zero (MXNet's ``round``; torch's goes to even)."""
    truncated = data.trunc()
    return torch.where((data - truncated).abs() >= 0.5, truncated + data.sign(), truncated)


def int_realize(data: ArrayLike, precision: int) -> torch.Tensor:
    """Nearest integers (ties away from zero) clamped to ``precision <= 32`` bits; float64 in, int32 out, same shape.

    Raises:
        InvalidArgumentError: a NaN, which is near no integer, or a precision that int32 cannot hold.
    """
    bound = get_range(precision)
    if precision > 32:
        raise InvalidArgumentError("integers have 32 bits at most", why=f"saw a precision of {precision}",
                                   remedy="pass a precision of at most 32")
    values = torch.as_tensor(data).to(torch.float64)
    if not values.is_meta and bool(torch.isnan(values).any()):
        raise InvalidArgumentError("NaN cannot be made an integer", remedy="check the data and its preprocessing")
    return round_half_away(values).clamp(-bound, bound).to(torch.int32)


def cvm_float(number: float, bits: int = 24) -> tuple[int, int]:
    """``(frac, exp)`` with ``frac * 2**exp`` close to ``number >= 0`` and ``frac`` within ``bits`` signed bits.

    Rounds to nearest, ties to even, and renormalises where rounding reaches the next power of two, so the relative
    error is at most ``2**(1 - bits)`` (the original capped ``frac`` there and lost up to a bit). ``frac`` is odd.
    """
    if not number >= 0 or not math.isfinite(number):
        raise InvalidArgumentError("cvm_float takes a finite number of at least 0", why=f"saw {number!r}",
                                   remedy="pass the magnitude, and handle the sign apart")
    if number == 0:
        return 0, 0
    mantissa, exponent = math.frexp(number)
    width = max(bits - 1, 1)
    frac, exponent = round(math.ldexp(mantissa, width)), exponent - width
    while frac % 2 == 0:
        frac, exponent = frac // 2, exponent + 1
    return frac, exponent


def _largest_magnitude(value: ArrayLike) -> float | int:
    """From both extremes, not from ``abs``: that of the lowest integer of a type overflows."""
    if isinstance(value, torch.Tensor):
        extremes = [value.min().item(), value.max().item()] if value.numel() else [0]
    elif isinstance(value, int):
        extremes = [value]
    else:
        array = np.asarray(value)
        extremes = [array.min().item(), array.max().item()] if array.size else [0]
    return math.nan if any(map(math.isnan, extremes)) else max(map(abs, extremes))
