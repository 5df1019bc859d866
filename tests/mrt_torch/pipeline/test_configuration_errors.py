"""What is wrong with a configuration, and how it is told.

Oracles: the messages that MRT documents, and mistakes made on purpose, one at a time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline import read_configuration
from tests.mrt_torch.pipeline.configurations import SMALLEST, write


@pytest.fixture
def smallest(tmp_path: Path) -> Path:
    return write(tmp_path, SMALLEST)


def refused(path: Path, **overrides: str) -> InvalidArgumentError:
    """The error with ``SECTION__Key=text``."""
    with pytest.raises(InvalidArgumentError) as caught:
        read_configuration(path, {name.replace("__", "."): text for name, text in overrides.items()})
    return caught.value


CASES = {
    "no integer": ("CALIBRATION__Batch", "16.5", "Only support integer value", "'16.5'"),
    "no batch": ("CALIBRATION__Batch", "0", "Not a valid value", "saw 0"),
    "no number": ("CALIBRATION__Lambda", "much", "Not a valid value", "'much'"),
    "negative lambda": ("CALIBRATION__Lambda", "-1", "Not a valid value", "-1.0"),
    "no softmax": ("QUANTIZATION__Softmax_lambd", "0", "Not a valid value", "0.0"),
    "wide input": ("QUANTIZATION__Input_precision", "32", "Not a valid value", "32"),
    "wide weights": ("QUANTIZATION__Weight_precision", "9", "Not a valid value", "9"),
    "negative threshold": ("QUANTIZATION__Thresholds", "a: 1, b: -1", "Not a valid value", "-1"),
    "no truth": ("PREPARE__Dump", "maybe", "Not a valid value", "'maybe'"),
    "no shape": ("DEFAULT__Input_shape", "(-1, x)", "Not a valid value", "'(-1, x)'"),
    "no batch axis": ("DEFAULT__Input_shape", "1, 3", "an input shape has one batch axis, marked by -1", "(1, 3)"),
    "negative extent": ("DEFAULT__Input_shape", "-1, -3", "Not a valid value", "(-1, -3)"),
    "no start": ("DEFAULT__Start", "LATER", "Please choose a value from `DEFAULT, 0, PREPARE, 1, SPLIT_MODEL", "LATER"),
    "start at a split without keys": ("DEFAULT__Start", "SPLIT_MODEL", "Invalid start point", "'SPLIT_MODEL'"),
    "start at a merge without keys": ("DEFAULT__Start", "5", "Invalid start point", "'5'"),
    "no recipe": ("QUANTIZATION__Accuracy", "bestest", "Please choose a value from `default, best, original`", "best"),
    "levels": ("QUANTIZATION__Thresholds", "a: b: 1", "Dict level not consistent", "'a: b: 1'"),
    "level without a value": ("QUANTIZATION__Thresholds", "a:", "Dict level not consistent", "'a:'"),
    "too few levels": ("MERGE_MODEL__Attribute_deps", "a: b", "Dict level not consistent", "'a: b'"),
    "repeated": ("QUANTIZATION__Thresholds", "a: 1, a: 2", "Duplicate key `['a']`", "2.0"),
    "repeated below": ("MERGE_MODEL__Attribute_deps", "a: b: c, a: b: d", "Duplicate key `['a', 'b']`", "'d'"),
    "no device": ("DEFAULT__Device_type", "tpu", "Only support `gpu`, `cpu` and null value", "'tpu'"),
    "no target": ("COMPILATION__Device_type", "tpu", "Only support `gpu`, `cpu` and null value", "'tpu'"),
    "no dump": ("COMPILATION__Dump_dir", "/no/where", "Not a valid dir `/no/where`", "/no/where"),
    "no model folder": ("DEFAULT__Model_dir", "/no/where", "Please create the folder `data` first", "/no/where"),
    "no symbol": ("DEFAULT__Symbol_file", "/no/where", "File `/no/where` not found", "/no/where"),
    "no parameters": ("DEFAULT__Params_file", "/no/where", "File `/no/where` not found", "/no/where"),
    "no file name": ("DEFAULT__Model_name", "../net", "Not a valid value", "'../net'"),
    "no name": ("DEFAULT__Model_name", "", "Please specify the value", "no default"),
    "no groups": ("CALIBRATION__Cfg_groups", "a: quant_type: Odd", "unsupported quantizer type", "'Odd'"),
    "no attribute": ("CALIBRATION__Cfg_groups", "a: odd: 1", "there is no attribute 'odd'", "odd"),
    "no JSON": ("CALIBRATION__Cfg_groups", "a: gn_info: {1}", "a text stands for JSON", "{1}"),
}


@pytest.mark.parametrize("name, text, message, seen", CASES.values(), ids=CASES)
def test_a_mistake_is_told(smallest, name, text, message, seen):
    """With MRT's message, the option, the section, the value and what to do."""
    error = refused(smallest, **{name: text})
    section, option = name.split("__")
    assert message in error.what
    assert f"option `{option}` in section `{section}`" in error.where
    assert seen in str(error) and error.remedy


