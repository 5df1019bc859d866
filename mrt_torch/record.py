"""What belongs to a quantized model beside its graph: how floats become its integers and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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

    def to_json(self) -> dict[str, Any]:
        """A JSON object that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> QuantizationRecord | None:
        if value is None:
            return None
        shapes = tuple(tuple(shape) for shape in value.get("output_shapes", ()))
        return cls(value["inputs"], tuple(value["output_scales"]), value["maps"], shapes)
