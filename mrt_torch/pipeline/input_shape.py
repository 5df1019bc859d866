"""Input shapes whose batch, marked by -1, is still to be set."""

from __future__ import annotations

from collections.abc import Sequence

from mrt_torch.errors import InvalidArgumentError

UNSET = -1


def batch_axis(input_shape: Sequence[int]) -> int:
    """Axis of an input shape whose extent is -1, the batch.

    Raises:
        InvalidArgumentError: there is not exactly one.
    """
    axes = [axis for axis, extent in enumerate(input_shape) if extent == UNSET]
    if len(axes) != 1:
        raise InvalidArgumentError("an input shape has one batch axis, marked by -1", why=f"saw {tuple(input_shape)}",
                                   remedy="write the shape as (-1, 3, 224, 224)")
    return axes[0]


def set_batch(input_shape: Sequence[int], batch: int) -> tuple[int, ...]:
    """The input shape with its batch, marked by -1, set to ``batch``.

    Raises:
        InvalidArgumentError: there is not exactly one -1, or the batch is not positive.
    """
    if batch < 1:
        raise InvalidArgumentError("a batch has at least one row", why=f"saw {batch}",
                                   remedy="give a positive batch")
    axis = batch_axis(input_shape)
    return tuple(batch if index == axis else extent for index, extent in enumerate(input_shape))
