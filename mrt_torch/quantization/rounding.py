"""Rounding of weights by what it does to the output, rather than each to its nearest integer.

With e = w * s - q the errors of one output channel's weights and H the second moment of the inputs they meet, the
rounding adds noise of e' H e to that output. Rounding to nearest makes each of e small; errors that cancel over
correlated inputs make the noise small. (Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization,
2020, for the objective; Frantar et al., GPTQ, 2022, for the closed form.)
"""

from __future__ import annotations

import torch

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.quantization.precision import get_range, int_realize, round_half_away

METHODS = ("nearest", "compensated", "searched")
# Of the mean of H's diagonal, added to it: examples leave directions unseen, in which errors must not grow freely.
DAMPING = 0.05
LARGEST_DAMPING = 1.0
BLOCK = 64
MOST_SWEEPS = 20
# What a step has to gain, in shares of a whole step's: sums in float64 must not make it go back and forth.
SMALLEST_GAIN = 1e-6


def round_weights(weight: torch.Tensor, scales: torch.Tensor, bits: int, second_moment: torch.Tensor | None = None,
                  method: str = "compensated") -> torch.Tensor:
    """Integers q of ``weight * scales`` within +-(2**(bits - 1) - 1), int32, of the weight's shape.

    * "nearest": the nearest integers, ties away from zero.
    * "compensated": one weight after the other in order of falling H_kk, the error of each carried, in the closed form
      of least squares, to those that follow. One Cholesky factor a group and O * K**2 operations.
    * "searched": from both of these, each weight in turn takes the integer that is best beside the others (a step of
      any size, most often one up or down), until nothing gains; the better end is taken. O * K**2 operations a sweep.

    An output channel keeps its nearest integers unless e' H e is smaller with others, so no channel gets worse. With H
    all zero, or None, that is all of them. Deterministic; the sums are float64.

    Args:
        weight: (O, I / G, kh, kw) of a convolution or (O, I) of a dense layer; float64.
        scales: (O,), what each output channel is multiplied by; float64.
        bits: precision of the integers.
        second_moment: H, (G, K, K) float64 with K = weight.shape[1:].numel(), of the windows that each group's weights
            meet; their covariance where bias correction follows. Its unit does not matter, but is one within a group.
        method: one of the above.

    Raises:
        InvalidArgumentError: an unknown method, or a second moment of another shape or with values that are not finite.
    """
    if method not in METHODS:
        raise InvalidArgumentError(f"there is no rounding '{method}'", where="round_weights",
                                   remedy=f"choose one of {', '.join(METHODS)}")
    wanted = weight.to(torch.float64) * scales.reshape(-1, *[1] * (weight.dim() - 1))
    nearest = int_realize(wanted, bits)
    if method == "nearest" or second_moment is None:
        return nearest
    moment = _checked(second_moment, weight)
    groups, length = moment.shape[:2]
    wanted = wanted.reshape(groups, -1, length)
    plain = nearest.to(torch.float64).reshape(wanted.shape)
    bound = get_range(bits)
    damped = moment + torch.diag_embed(_mean_diagonal(moment)[:, None].expand(-1, length) * DAMPING)
    found = _compensate(wanted, moment, bound)
    if method == "searched":
        found, other = _search(wanted, found, damped, bound), _search(wanted, plain, damped, bound)
        found = _better(wanted, found, other, damped)
    return _better(wanted, plain, found, moment).to(torch.int32).reshape(weight.shape)


def rounding_noise(weight: torch.Tensor, scales: torch.Tensor, integers: torch.Tensor, second_moment: torch.Tensor
                   ) -> torch.Tensor:
    """e' H e of each output channel with e = weight * scales - integers, (O,) float64; arguments as above."""
    moment = _checked(second_moment, weight)
    error = weight.to(torch.float64) * scales.reshape(-1, *[1] * (weight.dim() - 1)) - integers
    return _noise(error.reshape(moment.shape[0], -1, moment.shape[1]), moment).flatten()


