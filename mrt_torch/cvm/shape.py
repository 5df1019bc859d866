"""CVM operators that only change the shape or the order of axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mrt_torch.cvm.attribute_text import integer, integers, reader, write
from mrt_torch.cvm.limits import LARGEST_ATTRIBUTE
from mrt_torch.cvm.operator import OPERATORS, Call, CvmOperator, Shape
from mrt_torch.cvm.shape_rules import elements, normal_axes, normal_axis, require


def flatten(data: torch.Tensor) -> torch.Tensor:
    """(d0, d1, ...) to (d0, d1 * ...); (n,) to (n, 1)."""
    return _copied(data, _flatten_shape([tuple(data.shape)], {}))


def reshape(data: torch.Tensor, *, shape: Sequence[int]) -> torch.Tensor:
    """Row-major reshape; ``shape`` may use the codes 0, -1, -2, -3 and -4 of ``resolve_shape``."""
    return _copied(data, resolve_shape(tuple(data.shape), shape))


def squeeze(data: torch.Tensor, *, axis: Sequence[int]) -> torch.Tensor:
    """Drop the listed axes of extent 1, or all of them for an empty list; one axis stays."""
    return _copied(data, _squeeze_shape([tuple(data.shape)], {"axis": axis}))


def expand_dims(data: torch.Tensor, *, axis: int, num_newaxis: int) -> torch.Tensor:
    """Insert ``num_newaxis`` axes of extent 1 before ``axis``; negative counts from behind the last."""
    return _copied(data, _expand_dims_shape([tuple(data.shape)], {"axis": axis, "num_newaxis": num_newaxis}))


def transpose(data: torch.Tensor, *, axes: Sequence[int]) -> torch.Tensor:
    """Permute axes; an empty list reverses them."""
    return data.permute(_permutation(data.dim(), axes)).clone(memory_format=torch.contiguous_format)


def _copied(data: torch.Tensor, shape: Shape) -> torch.Tensor:
    # An operator may not return a view of its input.
    return data.clone(memory_format=torch.contiguous_format).view(shape)


def _flatten_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    return (shapes[0][0], elements(shapes[0][1:]))


def resolve_shape(source: Shape, target: Sequence[int]) -> Shape:
    """Concrete shape of a reshape.

    Codes: 0 copies an axis, -1 is inferred (once), -2 copies all that remain, -3 merges two axes, and
    ``-4, a, b`` splits one into a and b, of which one may be -1. Codes below -4 say nothing, as in the runtime.

    Raises:
        InvalidArgumentError: the codes do not fit ``source`` or the number of elements differs.
    """
    result: list[int] = []
    inferred, position, codes = None, 0, list(target)
    require(len(codes) > 0, "reshape needs a target shape")

    def take() -> int:
        nonlocal position
        require(position < len(source), "reshape's target reads more axes than there are",
                f"{source} to {target}")
        position += 1
        return source[position - 1]

    while codes:
        code = codes.pop(0)
        if code > 0:
            result.append(code)
            position += 1
        elif code == 0:
            result.append(take())
        elif code == -1:
            require(inferred is None, "reshape infers one axis at most", f"target {list(target)}")
            inferred = len(result)
            # The runtime writes the inferred extent at the code's position, not the axis's.
            require(inferred == len(target) - len(codes) - 1,
                    "reshape's -1 follows no code that changes the number of axes", f"target {list(target)}")
            result.append(1)
            position += 1
        elif code == -2:
            result += source[position:]
            position = max(position, len(source))
        elif code == -3:
            result.append(take() * take())
        elif code == -4:
            require(len(codes) >= 2, "reshape's -4 needs two factors", f"target {list(target)}")
            result += _split(take(), codes.pop(0), codes.pop(0))
        # The runtime skips any other code.
    if inferred is not None:
        known = elements(tuple(result))
        require(known > 0 and elements(source) % known == 0, "reshape cannot infer an axis",
                f"{source} to {target}")
        result[inferred] = elements(source) // known
    require(elements(tuple(result)) == elements(source), "reshape changes the number of elements",
            f"{source} to {list(target)}")
    return tuple(result)


def _split(extent: int, left: int, right: int) -> list[int]:
    if left == -1 and right > 0:
        left = extent // right
    elif right == -1 and left > 0:
        right = extent // left
    require(left > 0 and right > 0 and left * right == extent,
            f"reshape cannot split {extent} into {left} and {right}")
    return [left, right]


def _squeeze_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data = shapes[0]
    axes = {normal_axis(axis, len(data)) for axis in attributes["axis"]}
    require(all(data[axis] == 1 for axis in axes), "squeeze drops axes of extent 1 only",
            f"shape {data}, axes {sorted(axes)}")
    if not axes:
        axes = {axis for axis, extent in enumerate(data) if extent == 1}
    return tuple(extent for axis, extent in enumerate(data) if axis not in axes) or (1,)


def _expand_dims_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    data, axis, count = shapes[0], attributes["axis"], attributes["num_newaxis"]
    # Beyond, a few characters of a file would announce more axes than fit into memory.
    require(1 <= count <= LARGEST_ATTRIBUTE, f"num_newaxis {count} is not in 1..{LARGEST_ATTRIBUTE}")
    axis = normal_axis(axis, len(data) + 1)
    return (*data[:axis], *(1,) * count, *data[axis:])


def _permutation(rank: int, axes: Sequence[int]) -> list[int]:
    if not axes:
        return list(range(rank))[::-1]
    require(len(axes) == rank, f"transpose lists {len(axes)} axes of {rank}")
    return normal_axes(axes, rank)


def _transpose_shape(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    return tuple(shapes[0][axis] for axis in _permutation(len(shapes[0]), attributes["axes"]))


def _write_given(call: Call) -> dict[str, str]:
    return write(**call.attributes)


OPERATORS.register(CvmOperator(
    name="flatten", schema="(Tensor data) -> Tensor", kernel=flatten, output_shape=_flatten_shape,
    read_attributes=reader("flatten"), in_place=True, mxnet_name="Flatten"))

OPERATORS.register(CvmOperator(
    name="reshape", schema="(Tensor data, *, int[] shape) -> Tensor", kernel=reshape,
    output_shape=lambda shapes, attributes: resolve_shape(tuple(shapes[0]), attributes["shape"]),
    write_attributes=lambda call: write(shape=call.output_shape),
    read_attributes=reader("reshape", shape=integers()), in_place=True, mxnet_name="Reshape"))

OPERATORS.register(CvmOperator(
    name="squeeze", schema="(Tensor data, *, int[] axis) -> Tensor", kernel=squeeze,
    output_shape=_squeeze_shape, write_attributes=_write_given,
    read_attributes=reader("squeeze", axis=integers(())), in_place=True, mxnet_name="squeeze"))

OPERATORS.register(CvmOperator(
    name="expand_dims", schema="(Tensor data, *, int axis, int num_newaxis) -> Tensor", kernel=expand_dims,
    output_shape=_expand_dims_shape, write_attributes=_write_given,
    read_attributes=reader("expand_dims", axis=integer(), num_newaxis=integer(1)), in_place=True,
    mxnet_name="expand_dims"))

OPERATORS.register(CvmOperator(
    name="transpose", schema="(Tensor data, *, int[] axes) -> Tensor", kernel=transpose,
    output_shape=_transpose_shape, write_attributes=_write_given,
    read_attributes=reader("transpose", axes=integers(())), mxnet_name="transpose"))
