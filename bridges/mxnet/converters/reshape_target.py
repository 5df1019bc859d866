"""The special numbers of MXNet's Reshape."""

from __future__ import annotations

import math
from collections.abc import Sequence


def infer_reshape(shape: Sequence[int], target: Sequence[int], reverse: bool) -> tuple[int, ...]:
    """Return the shape a Reshape gives.

    A number above 0 stands for itself, 0 copies an axis of the input, -1 is what is left (once at most), -2
    copies all remaining axes, -3 merges two axes, and -4 splits an axis into the two numbers that follow, one
    of which may be -1. With ``reverse``, axes are matched from the last to the first, and -4 stands after its
    two numbers.

    Source: the documentation of Reshape in MXNet 1.9.1; for -1 after -2 or -4, and -4 with ``reverse``, what
    it does.

    Raises:
        ValueError: the target does not fit the shape.
    """
    if reverse:
        return tuple(reversed(_infer(list(reversed(shape)), list(reversed(target)))))
    return tuple(_infer(list(shape), list(target)))


def free_target(shape: Sequence[int], free: int | None, target: Sequence[int], reverse: bool) -> list[int]:
    """The shape a Reshape gives, with -1 for the axis that follows the batch.

    Where the target fits another batch too, that axis is the one that changes with it. Where it names the extents of
    the example batch, as files that were saved for batch 1 do, it is the axis that begins where the batch began; so is
    a leading batch axis that the target gives the very extent of the example.

    Args:
        shape: of the input.
        free: the input's axis that follows the batch; None for none, which gives the plain shape.
        target, reverse: as of `infer_reshape`.

    Raises:
        ValueError: the target does not fit the shape.
    """
    result = list(infer_reshape(shape, target, reverse))
    if free is None or not result:
        return result
    start = math.prod(shape[:free])
    beginnings = [axis for axis in range(len(result)) if math.prod(result[:axis]) == start]
    passing = [axis for axis in range(len(result)) if math.prod(result[:axis + 1]) > start]
    chosen = (beginnings or passing or [len(result) - 1])[0]
    named = start == 1 and min(target) > -2 and not reverse and target[chosen] == shape[free]
    changing = None if named else _changing_axis(shape, free, target, reverse, result)
    chosen = chosen if changing is None else changing
    return [-1 if axis == chosen else extent for axis, extent in enumerate(result)]


def _changing_axis(shape: Sequence[int], free: int, target: Sequence[int], reverse: bool,
                   result: Sequence[int]) -> int | None:
    """The axis of the result that changes with the batch; None where none or several do."""
    try:
        doubled = [extent * (2 if axis == free else 1) for axis, extent in enumerate(shape)]
        other = infer_reshape(doubled, target, reverse)
    except ValueError:
        return None
    changed = [axis for axis, pair in enumerate(zip(result, other)) if pair[0] != pair[1]]
    return changed[0] if len(changed) == 1 and len(other) == len(result) else None


def _infer(shape: list[int], target: list[int]) -> list[int]:
    result: list[int] = []
    # MXNet puts what is left where -1 stands in the target, not in the result: they differ after -2 and -4.
    free = None
    taken = 0    # axes of the input that are matched

    def take(count: int) -> list[int]:
        nonlocal taken
        axes = shape[taken:taken + count]
        if len(axes) < count:
            raise ValueError(f"target {tuple(target)} asks for more axes than {tuple(shape)} has")
        taken += count
        return axes

    position = 0
    while position < len(target):
        number = target[position]
        position += 1
        if number > 0:
            result.append(number)
            taken += 1
        elif number == 0:
            result += take(1)
        elif number == -1:
            if free is not None:
                raise ValueError(f"target {tuple(target)} has two numbers -1")
            free = position - 1
            result.append(1)
            taken += 1
        elif number == -2:
            result += shape[taken:]
            taken = len(shape)
        elif number == -3:
            result.append(math.prod(take(2)))
        elif number == -4:
            result += _split_axis(take(1)[0], target[position:position + 2])
            position += 2
        else:
            raise ValueError(f"target {tuple(target)} holds {number}")
    size, count = math.prod(shape), math.prod(result)
    if free is not None and free < len(result) and count:
        result[free] = size // count
    if math.prod(result) != size:
        raise ValueError(f"{size} elements of the input shape {tuple(shape)} do not fit {tuple(target)}")
    return result


def _split_axis(length: int, parts: list[int]) -> list[int]:
    if len(parts) == 2 and parts.count(-1) <= 1 and all(part > 0 or part == -1 for part in parts):
        known = math.prod(part for part in parts if part > 0)
        parts = [length // known if part == -1 else part for part in parts]
        if math.prod(parts) == length:
            return parts
    raise ValueError(f"an axis of length {length} does not split into {tuple(parts)}")
