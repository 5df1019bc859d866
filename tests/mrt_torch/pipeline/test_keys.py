"""The table of keys. Oracles: MRT's documented keys, listed here by hand; what ``QuantizationSettings`` takes."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline.keys import KEYS, SECTIONS, documentation_table, key_called
from mrt_torch.pipeline.run_configuration import (
    CalibrationSection,
    EvaluationSection,
    MergeSection,
    PrepareSection,
    QuantizationSection,
    RunConfiguration,
    SplitSection,
)
from mrt_torch.quantization.settings import QuantizationSettings

MRT_KEYS = {
    "DEFAULT": "Verbosity Model_dir Model_name Device_type Device_ids Input_shape Start",
    "PREPARE": "Dump", "SPLIT_MODEL": "Keys Dump",
    "CALIBRATION": "Batch Dataset Dataset_dir Calibrate_num Lambda Cfg_groups Device_type Device_ids Dump",
    "QUANTIZATION": "Restore_name Input_precision Output_precision Device_type Device_ids Softmax_lambd Shift_bits "
                    "Thresholds Dump",
    "MERGE_MODEL": "Attribute_deps Oscale_maps Dump", "EVALUATION": "Iter_num Batch Device_type Device_ids",
    "COMPILATION": "Dump_dir Batch Device_type Device_ids"}


def test_every_key_of_mrt_has_a_row_and_others_are_marked():
    assert list(SECTIONS) == list(MRT_KEYS)
    for section, names in MRT_KEYS.items():
        rows = {key.name: key for key in KEYS if key.section == section}
        assert set(names.split()) <= rows.keys()
        assert all(rows[name].meaning.startswith("new: ") for name in rows.keys() - set(names.split()))


def test_no_key_has_two_rows():
    assert len({(key.section, key.name.lower()) for key in KEYS}) == len(KEYS)


@pytest.mark.parametrize("section, record", [
    ("DEFAULT", RunConfiguration), ("PREPARE", PrepareSection), ("SPLIT_MODEL", SplitSection),
    ("CALIBRATION", CalibrationSection), ("QUANTIZATION", QuantizationSection), ("MERGE_MODEL", MergeSection),
    ("EVALUATION", EvaluationSection)])
def test_defaults_are_those_of_the_records(section, record):
    """So that a configuration made in Python has the same ones."""
    defaults = {field.name: field.default for field in fields(record)}
    for key in KEYS:
        name = {"Lambda": "lambd"}.get(key.name, key.name.lower())
        if key.section == section and not key.derived and isinstance(key.default, (bool, int)):
            assert defaults[name] == key.default, key


@pytest.mark.parametrize("key, setting", [
    ("Input_precision", "input_precision"), ("Output_precision", "output_precision"),
    ("Weight_precision", "weight_precision"), ("Shift_bits", "shift_bits")])
def test_bounds_are_those_of_quantization(key, setting):
    row = key_called("QUANTIZATION", key)
    for value in (row.minimum, row.maximum):
        QuantizationSettings(**{setting: row.check(value, "here")})
    for value in (row.minimum - 1, row.maximum + 1):
        with pytest.raises(InvalidArgumentError):
            QuantizationSettings(**{setting: value})
        with pytest.raises(InvalidArgumentError, match=f"write {row.minimum} to {row.maximum}"):
            row.check(value, "here")


def test_a_key_is_called_in_any_case():
    assert key_called("CALIBRATION", "BATCH").name == "Batch"
    with pytest.raises(InvalidArgumentError, match="there is no option `Odd`"):
        key_called("CALIBRATION", "Odd")


def test_the_table_for_readers_has_every_key():
    lines = documentation_table().splitlines()
    assert lines[0] == "| section | key | type | default | meaning |" and len(lines) == len(KEYS) + 2
    for line, key in zip(lines[2:], KEYS, strict=True):
        assert line.startswith(f"| {key.section} | {key.name} | ") and line.count("|") == 6
    assert "| CALIBRATION | Batch | int | 16 | examples in a batch |" in lines
    assert any(line.startswith("| QUANTIZATION | Thresholds | map str: float | none | ") for line in lines)
    assert any(line.startswith("| COMPILATION | Device_ids | list of int | 0 | ") for line in lines)


def test_the_page_has_the_table():
    """``documentation_table`` wrote the end of the page."""
    page = Path(__file__).resolve().parents[3] / "notebooks" / "pipeline.md"
    assert page.read_text(encoding="utf-8").endswith(documentation_table())
