"""Random calls of every CVM operator: legal shapes, attributes up to their edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np

from mrt_torch.cvm import OPERATORS
from mrt_torch.cvm.limits import LARGEST_RANK, precision_limits, tensor_limits
from mrt_torch.errors import InvalidArgumentError
from tests.mrt_torch.cvm.sampler import MOST_ELEMENTS, Operand, SampledCall, Sampler

LARGEST = 2 ** 31 - 1


def sample_call(operator: str, random: Random, pool: Callable[..., Operand | None] | None = None) -> SampledCall:
    """A legal call; its first operand comes from ``pool(ranks, bits)`` where that gives one."""
    for _ in range(1000):
        drawn = _SAMPLERS[operator](Sampler(random, pool))
        if drawn is not None and _is_legal(operator, *drawn):
            operands, attributes = drawn
            first = operands[0].values
            rectified = operator == "non_max_suppression" and first is not None and int(first.min()) >= 0
            return SampledCall(operator, tuple(operands), attributes, rectified)
    raise AssertionError(f"no legal call of {operator} was found")


def _is_legal(operator: str, operands: Sequence[Operand], attributes: dict[str, Any]) -> bool:
    row, sampled = OPERATORS[operator], SampledCall(operator, tuple(operands), attributes)
    try:
        shapes = row.output_shapes([operand.shape for operand in operands], attributes)
    except InvalidArgumentError:
        return False
    call = sampled.call()
    small = all(not tensor_limits(shape) and math.prod(shape) <= 8 * MOST_ELEMENTS for shape in shapes)
    return small and not row.limits(call) and not any(map(precision_limits, row.precisions(call))) and all(
        values.precision <= bits for values, bits in zip(row.value_ranges(call), row.precisions(call)))


def _conv2d(s: Sampler):
    x = s.first(4, 4, (1, 8))
    groups = s.choice(*(g for g in range(1, x.shape[1] + 1) if x.shape[1] % g == 0))
    kernel, wide = s.two(1, 1, 2, 3), s.random.random() < 0.1
    w = s.fresh((groups * s.choice(1, 2), x.shape[1] // groups, *kernel), (1, 8))
    attributes = {"strides": s.two(1, 1, 2, 3), "padding": s.two(0, 0, 1, 2, 3),
                  "dilation": s.two(1, 1, 2, 3), "groups": groups}
    if wide:
        axis = s.choice(0, 1)
        attributes["strides"][axis], attributes["padding"][axis] = 4096, s.choice(0, 4096)
        attributes["dilation"][axis] = 4096 if kernel[axis] == 1 else 1
    return [x, w, *([s.fresh(w.shape[:1], (1, 31))] if s.boolean() else [])], attributes


def _dense(s: Sampler):
    x = s.first(2, 2, (1, 8))
    w = s.fresh((s.random.randint(1, 5), x.shape[1]), (1, 8))
    return [x, w, *([s.fresh(w.shape[:1], (1, 31))] if s.boolean() else [])], {}


def _batch_dot(s: Sampler):
    x = s.first(3, 3, (1, 8))
    return [x, s.fresh((x.shape[0], s.random.randint(1, 4), x.shape[2]), (1, 8))], {}


def _max_pool2d(s: Sampler):
    return [s.first(4, 4)], {
        "pool_size": s.two(1, 2, 3, 4), "strides": s.two(1, 1, 2, 3, 4096),
        "padding": s.two(0, 0, 1, 2, 3)[:s.choice(1, 2, 2)], "ceil_mode": s.boolean()}


def _upsampling(s: Sampler):
    return [s.first(4, 4)], {"scale": s.choice(1, 2, 3, 4)}


def _unary(s: Sampler):
    return [s.first(1, 6)], {}


def _clip(s: Sampler):
    x = s.first(1, 5)
    bound = 2 ** (s.bits(1, 31) - 1) - 1
    low, high = sorted(s.choice(bound, -bound, 0, s.random.randint(-bound, bound), LARGEST - 1, 1 - LARGEST)
                       for _ in range(2))
    return [x], {"a_min": low, "a_max": high}


def _cvm_clip(s: Sampler):
    return [s.first(1, 6)], {"precision": s.bits(1, 32)}


def _right_shift(s: Sampler):
    return [s.first(1, 6)], {"precision": s.bits(1, 32), "shift_bit": s.bits(1, 32)}


def _left_shift(s: Sampler):
    x = s.first(1, 6, (1, 31))
    return [x], {"precision": s.bits(1, 32), "shift_bit": s.random.randint(1, 32 - x.precision)}


def _elemwise(s: Sampler):
    x = s.first(1, 6, (1, 31))
    return [x, s.like(x, (1, 31))], {}


def _broadcast(bits: int, least: int = 1):
    """Any precisions up to ``bits`` together, or each where it is negative."""
    def sample(s: Sampler):
        most = bits - 1 if bits > 0 else -bits
        x = s.first(1, 4, (least, most))
        shape = [extent if s.boolean() else 1 if extent > 1 or s.boolean() else s.choice(2, 3) for extent in x.shape]
        shape = shape[s.random.randint(0, len(shape) - 1):] if s.boolean() else shape
        shape = [s.choice(1, 2)] + shape if s.random.random() < 0.2 and len(shape) == len(x.shape) else shape
        y = s.fresh(shape, (1, bits - x.precision if bits > 0 else -bits), s.choice(None, 3))
        return [x, y], {}
    return sample


def _reduction(s: Sampler):
    x = s.first(1, 6)
    return [x], {"axis": s.axes(len(x.shape)), "keepdims": s.boolean(), "exclude": s.boolean()}


def _reshape(s: Sampler):
    x = s.first(1, 5)
    rank, size = len(x.shape), math.prod(x.shape)
    whole = list(x.shape)
    s.random.shuffle(whole)
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    split = s.choice(*(d for d in range(1, x.shape[0] + 1) if x.shape[0] % d == 0))
    return [x], {"shape": s.choice(
        [-1], whole, [s.choice(*divisors), -1], [0] * rank, [0, -1], [-2], [1, -2], [-2, 1], [-3, -2], [0, -3, -2],
        [-3, -3], [-4, split, x.shape[0] // split, -2], [-4, -1, split, -2], [-4, split, -1, -2], [0, -4, -1, 1, -2],
        [-1, *whole[1:]], [size], [0, -2], [-1, 0, -2], [-5, *whole, -99])}


def _squeeze(s: Sampler):
    x = s.first(1, 6)
    ones = [axis for axis, extent in enumerate(x.shape) if extent == 1]
    chosen = s.random.sample(ones, s.random.randint(0, len(ones)))
    return [x], {"axis": [axis - len(x.shape) if s.boolean() else axis for axis in chosen]}


def _expand_dims(s: Sampler):
    x = s.first(1, 5)
    rank = len(x.shape)
    return [x], {"axis": s.random.randint(-rank - 1, rank), "num_newaxis": s.random.randint(1, LARGEST_RANK - rank)}


def _transpose(s: Sampler):
    x = s.first(1, 6)
    return [x], {"axes": s.axes(len(x.shape), len(x.shape)) if s.random.random() < 0.8 else []}


def _concatenate(s: Sampler):
    x = s.first(1, 5)
    axis = s.axis(len(x.shape))
    others = [list(x.shape) for _ in range(s.choice(0, 1, 1, 2, 3))]
    for shape in others:
        shape[axis] = s.random.randint(1, 4)
    operands = [x, *map(s.fresh, others)]
    return operands + [x] if s.random.random() < 0.1 else operands, {"axis": axis}


def _repeat(s: Sampler):
    x = s.first(1, 5)
    return [x], {"repeats": s.choice(1, 2, 3, 5000 if x.shape == (1,) else 4), "axis": s.axis(len(x.shape))}


def _tile(s: Sampler):
    x = s.first(1, 5)
    reps = [s.choice(1, 1, 2, 3) for _ in range(s.random.randint(1, min(len(x.shape) + 1, LARGEST_RANK)))]
    return [x], {"reps": [4096] if x.shape == (1,) and s.boolean() else reps}


def _strided_slice(s: Sampler):
    x = s.first(1, 5)
    begin, end, stride = [], [], []
    for extent in x.shape:
        stride.append(s.choice(1, 1, 1, 2, 3, 4096, -1, -1, -2, -3))
        begin.append(s.random.randint(-extent - 2, extent + 2))
        end.append(s.choice(s.random.randint(-extent - 2, extent + 2), LARGEST if stride[-1] > 0 else -LARGEST))
    begin, end, stride = (items + [s.choice(0, 7, -9)] * s.choice(0, 0, 0, 1) for items in (begin, end, stride))
    lengths = [s.choice(9, s.random.randint(0, len(x.shape))) for _ in range(3)]
    return [x], {"begin": begin[:lengths[0]], "end": end[:lengths[1]], "stride": stride[:lengths[2]]}


def _slice_like(s: Sampler):
    x = s.first(1, 5)
    axes = s.axes(len(x.shape))
    counted = {axis % len(x.shape) for axis in axes} or set(range(len(x.shape)))
    rank = len(x.shape) if not axes else s.random.randint(max(counted) + 1, min(len(x.shape) + 1, LARGEST_RANK))
    shape = [s.random.randint(1, x.shape[axis]) if axis in counted else s.choice(1, 2, 3) for axis in range(rank)]
    return [x, s.fresh(shape)], {"axis": axes}


def _take(s: Sampler):
    x = s.first(1, 4)
    axis = s.choice(None, s.axis(len(x.shape)))
    return [x, s.fresh(s.shape(1, 2), small=6)], {"axis": axis}


def _lookup(s: Sampler):
    return [s.first(1, 6), s.fresh(s.shape(1, 3))], {}


def _where(s: Sampler):
    condition = s.first(1, 6)
    x = s.like(condition, (1, condition.precision))
    return [condition, x, s.like(x, (1, condition.precision))], {}


def _valid_counts(s: Sampler):
    x = (s.pool((3, 3), (2, 32)) if s.pool else None) or s.fresh(
        (s.choice(1, 1, 2, 3), s.random.randint(1, 9), s.choice(2, 3, 6, 6, 31)), (2, 32), s.choice(None, 9))
    bound = 2 ** (x.precision - 1) - 1
    return [x], {"score_threshold": s.choice(0, -1, bound, -bound, s.random.randint(-9, 9), LARGEST, -LARGEST - 1)}


def _suppression(s: Sampler):
    rows = s.random.randint(1, 12)
    shape = (s.choice(1, 1, 1, 2), rows, 6)
    x = s.fresh(shape, (2, 31), s.choice(None, 4, 30))
    if s.random.random() < 0.8:
        x = Operand(shape, x.precision, np.abs(x.values))
    if s.boolean():  # alike boxes of few ids, which do suppress each other
        alike = x.values.copy()
        alike[..., 0], alike[..., 2:] = np.minimum(alike[..., 0], 1), alike[:, :1, 2:]
        x = Operand(shape, x.precision, alike)
    count = s.fresh(shape[:1], (2, 32), rows + 1)
    return [x, count], {
        "iou_threshold": s.choice(1, 10, 50, 99, 100, 101, LARGEST), "force_suppress": s.boolean(),
        "top_k": s.choice(-1, -1, 0, rows, rows + 3, s.random.randint(1, rows)),
        "max_output_size": s.choice(-1, -1, -7, 0, 1, s.random.randint(1, rows), LARGEST)}


_SAMPLERS: dict[str, Callable[[Sampler], tuple[list[Operand], dict[str, Any]] | None]] = {
    "conv2d": _conv2d, "dense": _dense, "batch_dot": _batch_dot, "max_pool2d": _max_pool2d, "upsampling": _upsampling,
    **dict.fromkeys(("relu", "abs", "negative", "cvm_precision", "flatten"), _unary),
    "clip": _clip, "cvm_clip": _cvm_clip, "cvm_right_shift": _right_shift, "cvm_left_shift": _left_shift,
    "elemwise_add": _elemwise, "elemwise_sub": _elemwise, "broadcast_add": _broadcast(-31),
    "broadcast_sub": _broadcast(-31), "broadcast_mul": _broadcast(32), "broadcast_div": _broadcast(-32),
    "broadcast_max": _broadcast(-32), "broadcast_greater": _broadcast(-32, 2),
    "sum": _reduction, "max": _reduction, "reshape": _reshape, "squeeze": _squeeze, "expand_dims": _expand_dims,
    "transpose": _transpose, "concatenate": _concatenate, "repeat": _repeat, "tile": _tile,
    "strided_slice": _strided_slice, "slice_like": _slice_like, "take": _take, "cvm_lut": _lookup, "where": _where,
    "get_valid_counts": _valid_counts, "non_max_suppression": _suppression,
}
