"""Every CVM operator by its definition (cvm-format 3), over Python integers of any size.

An oracle takes operands as numpy arrays of Python integers, and the attributes; it returns one such array, or a tuple
of them. None of them uses torch, int32 or the library.
"""

from __future__ import annotations

import itertools
import math

import numpy as np


def bound(precision):
    """Largest magnitude of that many bits."""
    return 2 ** (precision - 1) - 1


def clamp(value, low, high):
    return min(max(value, low), high)


def wrap(value):
    """The int32 that overflowing arithmetic leaves."""
    return (value + 2 ** 31) % 2 ** 32 - 2 ** 31


def array_of(values, shape):
    """Array of Python integers in row-major order."""
    result = np.empty(math.prod(shape), dtype=object)
    result[:] = list(values)
    return result.reshape(shape)


def element_wise(function):
    def oracle(*operands, **attributes):
        operands = np.broadcast_arrays(*operands)
        elements = zip(*(operand.reshape(-1).tolist() for operand in operands))
        return array_of((function(*values, **attributes) for values in elements), operands[0].shape)
    return oracle


def indexed(shape, element):
    """Array whose element at every index is ``element(index)``."""
    return array_of((element(index) for index in itertools.product(*map(range, shape))), shape)


def divide(a, b):
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def right_shift(x, precision, shift_bit):
    """FORMAL's int32 arithmetic: ``wrap`` matters for one value and shift_bit 1 only."""
    return clamp(wrap((x >> (shift_bit - 1)) + 1) >> 1, -bound(precision), bound(precision))


