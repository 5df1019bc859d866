"""What a user may choose about quantization, in one frozen record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.quantization.recipe import Recipe

# Bits to which an operator's inputs are requantized. Convolution and FullyConnected are bound to 8 by the runtime; a
# sum affords 16, because nothing but 32 bits binds it. Functions by table choose their own, see ``quantize_table``.
DEFAULT_OPERATOR_PRECISIONS: Mapping[str, int] = MappingProxyType({
    "Convolution": 8, "FullyConnected": 8, "batch_dot": 8,
    "sum": 16, "mean": 16, "LayerNorm": 20, "L2Normalization": 20, "norm": 20, "broadcast_div": 16,
    "broadcast_add": 16, "broadcast_sub": 16, "elemwise_add": 16, "elemwise_sub": 16,
    "broadcast_mul": 16, "elemwise_mul": 16, "Concat": 16, "Embedding": 16, "slice_like": 16,
})

WIDEST_IN_PARTS = 15  # two parts of 8 bits, one of them a sign


@dataclass(frozen=True)
class QuantizationSettings:
    """Settings of one quantization.

    Attributes:
        input_precision: bits of the graph's inputs, 2 to 31 (8 where the model starts with a convolution is usual).
        output_precision: bits to which every output is requantized; None leaves outputs as they come.
        operator_precisions: bits of an operator's inputs by MXNet operator name; others keep their default.
        softmax_lambd: the exponential's table covers logits down to ``-softmax_lambd`` below the largest, and
            log(n / 64) more for axes of n > 64.
        shift_bits: bits above its target that a tensor keeps until it is multiplied; more is more accurate.
        restore: source names of nodes to keep in float, for debugging.
        chosen_ranges: fx names of nodes whose threshold the user set: their ranges get no margin.
        recipe: the means against the loss of accuracy.
        weight_precision: bits of the weights of convolutions and dense layers, 2 to 8.
        node_precisions: bits of the data operand of single convolutions and dense layers, by fx node name, 2 to 15. One
            of more than 8 is cut in two parts, each of which costs the operator once.
        configuration: granularity, quantizer and optimizor of single nodes, by fx node name, as
            ``mrt_torch.configuration.deserialize`` returns them; what it lacks follows the recipe.
    """

    input_precision: int = 8
    output_precision: int | None = None
    operator_precisions: Mapping[str, int] = field(default_factory=dict)
    softmax_lambd: float = 10.0
    shift_bits: int = 8
    restore: frozenset[str] = frozenset()
    chosen_ranges: frozenset[str] = frozenset()
    recipe: Recipe = field(default_factory=Recipe)
    weight_precision: int = 8
    node_precisions: Mapping[str, int] = field(default_factory=dict)
    configuration: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self):
        _check_bits("input_precision", self.input_precision, 2, 31)
        if self.output_precision is not None:
            _check_bits("output_precision", self.output_precision, 2, 31)
        for operator, bits in self.operator_precisions.items():
            known = DEFAULT_OPERATOR_PRECISIONS.keys() | _table_operators()
            if operator not in known:
                raise InvalidArgumentError(f"'{operator}' has no input precision to set",
                                           remedy=f"choose one of {sorted(known)}")
            _check_bits(f"the input precision of {operator}", bits, 2, _widest_input(operator))
        if not isinstance(self.softmax_lambd, (int, float)) or not 0 < self.softmax_lambd < math.inf:
            raise InvalidArgumentError("softmax_lambd is a positive finite number", why=f"saw {self.softmax_lambd!r}",
                                       remedy="choose a number such as 10")
        _check_bits("shift_bits", self.shift_bits, 1, 16)
        _check_bits("weight_precision", self.weight_precision, 2, 8)
        for name, bits in self.node_precisions.items():
            _check_bits(f"the input precision of node '{name}'", bits, 2, WIDEST_IN_PARTS)
        if self.configuration:
            object.__setattr__(self, "configuration", _checked_configuration(self.configuration))

    def operator_precision(self, operator: str, default: int = 16) -> int:
        """Bits to which the inputs of an operator are requantized; ``default`` where the table has none for it."""
        return self.operator_precisions.get(operator, DEFAULT_OPERATOR_PRECISIONS.get(operator, default))

    def chosen_precision(self, operator: str, default: int | None = None) -> int | None:
        """Bits that the user set for an operator; ``default`` where there are none."""
        return self.operator_precisions.get(operator, default)

    def to_json(self) -> dict:
        """A JSON object that ``from_json`` reads back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {"operator_precisions": dict(self.operator_precisions), "restore": sorted(self.restore),
                         "chosen_ranges": sorted(self.chosen_ranges),
                         "recipe": self.recipe.to_json(), "node_precisions": dict(self.node_precisions),
                         "configuration": {name: dict(own) for name, own in self.configuration.items()}}

    @classmethod
    def from_json(cls, values: Mapping) -> QuantizationSettings:
        """The settings that ``to_json`` wrote.

        Raises:
            InvalidArgumentError: not such an object, or a value out of range.
        """
        try:
            return cls(**{**values, "restore": frozenset(values.get("restore", ())),
                          "chosen_ranges": frozenset(values.get("chosen_ranges", ())),
                          "recipe": Recipe(**values.get("recipe", {}))})
        except (TypeError, AttributeError) as error:
            raise InvalidArgumentError("the settings are not those of to_json", why=str(error),
                                       remedy="pass what QuantizationSettings.to_json returned") from error


def _checked_configuration(configuration: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    from mrt_torch.configuration import deserialize  # which lists the quantizers, whose context imports this module
    return deserialize(configuration)


def _table_operators() -> set[str]:
    """Names of the registered operators that bring their own default precision."""
    from mrt_torch.ops.registry import TRANSFORMERS  # the operators import the context, which imports this module
    return {transformer.op_name for _, transformer in TRANSFORMERS if hasattr(transformer, "input_precision")}


def _widest_input(operator: str) -> int:
    """A table of 16 bits has 65535 entries, and a sum leaves 24 bits room to grow.

    The runtime multiplies 8 bits: convolutions, dense layers and batch_dot cut wider operands in two.
    """
    if operator in ("Convolution", "FullyConnected", "batch_dot"):
        return WIDEST_IN_PARTS
    return 16 if operator == "softmax" or operator in _table_operators() else 24


def _check_bits(what: str, bits: int, low: int, high: int) -> None:
    if isinstance(bits, bool) or not isinstance(bits, int) or not low <= bits <= high:
        raise InvalidArgumentError(f"{what} is an integer from {low} to {high}", why=f"saw {bits!r}",
                                   remedy="choose a number in that range")
