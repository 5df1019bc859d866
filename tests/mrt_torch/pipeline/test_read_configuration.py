"""Whole configurations. Oracles: values read off the texts by hand, and the defaults of MRT's main2."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline import parse_overrides, read_configuration
from mrt_torch.pipeline.keys import KEYS
from mrt_torch.pipeline.run_configuration import (
    CalibrationSection,
    CompilationSection,
    EvaluationSection,
    MergeSection,
    PrepareSection,
    QuantizationSection,
    RunConfiguration,
    SplitSection,
    StartPoint,
)
from tests.mrt_torch.pipeline.configurations import CLASSIFIER, DETECTOR, SMALLEST, write


@pytest.fixture
def smallest(tmp_path: Path) -> Path:
    return write(tmp_path, SMALLEST)


def test_absent_keys_have_their_defaults(tmp_path, smallest):
    assert read_configuration(smallest) == RunConfiguration(
        model_dir=tmp_path, model_name="net", input_shape=(-1, 3, 32, 32),
        calibration=CalibrationSection(dataset="cifar10"))


def test_a_classifier_of_mrts_form(tmp_path):
    assert read_configuration(write(tmp_path, CLASSIFIER)) == RunConfiguration(
        model_dir=tmp_path, model_name="net18_v1", input_shape=(-1, 3, 224, 224), verbosity=20,
        prepare=PrepareSection(dump=True),
        calibration=CalibrationSection("imagenet", lambd=16.0, devices=("cuda:2",), dump=True),
        quantization=QuantizationSection(input_precision=8, output_precision=8, devices=("cuda:2",), dump=True),
        evaluation=EvaluationSection(10, 15, ("cuda:0", "cuda:1", "cuda:2")),
        compilation=CompilationSection(tmp_path, 1))


def test_a_detector_with_every_key(tmp_path):
    read = read_configuration(write(tmp_path, DETECTOR))
    assert read == RunConfiguration(
        model_dir=tmp_path, model_name="detector_512_voc", input_shape=(-1, 3, 512, 512), verbosity=30,
        symbol_file=tmp_path / "symbol.json", params_file=tmp_path / "weights.params", log_file=tmp_path / "100%.log",
        devices=("cuda:0", "cuda:1"), start=StartPoint.SPLIT_MODEL, prepare=PrepareSection(True),
        split=SplitSection(("head0_zeros_like0", "head0_slice_axis0", "decoder0_concat0"), True),
        calibration=CalibrationSection("voc", 8, tmp_path / "data", 16, 2.5, ("cuda:1",), {
            "conv0_fwd": {"quant_type": "GroupConv",
                          "gn_info": {"gn_type": "group-wise", "is_weight": False, "num_groups": 32}},
            "rewritten_conv1_weight_0": {"quant_type": "GroupConv"},
            "conv4_fwd": {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": 4}}}, True),
        quantization=QuantizationSection(
            ("_ALL_EXCEPT_", "_OP_Convolution"), 16, 30, ("cuda:2",), 12.5, 10,
            {"data": 2.64, "rewritten_conv1_weight_0": 29.09, "head0_slice_axis0": 1.0}, "best", 6, True),
        merge=MergeSection(
            {"_greater_scalar": {"scalar": "head0_slice_axis0"},
             "_contrib_box_nms": {"valid_thresh": "head0_slice_axis0", "coord_start": "decoder0_concat0"}},
            {"ssd0_slice_axis41": "None", "ssd0_slice_axis42": "head0_slice_axis0"}, True),
        evaluation=EvaluationSection(33, 160, ("cuda:3", "cuda:4", "cuda:5", "cuda:6")),
        compilation=CompilationSection(tmp_path, 1, "gpu", (1, 2)))
    assert read.prefix == tmp_path / "detector_512_voc"


def test_the_detector_has_every_key():
    """So that the test above leaves none out."""
    lines = [line.partition("=") for line in DETECTOR.splitlines() if line[:1].isalpha()]
    assert {name for name, _, _ in lines} == {key.name for key in KEYS}


def test_names_of_options_are_read_in_any_case(tmp_path, smallest):
    expected = read_configuration(smallest)
    shouting = SMALLEST.replace("Model_name", "MODEL_NAME").replace("Dataset", "dataset")
    assert read_configuration(write(tmp_path, shouting)) == expected


def test_options_of_default_are_seen_in_every_section(tmp_path):
    """The rule of configparser, which MRT reads with."""
    text = SMALLEST.replace("[CALIBRATION]", "Dump=True\nBatch=4\n\n[PREPARE]\nDump=\n[EVALUATION]\n[CALIBRATION]")
    read = read_configuration(write(tmp_path, text))
    assert (read.calibration.dump, read.quantization.dump, read.merge.dump) == (True, True, True)
    assert (read.calibration.batch, read.evaluation.batch) == (4, 4)
    assert read.prepare.dump is False  # an empty value of its own is the default


def test_batches_follow_each_other(smallest):
    def batches(**overrides):
        given = {"CALIBRATION.Batch": "8", "EVALUATION.Iter_num": "1", "COMPILATION.Device_type": "cpu"}
        read = read_configuration(smallest, given | {name.replace("_", "."): text for name, text in overrides.items()})
        return read.evaluation.batch, read.compilation.batch
    assert batches() == (8, 8)
    assert batches(EVALUATION_Batch="4") == (4, 4)
    assert batches(EVALUATION_Batch="4", COMPILATION_Batch="2") == (4, 2)


@pytest.mark.parametrize("text, start", [
    ("", 0), ("DEFAULT", 0), ("PREPARE", 1), ("2", 2), ("CALIBRATION", 3), ("4", 4), ("MERGE_MODEL", 5)])
def test_the_start_is_a_name_or_a_number(smallest, text, start):
    given = {"DEFAULT.Start": text, "SPLIT_MODEL.Keys": "relu0"}
    assert read_configuration(smallest, given).start is StartPoint(start)


def test_overrides_pass_the_same_checks(smallest):
    given = parse_overrides(["CALIBRATION.Batch=32", "quantization.x=1", "QUANTIZATION.Thresholds=a: 1, b: 2.5",
                             "CALIBRATION.dataset = a=b", "CALIBRATION.Batch=33"])
    assert given.pop("quantization.x") == "1"
    expected = read_configuration(smallest)
    assert read_configuration(smallest, given) == replace(
        expected, calibration=replace(expected.calibration, batch=33, dataset="a=b"),
        quantization=replace(expected.quantization, thresholds={"a": 1.0, "b": 2.5}))
    with pytest.raises(InvalidArgumentError, match="option `Batch` in section `CALIBRATION` of the overrides"):
        read_configuration(smallest, {"CALIBRATION.Batch": "many"})
    with pytest.raises(InvalidArgumentError, match=r"Please specify the value\n.*`Dataset`"):
        read_configuration(smallest, {"CALIBRATION.Dataset": ""})


@pytest.mark.parametrize("argument", ["Batch=1", "CALIBRATION.Batch", ""])
def test_an_override_has_a_form(argument):
    with pytest.raises(InvalidArgumentError, match="SECTION.Key=VALUE"):
        parse_overrides([argument])


@pytest.mark.parametrize("name", ["Batch", ".Batch", "CALIBRATION."])
def test_an_override_names_a_section_and_a_key(smallest, name):
    with pytest.raises(InvalidArgumentError, match="names SECTION.Key"):
        read_configuration(smallest, {name: "1"})


def test_relative_paths_start_at_the_current_folder(tmp_path, smallest, monkeypatch):
    """As in MRT; and ~ is the home of the user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    read = read_configuration("net.ini", {"DEFAULT.Model_dir": ".", "CALIBRATION.Dataset_dir": "~/sets"})
    assert (read.model_dir, read.calibration.dataset_dir) == (tmp_path, tmp_path / "sets")
    (tmp_path / "mrt_model").mkdir()
    assert read_configuration(smallest, {"DEFAULT.Model_dir": ""}).model_dir == tmp_path / "mrt_model"


def test_the_model_may_be_elsewhere(tmp_path, smallest):
    """Then the folder of the run is made by the run, not by reading."""
    given = {"DEFAULT.Model_dir": str(tmp_path / "new"), "DEFAULT.Symbol_file": str(tmp_path / "symbol.json"),
             "COMPILATION.Batch": "1"}
    read = read_configuration(smallest, given)
    assert read.model_dir == read.compilation.dump_dir == tmp_path / "new" and not read.model_dir.exists()
