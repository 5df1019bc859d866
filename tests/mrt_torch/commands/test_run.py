"""The command ``run``."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrt_torch.demo import load_digits
from tests.mrt_torch.commands.calling import call, call_json, misused, refused


@pytest.fixture
def configuration(tmp_path) -> Path:
    """The embedded network, all stages that it has, into a folder of its own."""
    digits = load_digits()
    path = tmp_path / "digits.ini"
    path.write_text(f"""
[DEFAULT]
Model_dir = {tmp_path}
Model_name = digits
Symbol_file = {digits.symbol_file}
Params_file = {digits.params_file}
Input_shape = (-1, 1, 8, 8)
[PREPARE]
Dump = True
[CALIBRATION]
Dataset = digits
Batch = 16
Dump = True
[EVALUATION]
Iter_num = 2
""")
    return path


def test_it_runs_all_stages(capsys, configuration):
    """Oracle: the stages of a configuration without keys, and the checkpoints that it asks for."""
    summary = call_json(capsys, "run", configuration)
    outcomes = {stage["name"]: stage["outcome"] for stage in summary["stages"]}
    assert outcomes["PREPARE"] == outcomes["QUANTIZATION"] == "finished"
    assert summary["evaluation"]["examples"] == 32
    assert all(Path(file).is_file() for file in summary["files"])


def test_overrides_and_the_start_point(capsys, configuration):
    """Oracle: half as many examples, and a stage that is read instead of made."""
    assert call(capsys, "run", configuration)[0] == 0
    arguments = ("run", configuration, "--set", "EVALUATION.Iter_num=1", "--start", "calibration")
    summary = call_json(capsys, *arguments)
    assert summary["evaluation"]["examples"] == 16
    assert {stage["name"]: stage["outcome"] for stage in summary["stages"]}["CALIBRATION"] == "read"
    status, output, _ = call(capsys, *arguments)
    assert status == 0 and "CALIBRATION" in output and "16 examples of digits" in output


def test_bad_values(capsys, configuration):
    """Oracle: the message names the section, the key and the value."""
    errors = refused(capsys, "run", configuration, "--set", "CALIBRATION.Batch=many")
    assert "CALIBRATION" in errors and "Batch" in errors and "many" in errors
    errors = refused(capsys, "run", configuration, "--set", "CALIBRATION.Colour=red")
    assert "CALIBRATION" in errors and "colour" in errors.lower()


def test_wrong_usage(capsys, configuration):
    """Oracle: status 2."""
    assert "SECTION.Key=VALUE" in misused(capsys, "run", configuration, "--set", "CALIBRATION.Batch")
    assert "merge_model" in misused(capsys, "run", configuration, "--start", "abacus").lower()