def test_a_gpu_has_a_number(smallest):
    error = refused(smallest, DEFAULT__Device_type="gpu")
    assert error.what == "Please specify the value" and error.why == "Device_type is gpu"
    assert error.where.startswith("option `Device_ids` in section `DEFAULT`")


def test_calibration_takes_one_gpu(smallest):
    error = refused(smallest, CALIBRATION__Device_type="gpu", CALIBRATION__Device_ids="0,1")
    assert error.what == "`Device_ids` should be an integer in Calibration" and "saw (0, 1)" in error.why


def test_the_gpus_share_a_batch(smallest):
    given = {"EVALUATION__Device_type": "gpu", "EVALUATION__Device_ids": "0,1,2"}
    assert refused(smallest, **given).what == "Batch must be divisible by the number of gpus"
    error = refused(smallest, **given, EVALUATION__Batch="10")
    assert error.why == "saw 10: there are 3 gpus" and "divisible by 3" in error.remedy
    # a batch that is wrong itself is told once
    assert refused(smallest, **given, CALIBRATION__Batch="x").what == "Only support integer value"


@pytest.mark.parametrize("ids", ["-1", "0,0", "128"])
def test_ids_are_those_of_gpus(smallest, ids):
    error = refused(smallest, EVALUATION__Device_type="gpu", EVALUATION__Device_ids=ids)
    assert error.what == "Not a valid value" and "once" in error.remedy


def test_parameters_come_with_their_graph(tmp_path, smallest):
    error = refused(smallest, DEFAULT__Params_file=str(tmp_path / "weights.params"))
    assert "there is no Symbol_file" in error.why and error.remedy == "give Symbol_file too"


def test_the_model_folder_is_a_folder(tmp_path, smallest):
    assert refused(smallest, DEFAULT__Model_dir=str(tmp_path / "symbol.json")).what.startswith("Not a valid dir")


@pytest.mark.parametrize("place, option, remedy", [
    ("CALIBRATION", "Batsh", "did you mean `Batch`?"), ("CALIBRATION", "Model_dir", "move it to section `DEFAULT`"),
    ("PREPARE", "Xyzzy", "choose from Dump"), ("DEFAULT", "Iter_nums", "did you mean `Iter_num`?")])
def test_unknown_options_are_told_with_the_nearest_name(smallest, place, option, remedy):
    error = refused(smallest, **{f"{place}__{option}": "1"})
    assert error.what == "there is no such option" and option.lower() in error.why and error.remedy == remedy


def test_unknown_sections_are_told_with_the_nearest_name(tmp_path):
    error = refused(write(tmp_path, SMALLEST + "[EVALUATE]\nIter_num=1\n"))
    assert error.what == "there is no such section" and error.remedy == "did you mean `EVALUATION`?"
    assert str(tmp_path) in error.where


def test_an_unknown_option_without_a_value_asks_for_nothing(tmp_path, caplog):
    """MRT's alexnet.ini has Dump_dir= in SPLIT_MODEL."""
    read_configuration(write(tmp_path, SMALLEST + "[SPLIT_MODEL]\nDump_dir=\n"))
    assert "option `dump_dir` in section `SPLIT_MODEL`" in caplog.text


def test_all_mistakes_are_told_together(tmp_path):
    text = SMALLEST.replace("Dataset=cifar10", "Batch=x\nDevice_type=tpu").replace("(-1, 3, 32, 32)", "(1,)")
    error = refused(write(tmp_path, text + "[EVALUATION]\nIter_num=-1\nOdd=1\n"))
    assert error.what.startswith(f"6 mistakes in {tmp_path}")
    for part in ("`Batch`", "`Dataset`", "null value", "one batch axis", "`Iter_num`", "`odd`"):
        assert part in error.what


def test_a_mistake_in_default_is_told_once_and_where_it_stands(tmp_path):
    error = refused(write(tmp_path, SMALLEST.replace("[CALIBRATION]", "Dump=perhaps\n[CALIBRATION]")))
    assert "option `Dump` in section `DEFAULT`" in error.where and "mistakes" not in error.what


@pytest.mark.parametrize("option", ["CALIBRATION.Batch", "DEFAULT.Input_shape", "PREPARE.Dump", "CALIBRATION.Lambda",
                                    "QUANTIZATION.Thresholds", "DEFAULT.Verbosity", "CALIBRATION.Cfg_groups",
                                    "EVALUATION.Device_ids"])
def test_nothing_in_a_value_is_executed(tmp_path, smallest, option):
    """MRT evaluates values as Python. Oracle: the file that the command would make."""
    command = f"__import__('os').system('touch {tmp_path}/made')"
    with pytest.raises(InvalidArgumentError):
        read_configuration(smallest, {option: command, "EVALUATION.Device_type": "gpu"})
    assert not (tmp_path / "made").exists()