def conv2d(x, w, b=None, *, strides, padding, dilation, groups):
    (n, _, *extents), (o, cg, *kernel) = x.shape, w.shape
    out = [(e + 2 * p - d * (k - 1) - 1) // s + 1 for e, p, d, k, s in zip(extents, padding, dilation, kernel, strides)]

    def element(index):
        i, j, *position = index
        total = 0 if b is None else b[j]
        for c, *tap in itertools.product(range(cg), *map(range, kernel)):
            at = [p * s + t * d - q for p, s, t, d, q in zip(position, strides, tap, dilation, padding)]
            if all(0 <= a < e for a, e in zip(at, extents)):
                total += x[(i, j // (o // groups) * cg + c, *at)] * w[(j, c, *tap)]
        return total
    return indexed((n, o, *out), element)


def dense(x, w, b=None):
    offsets = [0] * len(w) if b is None else b
    return indexed((x.shape[0], w.shape[0]),
                   lambda index: sum(a * c for a, c in zip(x[index[0]], w[index[1]])) + offsets[index[1]])


def batch_dot(x, y):
    return indexed((x.shape[0], x.shape[1], y.shape[1]),
                   lambda index: sum(a * c for a, c in zip(x[index[0], index[1]], y[index[0], index[2]])))


def max_pool2d(x, *, pool_size, strides, padding, ceil_mode):
    padding = (padding[0], padding[-1])
    extents = x.shape[2:]
    out = [(e + 2 * p - k + (s - 1 if ceil_mode else 0)) // s + 1
           for e, p, k, s in zip(extents, padding, pool_size, strides)]

    def element(index):
        windows = [range(max(i * s - p, 0), min(i * s - p + k, e))
                   for i, s, p, k, e in zip(index[2:], strides, padding, pool_size, extents)]
        return max(x[(*index[:2], *at)] for at in itertools.product(*windows))
    return indexed((*x.shape[:2], *out), element)


def upsampling(x, *, scale):
    n, c, height, width = x.shape
    return indexed((n, c, height * scale, width * scale), lambda i: x[i[0], i[1], i[2] // scale, i[3] // scale])


def reduce(function):
    def oracle(x, *, axis, keepdims, exclude):
        rank = x.ndim
        listed = {a % rank for a in axis} or set(range(rank))
        reduced = set(range(rank)) - listed if exclude and axis else listed
        groups = {}
        for index in itertools.product(*map(range, x.shape)):
            groups.setdefault(tuple(0 if a in reduced else i for a, i in enumerate(index)), []).append(x[index])
        shape = [1 if a in reduced else e for a, e in enumerate(x.shape) if keepdims or a not in reduced] or [1]
        implicit = [0] if function is max and not axis and not exclude else []  # the runtime starts there
        return array_of((function(groups[key] + implicit) for key in sorted(groups)), shape)
    return oracle


def reshape(x, *, shape):
    source, extents, at, codes = list(x.shape), [], 0, [code for code in shape if code >= -4]
    while codes:
        code = codes.pop(0)
        if code == -4:
            left, right, whole = codes.pop(0), codes.pop(0), source[at]
            extents += [whole // right if left == -1 else left, whole // left if right == -1 else right]
            at += 1
        elif code == -3:
            extents.append(source[at] * source[at + 1])
            at += 2
        elif code == -2:
            extents += source[at:]
            at = len(source)
        else:
            extents.append(source[at] if code == 0 else code)
            at += 1
    if -1 in extents:
        extents[extents.index(-1)] = -x.size // math.prod(extents)
    return array_of(x.reshape(-1).tolist(), extents)


def squeeze(x, *, axis):
    dropped = {a % x.ndim for a in axis} or {a for a, extent in enumerate(x.shape) if extent == 1}
    return array_of(x.reshape(-1).tolist(), [e for a, e in enumerate(x.shape) if a not in dropped] or [1])


def expand_dims(x, *, axis, num_newaxis):
    extents = list(x.shape)
    at = axis % (x.ndim + 1)
    extents[at:at] = [1] * num_newaxis
    return array_of(x.reshape(-1).tolist(), extents)


def transpose(x, *, axes):
    order = [a % x.ndim for a in axes] or list(range(x.ndim))[::-1]
    return indexed([x.shape[a] for a in order], lambda index: x[tuple(index[order.index(a)] for a in range(x.ndim))])


def concatenate(tensors, *, axis):
    axis %= tensors[0].ndim
    places = [(t, i) for t in tensors for i in range(t.shape[axis])]
    shape = [len(places) if a == axis else e for a, e in enumerate(tensors[0].shape)]

    def element(index):
        tensor, place = places[index[axis]]
        return tensor[(*index[:axis], place, *index[axis + 1:])]
    return indexed(shape, element)


def repeat(x, *, repeats, axis):
    axis %= x.ndim
    return indexed([e * repeats if a == axis else e for a, e in enumerate(x.shape)],
                   lambda index: x[tuple(i // repeats if a == axis else i for a, i in enumerate(index))])


def tile(x, *, reps):
    rank = max(x.ndim, len(reps))
    x = x.reshape((1,) * (rank - x.ndim) + x.shape)
    reps = [1] * (rank - len(reps)) + list(reps)
    return indexed([e * r for e, r in zip(x.shape, reps)],
                   lambda index: x[tuple(i % e for i, e in zip(index, x.shape))])


def strided_slice(x, *, begin, end, stride):
    """Python's own slices, whose negative indices count from the back in the same way, once clamped."""
    chosen = []
    for axis, extent in enumerate(x.shape):
        step = stride[axis] if axis < len(stride) else 1
        first = begin[axis] if axis < len(begin) else 0
        last = end[axis] if axis < len(end) else extent
        low, high = (0, extent) if step > 0 else (-1, extent - 1)
        first, last = (clamp(b + extent if b < 0 else b, low, high) for b in (first, last))
        chosen.append(range(first, last, step))
    return indexed([len(indices) for indices in chosen],
                   lambda index: x[tuple(indices[i] for indices, i in zip(chosen, index))])


def slice_like(x, like, *, axis):
    axes = {a % x.ndim for a in axis} or set(range(x.ndim))
    return indexed([like.shape[a] if a in axes else e for a, e in enumerate(x.shape)], lambda index: x[index])


def take(x, indices, *, axis):
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis %= x.ndim
    rank = indices.ndim

    def element(index):
        at = clamp(indices[index[axis:axis + rank]], 0, x.shape[axis] - 1)
        return x[(*index[:axis], at, *index[axis + rank:])]
    return indexed((*x.shape[:axis], *indices.shape, *x.shape[axis + 1:]), element)


def get_valid_counts(data, *, score_threshold):
    kept = [[row for row in rows if row[1] > score_threshold] for rows in data.tolist()]
    padded = [rows + [[-1] * data.shape[2]] * (data.shape[1] - len(rows)) for rows in kept]
    return (array_of(map(len, kept), (len(kept),)),
            array_of((v for rows in padded for row in rows for v in row), data.shape))


def overlap(a, b):
    """Intersection over union of two rows in percent, truncated (cvm-format 3.6)."""
    (left, top, right, bottom), (x1, y1, x2, y2) = a[2:], b[2:]
    total = (right - left) * (bottom - top) + (x2 - x1) * (y2 - y1)
    both = max(0, min(right, x2) - max(left, x1)) * max(0, min(bottom, y2) - max(top, y1))
    union = total - both
    if total <= 0 or union <= 0:
        return 0
    return both // (union // 100) if both > (2 ** 63 - 1) // 100 else both * 100 // union


def suppress(rows, count, *, iou_threshold, force_suppress, top_k, max_output_size):
    """The rows that stay, and rows of -1, of one batch element."""
    order = sorted(range(clamp(count, 0, len(rows))), key=lambda index: -rows[index][1])
    kept = []
    for index in order if top_k < 0 else order[:top_k]:
        row = rows[index]
        if len(kept) == max_output_size:
            break
        alike = [other for other in kept if force_suppress or other[0] == row[0]]
        if row[0] >= 0 and all(overlap(other, row) < iou_threshold for other in alike):
            kept.append(row)
    return kept + [[-1] * 6] * (len(rows) - len(kept))


def non_max_suppression(data, valid_count, **attributes):
    rows = [suppress(element, count, **attributes) for element, count in zip(data.tolist(), valid_count.tolist())]
    return array_of((v for element in rows for row in element for v in row), data.shape)


ORACLES = {
    "conv2d": conv2d, "dense": dense, "batch_dot": batch_dot, "max_pool2d": max_pool2d, "upsampling": upsampling,
    "relu": element_wise(lambda x: max(x, 0)), "abs": element_wise(abs), "negative": element_wise(lambda x: -x),
    "cvm_precision": element_wise(lambda x: max(x.bit_length(), 1)),
    "clip": element_wise(lambda x, a_min, a_max: clamp(x, a_min, a_max)),
    "cvm_clip": element_wise(lambda x, precision: clamp(x, -bound(precision), bound(precision))),
    "cvm_right_shift": element_wise(right_shift),
    "cvm_left_shift": element_wise(
        lambda x, precision, shift_bit: clamp(x * 2 ** shift_bit, -bound(precision), bound(precision))),
    "elemwise_add": element_wise(lambda a, b: a + b), "elemwise_sub": element_wise(lambda a, b: a - b),
    "broadcast_add": element_wise(lambda a, b: a + b), "broadcast_sub": element_wise(lambda a, b: a - b),
    "broadcast_mul": element_wise(lambda a, b: a * b), "broadcast_div": element_wise(divide),
    "broadcast_max": element_wise(max), "broadcast_greater": element_wise(lambda a, b: int(a > b)),
    "sum": reduce(sum), "max": reduce(max),
    "flatten": lambda x: array_of(x.reshape(-1).tolist(), (x.shape[0], math.prod(x.shape[1:]))),
    "reshape": reshape, "squeeze": squeeze, "expand_dims": expand_dims, "transpose": transpose,
    "concatenate": concatenate, "repeat": repeat, "tile": tile, "strided_slice": strided_slice,
    "slice_like": slice_like, "take": take,
    "cvm_lut": lambda index, table: take(table, index, axis=None),
    "where": element_wise(lambda condition, x, y: x if condition != 0 else y),
    "get_valid_counts": get_valid_counts, "non_max_suppression": non_max_suppression,
}
