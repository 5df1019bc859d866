"""Oracle: equality after a trip through JSON, and the documented fields."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidFileError
from mrt_torch.record import QuantizationRecord
from tests.mrt_torch.small_models import calibrated

SCALES = st.floats(1e-30, 1e30)
INPUT = st.fixed_dictionaries({"scale": SCALES, "target_bit": st.integers(1, 32)})
RECORDS = st.builds(
    QuantizationRecord, inputs=st.dictionaries(st.text(max_size=4), INPUT),
    output_scales=st.lists(SCALES).map(tuple), maps=st.dictionaries(st.text(max_size=4), st.text(max_size=4)),
    output_shapes=st.lists(st.lists(st.integers(0, 99)).map(tuple)).map(tuple))


@settings(deadline=None, max_examples=60)
@given(RECORDS)
def test_json_round_trip(record):
    assert QuantizationRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_nothing_is_nothing():
    assert QuantizationRecord.from_json(None) is None


@pytest.mark.parametrize("change", [
    {"inputs": None}, {"inputs": [1]}, {"inputs": {"data": {}}}, {"inputs": {"data": {"scale": 1}}},
    {"inputs": {"data": {"scale": "1", "target_bit": 8}}}, {"inputs": {"data": {"scale": 1, "target_bit": 8.5}}},
    {"inputs": {"data": {"scale": 1, "target_bit": 33}}}, {"inputs": {"data": {"scale": math.inf, "target_bit": 8}}},
    {"output_scales": None}, {"output_scales": [0]}, {"output_scales": [True]}, {"output_scales": [math.nan]},
    {"maps": []}, {"maps": None}, {"output_shapes": 3}, {"output_shapes": [3]}, {"output_shapes": [[-1]]},
    {"output_scales": [10**400]}, {"inputs": {"data": {"scale": 10**400, "target_bit": 8}}}],
    ids=lambda change: repr(change)[:60])
def test_what_is_no_record(change):
    with pytest.raises(InvalidFileError):
        QuantizationRecord.from_json(QuantizationRecord().to_json() | change)


@pytest.mark.parametrize("wrong", [{}, [], 5, "text"])
def test_what_is_no_object(wrong):
    with pytest.raises(InvalidFileError):
        QuantizationRecord.from_json(wrong)


def test_the_facts_of_a_graph_hold_the_same_scales():
    mrt = calibrated(heads=2)
    quantized = mrt.quantize()
    assert QuantizationRecord.of_graph(quantized.module) == quantized.record


@pytest.mark.parametrize("shapes", [((2, 3),), ((2, 3), (2, 5)), ((2, 3), ()), ((2, 3), (0, 0))], ids=repr)
def test_shapes_that_are_not_the_outputs(shapes):
    """Oracle: two outputs of 3 and 4 elements a row; reshaping to other counts failed only when the model ran."""
    record = QuantizationRecord(output_scales=(1.0, 1.0), output_shapes=shapes)
    with pytest.raises(InvalidFileError) as raised:
        record.check_outputs([(1, 3), (1, 4)], "x/ext")
    assert raised.value.where == "x/ext" and raised.value.remedy


def test_shapes_that_are_the_outputs():
    record = QuantizationRecord(output_scales=(1.0, 1.0), output_shapes=((2, 3), (2, 2, 2)))
    record.check_outputs([(1, 3), (1, 4)])


def test_rows_of_a_deployed_model_that_are_the_outputs():
    """Oracle: elements counted by hand; a model whose outputs differ in axis 0 is deployed with one row for each."""
    record = QuantizationRecord(output_scales=(1.0, 1.0), output_shapes=((2, 3, 4), (1, 5)))
    record.check_outputs([(1, 24), (1, 5)])
    with pytest.raises(InvalidFileError):
        record.check_outputs([(1, 36), (1, 5)])
