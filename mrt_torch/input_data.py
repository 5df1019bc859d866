"""Arrays and shapes that a user hands over, checked against the inputs of the graph they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from mrt_torch.bridge import Shapes
from mrt_torch.errors import InvalidArgumentError, MRTError
from mrt_torch.graph.editor import input_nodes, shape_of
from mrt_torch.graph.facts import describe, facts_of, source_name
from mrt_torch.graph.shapes import example_shape


def as_tensor(array: Any, error: type[MRTError] = InvalidArgumentError) -> torch.Tensor:
    """A tensor from a tensor, a numpy array or an MXNet NDArray.

    Raises:
        InvalidArgumentError: something else, or numbers torch has no type for; ``error`` names another class.
    """
    if hasattr(array, "asnumpy"):
        array = array.asnumpy()
    if not isinstance(array, (torch.Tensor, np.ndarray)):
        raise error("a batch must be a tensor or an array", why=f"saw {type(array).__name__}",
                    remedy="pass torch tensors or numpy arrays")
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()
    try:
        return torch.as_tensor(array)
    except (TypeError, ValueError) as cause:  # strings, objects, negative strides
        raise error("an array cannot become a tensor", why=str(cause),
                    remedy="pass an array of floats or integers, such as array.astype('float32')") from cause


def check_shape(batch: torch.Tensor, node: fx.Node, error: type[MRTError] = InvalidArgumentError) -> None:
    """Raise unless a batch has the shape of an input, its batch axis apart, and at least one row.

    Raises:
        InvalidArgumentError: seen and expected shapes; ``error`` names another class.
    """
    expected, axis = shape_of(node), facts_of(node).batch_axis
    if not fits_but_for_batch(tuple(batch.shape), expected, axis) or 0 in batch.shape[axis:axis + 1]:
        wanted = ", ".join("N" if position == axis else str(extent) for position, extent in enumerate(expected))
        raise error("a batch has the wrong shape", where=describe(node),
                    why=f"saw {tuple(batch.shape)}, expected ({wanted})",
                    remedy="give the data the shape the model was prepared for")


def fits_but_for_batch(shape: Sequence[int], expected: Sequence[int], batch_axis: int) -> bool:
    """Whether two shapes agree on every axis but the batch."""
    return len(shape) == len(expected) and all(
        axis == batch_axis or pair[0] == pair[1] for axis, pair in enumerate(zip(shape, expected, strict=True)))


def shapes_by_node(module: fx.GraphModule, shapes: Shapes, batch_only: bool) -> dict[str, tuple[int, ...]]:
    """Shapes by placeholder name, from one shape for the only input or shapes by the user's names.

    Args:
        module: graph whose inputs are meant.
        shapes: what the user gave.
        batch_only: whether the graph is written for its shapes, so that only the batch axis may differ.

    Raises:
        InvalidArgumentError: an unknown input, no shape at all, or one the graph was not written for.
    """
    nodes = input_nodes(module.graph)
    if not isinstance(shapes, Mapping):
        if len(nodes) != 1:
            raise InvalidArgumentError("one input shape was given for several inputs", where="the input shapes",
                                       why=f"the model has {len(nodes)} inputs",
                                       remedy=f"give a mapping for {[source_name(n) for n in nodes]}")
        shapes = {nodes[0].name: shapes}
    by_name = {source_name(node): node for node in nodes} | {node.name: node for node in nodes}
    unknown = [name for name in shapes if name not in by_name]
    if unknown:
        raise InvalidArgumentError(f"the model has no input {unknown}", where="the input shapes",
                                   why="shapes are given by input name", remedy=f"its inputs are {list(by_name)}")
    checked = {by_name[name].name: _checked_shape(name, shape, batch_only) for name, shape in shapes.items()}
    for node in nodes:
        shape, prepared = checked.get(node.name, shape_of(node)), shape_of(node)
        if batch_only and not fits_but_for_batch(shape, prepared, facts_of(node).batch_axis):
            raise InvalidArgumentError("a prepared model takes another batch, but no other shape", where=describe(node),
                                       why=f"saw {shape}, it was prepared for {prepared}",
                                       remedy="load the model again and prepare it for that shape")
    return checked


def _checked_shape(name: str, shape: Any, batch_only: bool) -> tuple[int, ...]:
    try:
        extents = tuple(shape)
    except TypeError:
        extents = (None,)
    whole = all(isinstance(extent, (int, np.integer)) and not isinstance(extent, bool) for extent in extents)
    positive = whole and all(extent > 0 for extent in (extents if batch_only else example_shape(extents)[0]))
    if not positive:
        raise InvalidArgumentError("a shape is a sequence of positive integers", where=f"input '{name}'",
                                   why=f"saw {shape!r:.200}",
                                   remedy="give a tuple such as (1, 3, 224, 224); before prepare, -1 marks the batch")
    return tuple(map(int, extents))
