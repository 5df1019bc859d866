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
    """

    inputs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    output_scales: tuple[float, ...] = ()
    maps: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that ``from_json`` reads back."""
        return asdict(self) | {"output_scales": list(self.output_scales)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> QuantizationRecord | None:
        if value is None:
            return None
        return cls(value["inputs"], tuple(value["output_scales"]), value["maps"])
