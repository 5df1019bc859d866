"""Options that need no model. Oracle: the settings they stand for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.options import Options
from mrt_torch.quantization import QuantizationSettings
from mrt_torch.quantization.recipe import RECIPES, Recipe


def options() -> Options:
    return Options(QuantizationSettings())


@pytest.mark.parametrize("change, expected", [
    (lambda o: o.set_input_prec(5), {"input_precision": 5}), (lambda o: o.set_output_prec(8), {"output_precision": 8}),
    (lambda o: o.set_output_prec(None), {"output_precision": None}),
    (lambda o: o.set_op_input_prec("Convolution", 12), {"operator_precisions": {"Convolution": 12}}),
    (lambda o: o.set_op_input_prec("FullyConnected", 15), {"operator_precisions": {"FullyConnected": 15}}),
    (lambda o: o.set_op_input_prec("sum", 24), {"operator_precisions": {"sum": 24}}),
    (lambda o: o.set_softmax_lambd(7), {"softmax_lambd": 7.0}), (lambda o: o.set_shift_bits(4), {"shift_bits": 4}),
    (lambda o: o.set_accuracy("best"), {"recipe": RECIPES["best"]}),
    (lambda o: o.set_accuracy("default"), {"recipe": Recipe()}),
    (lambda o: o.set_accuracy("best", 0), {"recipe": replace(RECIPES["best"], extra_operations=0)}),
    (lambda o: o.set_accuracy("best", budget=2), {"recipe": replace(RECIPES["best"], extra_operations=2)}),
    (lambda o: o.set_accuracy("default", 0.1), {"recipe": Recipe(extra_operations=0.1)}),
    (lambda o: o.set_weight_precision(8), {"weight_precision": 8}),
    (lambda o: o.set_weight_precision(4), {"weight_precision": 4, "recipe": Recipe(rounding="compensated")})])
def test_an_option_changes_its_setting(change, expected):
    chosen = options()
    change(chosen)
    assert chosen.settings == replace(QuantizationSettings(), **expected)


def test_options_accumulate():
    chosen = options()
    chosen.set_op_input_prec("Convolution", 12)
    chosen.set_op_input_prec("sum", 20)
    chosen.set_op_input_prec("Convolution", 6)
    chosen.set_input_prec(7)
    assert chosen.settings == QuantizationSettings(input_precision=7,
                                                   operator_precisions={"Convolution": 6, "sum": 20})


@pytest.mark.parametrize("change", [
    lambda o: o.set_input_prec(1), lambda o: o.set_input_prec(32), lambda o: o.set_input_prec("8"),
    lambda o: o.set_input_prec(None), lambda o: o.set_output_prec(0), lambda o: o.set_output_prec(8.0),
    lambda o: o.set_op_input_prec("Convolution", 16), lambda o: o.set_op_input_prec("Convolution", 1),
    lambda o: o.set_op_input_prec("convolution", 8), lambda o: o.set_op_input_prec("sum", 25),
    lambda o: o.set_op_input_prec(None, 8), lambda o: o.set_softmax_lambd(-1), lambda o: o.set_softmax_lambd("inf"),
    lambda o: o.set_softmax_lambd("many"), lambda o: o.set_softmax_lambd(None), lambda o: o.set_softmax_lambd([]),
    lambda o: o.set_shift_bits(17), lambda o: o.set_shift_bits(True), lambda o: o.set_accuracy("better"),
    lambda o: o.set_accuracy(None), lambda o: o.set_accuracy(["best"]), lambda o: o.set_accuracy("best", -0.1),
    lambda o: o.set_accuracy("best", float("nan")), lambda o: o.set_accuracy("best", float("inf")),
    lambda o: o.set_accuracy("best", "25 %"), lambda o: o.set_accuracy("best", True),
    lambda o: o.set_weight_precision(1), lambda o: o.set_weight_precision(9), lambda o: o.set_weight_precision(4.0),
    lambda o: o.set_weight_precision("4"), lambda o: o.set_weight_precision(None)])
def test_a_refused_value_changes_nothing(change):
    chosen = options()
    before = chosen.settings
    with pytest.raises(InvalidArgumentError):
        change(chosen)
    assert chosen.settings is before


@pytest.mark.parametrize("accuracy, prec, rounding", [
    ("default", 8, "nearest"), ("default", 6, "compensated"), ("best", 4, "compensated"), ("original", 4, "nearest")])
def test_few_bits_round_weights_with_care_whatever_was_set_first(accuracy, prec, rounding):
    """The recipe named ``original`` stays MRT's."""
    first, second = options(), options()
    first.set_accuracy(accuracy)
    first.set_weight_precision(prec)
    second.set_weight_precision(prec)
    second.set_accuracy(accuracy)
    assert first.settings.recipe.rounding == rounding
    assert second.settings == first.settings
