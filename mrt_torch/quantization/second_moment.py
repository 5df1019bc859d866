"""Second moments of what a convolution or dense layer multiplies its weights with: the input of a rounding search."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mrt_torch.errors import InvalidArgumentError

# float64 holds every integer up to here.
EXACT = 2 ** 53
FEWEST_WINDOWS = 2 ** 14
WINDOWS_PER_TAP = 8
GOLDEN = (math.sqrt(5) - 1) / 2


class SecondMoment:
    """Streaming E[x x'] of the windows x of a weighted sum, of each group of channels apart, in float64.

    Windows of integers give exact sums as long as count * max|x|**2 < 2**53, so 2**23 windows of 16 bits. Then nothing
    depends on how the examples were cut into batches, on their order, or on the number of threads. Sums of other
    numbers are rounded, and may differ in their last digits.

    Args:
        groups: G, of the convolution; 1 for a dense layer.
        length: K, taps of one output channel: weight.shape[1:].numel().

    Attributes:
        count: windows seen.
        sums: (G, K) float64, of x.
        products: (G, K, K) float64, of x x'.
    """

    def __init__(self, groups: int, length: int):
        self.count = 0
        self.sums = torch.zeros(groups, length, dtype=torch.float64)
        self.products = torch.zeros(groups, length, length, dtype=torch.float64)

    def add(self, windows: torch.Tensor) -> None:
        """Count in (G, K, N) windows.

        Raises:
            InvalidArgumentError: other groups or taps, or values that are not finite.
        """
        if windows.dim() != 3 or windows.shape[:2] != self.sums.shape:
            raise InvalidArgumentError("windows have another shape than those before", where="SecondMoment.add",
                                       why=f"saw {tuple(windows.shape)}, expected {(*self.sums.shape, 'N')}",
                                       remedy="make them with convolution_windows or dense_windows of one layer")
        wide = windows.to(torch.float64)
        products = (wide @ wide.transpose(1, 2)).cpu()
        if not bool(torch.isfinite(products).all()):
            raise InvalidArgumentError("windows hold a value that is not finite", where="SecondMoment.add",
                                       remedy="look for NaN or infinity in the data")
        self.products += products
        self.sums += wide.sum(2).cpu()
        self.count += windows.shape[2]

    def merge(self, other: SecondMoment) -> None:
        """Count in what another one has seen."""
        if other.sums.shape != self.sums.shape:
            raise InvalidArgumentError("second moments of different layers cannot be merged",
                                       why=f"saw {tuple(other.sums.shape)}, expected {tuple(self.sums.shape)}",
                                       remedy="merge those of the same layer")
        self.products += other.products
        self.sums += other.sums
        self.count += other.count

    def moment(self) -> torch.Tensor:
        """E[x x'], (G, K, K): e' E[x x'] e is the mean square of what the errors e of weights add to an output."""
        return self.products / max(self.count, 1)

    def covariance(self) -> torch.Tensor:
        """E[x x'] - E[x] E[x]', (G, K, K): the same where bias correction takes away the mean of what errors add."""
        means = self.sums / max(self.count, 1)
        return self.moment() - means[:, :, None] * means[:, None, :]


def dense_windows(x: torch.Tensor) -> torch.Tensor:
    """Windows of a dense layer: (N, K) gives (1, K, N)."""
    return x.flatten(0, -2).transpose(0, 1)[None]


def convolution_windows(x: torch.Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
                        dilation: Sequence[int], groups: int, positions: int | None = None) -> torch.Tensor:
    """Windows of a 2-D convolution in the order of its weight's axes 1 to 3: (N, C, H, W) gives (G, K, N * positions).

    The padding is zero, so integers with a zero point are passed with it added. No more than ``positions`` places of
    the output are taken, the same ones in every example: place i * step mod (number of places), where step is next to
    the golden ratio's share, so that they spread over rows and columns alike. None takes all of them.
    """
    batch, channels, height, width = x.shape
    rows, columns = ((size + 2 * pad - spread * (taps - 1) - 1) // step + 1 for size, taps, step, pad, spread
                     in zip((height, width), kernel, stride, padding, dilation, strict=True))
    places = spread_places(rows * columns, positions)
    top = (places // columns * stride[0])[None] + (torch.arange(kernel[0]) * dilation[0]).repeat_interleave(
        kernel[1])[:, None] - padding[0]
    left = (places % columns * stride[1])[None] + (torch.arange(kernel[1]) * dilation[1]).repeat(
        kernel[0])[:, None] - padding[1]
    inside = (top >= 0) & (top < height) & (left >= 0) & (left < width)
    index = torch.where(inside, top * width + left, torch.zeros_like(top)).to(x.device)
    windows = x.flatten(2)[:, :, index.flatten()].reshape(batch, channels, *index.shape)
    windows = torch.where(inside.to(x.device), windows, torch.zeros((), dtype=x.dtype, device=x.device))
    return windows.permute(1, 2, 0, 3).reshape(groups, channels // groups * index.shape[0], -1)


def spread_places(count: int, most: int | None = None) -> torch.Tensor:
    """``most`` of ``range(count)``, distinct and evenly spread, ascending; all of them where ``most`` is None."""
    if most is None or most >= count:
        return torch.arange(count)
    step = max(1, round(count * GOLDEN))
    while math.gcd(step, count) > 1:
        step += 1
    return (torch.arange(most) * step % count).sort().values


def positions_per_example(examples: int, length: int) -> int:
    """Places to take of each example, for windows enough to tell ``length`` taps apart: 8 each, 2**14 at least."""
    return max(1, math.ceil(max(FEWEST_WINDOWS, WINDOWS_PER_TAP * length) / max(examples, 1)))
