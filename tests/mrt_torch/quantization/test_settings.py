"""Oracle: the documented ranges, and equality after a trip through JSON."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.quantization import DEFAULT_OPERATOR_PRECISIONS, QuantizationSettings
from mrt_torch.quantization.recipe import RECIPES

BITS = st.integers(2, 31)
SETTINGS = st.builds(
    QuantizationSettings, input_precision=BITS, output_precision=st.none() | BITS,
    operator_precisions=st.dictionaries(st.sampled_from(sorted(DEFAULT_OPERATOR_PRECISIONS)), st.integers(2, 8)),
    softmax_lambd=st.floats(0.1, 50), shift_bits=st.integers(1, 16), restore=st.frozensets(st.text(max_size=5)),
    recipe=st.sampled_from(list(RECIPES.values())), weight_precision=st.integers(2, 8),
    node_precisions=st.dictionaries(st.text(max_size=5), st.integers(2, 15)))


@settings(deadline=None, max_examples=60)
@given(SETTINGS)
def test_json_round_trip(chosen):
    assert QuantizationSettings.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen


@pytest.mark.parametrize("wrong", [
    {"input_precision": 1}, {"input_precision": 32}, {"input_precision": 8.0}, {"input_precision": True},
    {"input_precision": None}, {"output_precision": 1}, {"output_precision": 40}, {"softmax_lambd": 0},
    {"softmax_lambd": -1}, {"softmax_lambd": math.nan}, {"softmax_lambd": math.inf}, {"softmax_lambd": "ten"},
    {"shift_bits": 0}, {"shift_bits": 17}, {"operator_precisions": {"Convolution": 16}},
    {"operator_precisions": {"FullyConnected": 16}}, {"weight_precision": 1}, {"weight_precision": 9},
    {"weight_precision": 4.0}, {"weight_precision": True}, {"weight_precision": None},
    {"node_precisions": {"conv": 16}},
    {"node_precisions": {"conv": 1}}, {"node_precisions": {"conv": 8.0}}, {"node_precisions": 8}, {"configuration": 5},
    {"configuration": {"conv": {"no_such_key": 1}}}, {"configuration": {"conv": {"quant_type": "NoSuchQuantizer"}}},
    {"operator_precisions": {"Concat": 25}}, {"operator_precisions": {"Concat": 1}},
    {"operator_precisions": {"relu": 8}}, {"operator_precisions": 5}, {"restore": 5}, {"no_such_setting": 1}], ids=repr)
def test_settings_are_checked(wrong):
    with pytest.raises(InvalidArgumentError):
        QuantizationSettings.from_json(QuantizationSettings().to_json() | wrong)


@pytest.mark.parametrize("wrong", [None, 5, "text", [1]])
def test_what_is_no_settings_object(wrong):
    with pytest.raises(InvalidArgumentError):
        QuantizationSettings.from_json(wrong)


def test_defaults_of_operators():
    """mrt-core section 1 has 8 bits for convolutions, 16 for sums."""
    chosen = QuantizationSettings(operator_precisions={"Concat": 12})
    assert [chosen.operator_precision(name) for name in ("Convolution", "FullyConnected", "elemwise_add", "Concat")
            ] == [8, 8, 16, 12]


def test_a_configuration_survives_json():
    """As the documents write it: granularity, quantizer and optimizor by node."""
    chosen = QuantizationSettings(configuration={
        "conv": {"gn_info": {"gn_type": "layer-wise"}, "quant_type": "UniformAffine"}})
    again = QuantizationSettings.from_json(json.loads(json.dumps(chosen.to_json())))
    assert again == chosen and again.configuration["conv"]["quant_type"] == "UniformAffine"


def test_operands_of_convolutions_may_have_two_parts():
    """Up to 15 bits, which two parts of 8 make."""
    chosen = QuantizationSettings(operator_precisions={"Convolution": 15, "FullyConnected": 9})
    assert chosen.operator_precision("Convolution") == 15


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        QuantizationSettings().shift_bits = 3