def _checked(moment: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    length = weight.shape[1:].numel()
    if moment.dim() != 3 or moment.shape[1:] != (length, length) or len(moment) == 0 or len(weight) % len(moment):
        raise InvalidArgumentError("the second moment does not fit the weights", where="round_weights",
                                   why=f"saw {tuple(moment.shape)} for weights of {tuple(weight.shape)}",
                                   remedy=f"pass (groups, {length}, {length})")
    if not bool(torch.isfinite(moment).all()):
        raise InvalidArgumentError("the second moment holds a value that is not finite", where="round_weights",
                                   remedy="look for NaN or infinity in the calibration data")
    return moment.to(torch.float64)


def _noise(error: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    return ((error @ moment) * error).sum(2)


def _better(wanted: torch.Tensor, first: torch.Tensor, second: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """Of each channel the integers with less noise; the first ones where it is alike."""
    gains = _noise(wanted - second, moment) < _noise(wanted - first, moment)
    return torch.where(gains[:, :, None], second, first)


def _mean_diagonal(moment: torch.Tensor) -> torch.Tensor:
    """(G,), 1 where it is 0: a group whose inputs are all zero takes any weights."""
    means = moment.diagonal(dim1=1, dim2=2).mean(1)
    return torch.where(means > 0, means, torch.ones_like(means))


def _compensate(wanted: torch.Tensor, moment: torch.Tensor, bound: int) -> torch.Tensor:
    """(G, O, K) integers. The factor U of the inverse, H**-1 = U' U, tells how an error is shared out.

    Weights are taken in blocks, whose errors reach the later ones in one product.
    """
    length = wanted.shape[2]
    order = moment.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
    across = order[:, None, :].expand_as(wanted)
    ordered = moment.gather(1, order[:, :, None].expand_as(moment)).gather(2, order[:, None, :].expand_as(moment))
    factor = _inverse_factor(ordered)
    left = wanted.gather(2, across)
    integers = torch.empty_like(left)
    for begin in range(0, length, BLOCK):
        end = min(begin + BLOCK, length)
        errors = torch.empty_like(left[:, :, begin:end])
        for tap in range(begin, end):
            integers[:, :, tap] = round_half_away(left[:, :, tap]).clamp(-bound, bound)
            error = (left[:, :, tap] - integers[:, :, tap]) / factor[:, tap, tap, None]
            left[:, :, tap + 1:end] -= error[:, :, None] * factor[:, None, tap, tap + 1:end]
            errors[:, :, tap - begin] = error
        left[:, :, end:] -= errors @ factor[:, begin:end, end:]
    return torch.empty_like(integers).scatter_(2, across, integers)


def _inverse_factor(moment: torch.Tensor) -> torch.Tensor:
    """U, upper triangular, with (H + d)**-1 = U' U, where the damping d grows until there is such a factor.

    H = R R' with R upper triangular, the Cholesky factor of H taken from its last row, so U = R**-1.
    """
    means = _mean_diagonal(moment)
    identity = torch.eye(moment.shape[1], dtype=torch.float64, device=moment.device)
    damping = DAMPING
    while damping <= LARGEST_DAMPING:
        damped = moment + means[:, None, None] * damping * identity
        lower, failed = torch.linalg.cholesky_ex(damped.flip(1, 2))
        if not bool(failed.any()):
            return torch.linalg.solve_triangular(lower.flip(1, 2), identity.expand_as(moment), upper=True)
        damping *= 4
    return identity.expand_as(moment)


def _search(wanted: torch.Tensor, start: torch.Tensor, moment: torch.Tensor, bound: int) -> torch.Tensor:
    """(G, O, K) integers that no change of one weight betters, or those after the last sweep.

    A sweep goes through the blocks, and in each through the taps where some channel gains at the sight of the block.
    """
    integers = start.clone()
    slopes = (wanted - integers) @ moment
    diagonal = moment.diagonal(dim1=1, dim2=2)[:, None]

    def steps_of(slopes: torch.Tensor, taps: slice) -> torch.Tensor:
        """The change of each of ``taps`` that is best beside the others."""
        exact = slopes / diagonal[:, :, taps]
        step = torch.where(exact.abs() > 0.5 + SMALLEST_GAIN, exact.round(), torch.zeros_like(exact))
        return (integers[:, :, taps] + step).clamp(-bound, bound) - integers[:, :, taps]

    for _ in range(MOST_SWEEPS):
        moved = False
        for begin in range(0, wanted.shape[2], BLOCK):
            block = slice(begin, begin + BLOCK)
            gaining = steps_of(slopes[:, :, block], block).any(1).any(0).nonzero().flatten().tolist()
            if not gaining:
                continue
            moved = True
            before, local, inner = integers[:, :, block].clone(), slopes[:, :, block].clone(), moment[:, block, block]
            for tap in gaining:
                step = steps_of(local[:, :, tap:tap + 1], slice(begin + tap, begin + tap + 1))
                integers[:, :, begin + tap:begin + tap + 1] += step
                local -= step * inner[:, None, tap]
            slopes -= (integers[:, :, block] - before) @ moment[:, block]
        if not moved:
            break
    return integers
