"""What belongs to a quantized model beside its graph: how floats become its integers and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import fx

from mrt_torch.errors import InvalidFileError
from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.facts import facts_of, source_name


@dataclass(frozen=True)
class QuantizationRecord:
    """Scales of a quantized model.

    Attributes:
        inputs: ``{"data": {"scale": s, "target_bit": b}}``: the model's integers are round(x * s) in b bits.
        output_scales: one for each output; the float output is the integer divided by it.
        maps: name of each output now, to its name before quantization.
        output_shapes: shapes of the float outputs where the graph returns them flattened, as a deployed model with
            several outputs does; empty elsewhere.
    """

    inputs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    output_scales: tuple[float, ...] = ()
    maps: Mapping[str, str] = field(default_factory=dict)
    output_shapes: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of_graph(cls, module: fx.GraphModule, original_outputs: Sequence[str] | None = None) -> QuantizationRecord:
        """The scales that the facts of an integer graph hold; 1 where they hold none.

        ``original_outputs`` are the names of the outputs before quantization, by default those they have.
        """
        outputs = output_nodes(module.graph)
        names = [source_name(node) for node in outputs]
        inputs = {node.name: {"scale": facts_of(node).scale or 1.0, "target_bit": facts_of(node).precision}
                  for node in input_nodes(module.graph)}
        scales = tuple(facts_of(node).scale or 1.0 for node in outputs)
        return cls(inputs, scales, dict(zip(names, original_outputs or names, strict=True)))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None, source: str = "record") -> QuantizationRecord | None:
        """The record that ``to_json`` wrote; None for None. Errors name ``source``, usually the path of the file.

        Raises:
            InvalidFileError: not such an object.
        """
        if value is None:
            return None
        try:
            inputs = {name: {"scale": _scale(entry["scale"]), "target_bit": _whole(entry["target_bit"], 1, 32)}
                      for name, entry in value["inputs"].items()}
            scales = tuple(_scale(scale) for scale in value["output_scales"])
            maps = {name: str(old) for name, old in value["maps"].items()}
            shapes = tuple(tuple(_whole(extent, 0, 2 ** 31) for extent in shape)
                           for shape in value.get("output_shapes", ()))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidFileError("the scales of a quantized model cannot be read", where=source,
                                   why=f"{type(error).__name__}: {error}", remedy="write the model again") from error
        return cls(inputs, scales, maps, shapes)

    def check_outputs(self, shapes: Sequence[Sequence[int]], source: str = "record") -> None:
        """Raise unless there is a scale, and where given a shape of as many elements, for each output of the graph.

        Args:
            shapes: those of the graph's outputs; axis 0 is an example of the batch, or 1 where the deployed model
                returns an output as one row, because the batch is not on axis 0 of all of them.
            source: what errors name, usually the path of the file.

        Raises:
            InvalidFileError: the counts or the elements differ.
        """
        outputs, given = len(shapes), self.output_shapes
        if len(self.output_scales) != outputs or len(given) not in (0, outputs):
            raise InvalidFileError("the scales of a quantized model do not fit its graph", where=source, why=(
                f"{len(self.output_scales)} scales and {len(self.output_shapes)} shapes for {outputs} outputs"),
                remedy="keep the files that were written together, or write the model again")
        for shape, own in zip(given, shapes):
            if not shape or (math.prod(shape[1:]) != math.prod(own[1:]) and math.prod(shape) != math.prod(own)):
                raise InvalidFileError("the shapes of a quantized model do not fit its graph", where=source,
                                       why=f"an output has shape {tuple(own)}, the file says {shape}",
                                       remedy="keep the files that were written together, or write the model again")


def _scale(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"a scale is a positive number, not {value!r}")
    return float(value)


def _whole(value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{value!r} is not an integer from {low} to {high}")
    return value
