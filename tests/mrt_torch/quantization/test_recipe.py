"""Recipes. Oracle: the documented names and ranges, and equality after a trip through JSON."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import empty_graph_module
from mrt_torch.quantization import QuantizationContext, QuantizationSettings, choose_rescaling
from mrt_torch.quantization.recipe import RECIPES, Recipe, recipe_named
from mrt_torch.quantization.rounding import METHODS
from tests.mrt_torch.ops.graphs import aten, draw, graph, integer_model, operators

FLAGS = ("weights_by_channel", "inputs_by_group", "zero_points", "equalization", "bias_correction")
ANY_RECIPE = st.builds(Recipe, **{flag: st.booleans() for flag in FLAGS}, rounding=st.sampled_from(METHODS),
                       extra_operations=st.floats(0, 100))


@settings(deadline=None, max_examples=40)
@given(ANY_RECIPE)
def test_json_round_trip(recipe):
    assert Recipe(**json.loads(json.dumps(recipe.to_json()))) == recipe
    chosen = QuantizationSettings(recipe=recipe)
    assert QuantizationSettings.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen


@pytest.mark.parametrize("wrong", [
    *({flag: value} for flag in FLAGS for value in (1, None, "yes")), {"rounding": "up"}, {"rounding": None},
    {"extra_operations": -0.1}, {"extra_operations": math.inf}, {"extra_operations": math.nan},
    {"extra_operations": True}, {"extra_operations": "0.25"}, {"extra_operations": None}], ids=repr)
def test_recipes_are_checked(wrong):
    with pytest.raises(InvalidArgumentError):
        Recipe(**wrong)
    with pytest.raises(InvalidArgumentError):
        QuantizationSettings.from_json(QuantizationSettings().to_json() | {"recipe": Recipe().to_json() | wrong})


@pytest.mark.parametrize("wrong", [{"recipe": {"no_such_means": True}}, {"recipe": "best"}, {"recipe": 5}], ids=repr)
def test_what_is_no_recipe(wrong):
    with pytest.raises(InvalidArgumentError):
        QuantizationSettings.from_json(QuantizationSettings().to_json() | wrong)


def test_named_recipes():
    """The default has all that is free, the original nothing, and best spends a quarter on wide operands."""
    assert list(RECIPES) == ["default", "best", "original"]
    assert all(recipe_named(name) is RECIPES[name] for name in RECIPES)
    default, best, original = RECIPES.values()
    assert default == Recipe() == QuantizationSettings().recipe
    assert all(getattr(default, flag) and getattr(best, flag) and not getattr(original, flag) for flag in FLAGS)
    assert (default.extra_operations, best.extra_operations, original.extra_operations) == (0.0, 0.25, 0.0)
    assert original.rounding == "nearest"
    with pytest.raises(InvalidArgumentError, match="no recipe 'fastest'"):
        recipe_named("fastest")


def test_recipes_cannot_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().rounding = "nearest"
    with pytest.raises(TypeError):
        RECIPES["default"] = Recipe()


def test_a_requantization_rule_of_the_user_works_on_one_scale():
    """It knows neither scales for each channel nor zero points; bias correction stays."""
    def rule(ratio, width, target_bits, guard_bits):
        return choose_rescaling(ratio, width, target_bits, guard_bits)

    context = QuantizationContext(empty_graph_module(), {}, QuantizationSettings(), rule)
    assert context.recipe == Recipe(weights_by_channel=False, inputs_by_group=False, zero_points=False)
    assert QuantizationContext(empty_graph_module(), {}, QuantizationSettings()).recipe == Recipe()


def test_the_original_recipe_keeps_the_operators_of_mrt():
    """A convolution, a relu, another: one multiplication and shift between them. The default has a zero point, too, and
    a channel has its fraction. Oracle: the operators by name.
    """
    def build(e, x):
        y = e.call(aten.relu.default, e.call(aten.conv2d.default, x, e.constant("a", draw(4, 3, 1, 1)), None))
        return e.call(aten.conv2d.default, y, e.constant("b", torch.ones(1, 4, 1, 1, dtype=torch.float64)), None)

    x = draw(2, 3, 4, 4)
    original = integer_model(graph(build, x.shape), x, recipe="original")
    steps = ["cvm_clip", "cvm_right_shift"]
    assert [o for o in operators(original.module) if o not in steps] == ["conv2d", "relu", "broadcast_mul", "conv2d"]
    default = integer_model(graph(build, x.shape), x)
    assert [o for o in operators(default.module) if o not in steps] == [
        "conv2d", "relu", "broadcast_mul", "broadcast_sub", "conv2d"]

    def shape(model):
        return tuple(model.node("broadcast_mul").args[1].meta["val"].shape)
    assert (shape(original), shape(default)) == ((1,), (1, 4, 1, 1))
