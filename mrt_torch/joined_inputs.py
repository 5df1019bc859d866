"""Several inputs as the one input ``data`` that ``prepare`` makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import length_hint
from typing import Any

import torch
from torch import fx

from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from mrt_torch.graph.editor import input_nodes, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.input_data import as_tensor

Arrays = Mapping[str, Any] | Sequence[Any]


@dataclass(frozen=True)
class JoinedInputs:
    """Names and shapes of the inputs that were joined, in order; see ``passes.fuse_multiple_inputs``.

    Attributes:
        shapes: by the name in the model the user gave; axis 0 is an example of the batch.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of_graph(cls, module: fx.GraphModule) -> JoinedInputs | None:
        """Those of a graph that is not prepared yet; None where it has one input."""
        nodes = input_nodes(module.graph)
        return cls({source_name(node): shape_of(node) for node in nodes}) if len(nodes) > 1 else None

    def join(self, arrays: Arrays) -> torch.Tensor:
        """(N, sum of the sizes): each array flattened to (N, -1), one after another in the order of the inputs.

        Args:
            arrays: tensors or arrays (N, ...) by input name, or in the order of the inputs.

        Raises:
            InvalidArgumentError: a name or a count is wrong, a shape does not fit, or the batches differ.
        """
        if not isinstance(arrays, Mapping):
            if len(arrays) != len(self.shapes):
                raise InvalidArgumentError("there must be an array for each input",
                                           why=f"saw {len(arrays)} for {list(self.shapes)}",
                                           remedy="pass one array for each input, in order or by name")
            arrays = dict(zip(self.shapes, arrays, strict=True))
        if set(arrays) != set(self.shapes):
            raise InvalidArgumentError("the names of the arrays are not those of the inputs",
                                       why=f"saw {sorted(map(str, arrays))}", remedy=f"give {list(self.shapes)}")
        tensors = {name: as_tensor(arrays[name]) for name in self.shapes}
        batches = {tensor.shape[0] if tensor.dim() else None for tensor in tensors.values()}
        for name, tensor in tensors.items():
            if tuple(tensor.shape[1:]) != self.shapes[name][1:] or 0 in tensor.shape[:1] or not tensor.dim():
                expected = ", ".join(["N", *map(str, self.shapes[name][1:])])
                raise InvalidArgumentError("a batch has the wrong shape", where=f"input '{name}'",
                                           why=f"saw {tuple(tensor.shape)}, expected ({expected})",
                                           remedy="give the data the shapes the model was prepared for")
        if len(batches) > 1:
            raise InvalidArgumentError("the inputs differ in their batch",
                                       why=f"saw {({n: tuple(t.shape) for n, t in tensors.items()})}",
                                       remedy="give all of them the same number of rows")
        return torch.cat([tensor.reshape(tensor.shape[0], -1) for tensor in tensors.values()], dim=1)

    def join_data(self, data: Any) -> Any:
        """Calibration data with every mapping joined: one mapping, or an iterable of them; other data as it is."""
        if isinstance(data, Mapping):
            return self.join(data)
        is_array = hasattr(data, "shape") or not isinstance(data, Iterable)
        return data if is_array else _JoinedBatches(self, data)

    def to_json(self) -> dict[str, list[int]]:
        """A JSON object that ``from_json`` reads back."""
        return {name: list(shape) for name, shape in self.shapes.items()}

    @classmethod
    def from_json(cls, value: Any, module: fx.GraphModule, where: str) -> JoinedInputs | None:
        """What ``to_json`` wrote; None for None.

        Raises:
            InvalidFileError: not such an object, or not of the input of this prepared graph.
        """
        if value is None:
            return None
        try:
            shapes = {name: tuple(shape) for name, shape in value.items()}
            whole = all(type(extent) is int and extent > 0 for shape in shapes.values() for extent in shape)
            total = sum(math.prod(shape[1:]) for shape in shapes.values())
            fits = whole and all(shapes.values()) and shape_of(input_nodes(module.graph)[0])[1:] == (total,)
        except (AttributeError, TypeError, IndexError):
            fits = False
        if not fits:
            raise InvalidFileError("the inputs that were joined do not fit the graph", where=where,
                                   why=f"saw {value!r:.200}", remedy="write the model again")
        return cls(shapes)


@dataclass(frozen=True)
class _JoinedBatches:
    """Batches of an iterable, joined as they are read; it can be read again where the iterable can."""

    inputs: JoinedInputs
    data: Iterable

    def __iter__(self) -> Iterator[Any]:
        for item in self.data:
            first = item[0] if isinstance(item, (tuple, list)) and item else item  # (inputs, label)
            yield self.inputs.join(first) if isinstance(first, Mapping) else item

    def __length_hint__(self) -> int:
        return length_hint(self.data, 0)
