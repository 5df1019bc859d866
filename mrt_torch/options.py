"""The options of MRT that need no model: precisions and the recipe against the loss of accuracy."""

from __future__ import annotations

from dataclasses import replace

from mrt_torch.quantization.recipe import recipe_named
from mrt_torch.quantization.settings import QuantizationSettings
from mrt_torch.serialized_value import finite_number


class Options:
    """Changes a frozen ``QuantizationSettings`` one option at a time; a refused value changes nothing.

    Attributes:
        settings: what was chosen so far.
    """

    def __init__(self, settings: QuantizationSettings):
        self.settings = settings

    def set_input_prec(self, prec: int) -> None:
        """Bits of the input."""
        self.settings = replace(self.settings, input_precision=prec)

    def set_output_prec(self, prec: int) -> None:
        """Bits to which every output is requantized."""
        self.settings = replace(self.settings, output_precision=prec)

    def set_op_input_prec(self, operator: str, prec: int) -> None:
        """Bits to which the inputs of an operator, by its MXNet name, are requantized."""
        precisions = {**self.settings.operator_precisions, operator: prec}
        self.settings = replace(self.settings, operator_precisions=precisions)

    def set_softmax_lambd(self, value: float) -> None:
        """Logits more than this below the largest count as zero in a softmax."""
        self.settings = replace(self.settings, softmax_lambd=finite_number(value, "softmax_lambd"))

    def set_shift_bits(self, value: int) -> None:
        """Bits above its target that a tensor keeps until it is multiplied."""
        self.settings = replace(self.settings, shift_bits=value)

    def set_accuracy(self, accuracy: str, budget: float | None = None) -> None:
        """Choose a recipe: ``default``, ``best`` or ``original``; see ``quantization.recipe``.

        Args:
            accuracy: its name.
            budget: share of the network's multiply-accumulates that operands of more than 8 bits may cost in addition;
                None takes the recipe's: 0 by default, 0.25 for ``best``.
        """
        recipe = recipe_named(accuracy)
        self.settings = _rounded_with_care(replace(self.settings, recipe=recipe if budget is None else
                                                   replace(recipe, extra_operations=budget)))

    def set_weight_precision(self, prec: int) -> None:
        """Bits of the weights of convolutions and dense layers, 2 to 8.

        Below 8, where the nearest integers lose much, they are rounded by what that does to the outputs instead
        ("compensated"), unless the recipe is ``original``.
        """
        self.settings = _rounded_with_care(replace(self.settings, weight_precision=prec))


def _rounded_with_care(settings: QuantizationSettings) -> QuantizationSettings:
    """The settings, with weights of few bits rounded as ``Options.set_weight_precision`` says."""
    recipe, original = settings.recipe, recipe_named("original")
    if settings.weight_precision == 8 or recipe.rounding != "nearest" or \
            recipe == replace(original, extra_operations=recipe.extra_operations):
        return settings
    return replace(settings, recipe=replace(recipe, rounding="compensated"))
