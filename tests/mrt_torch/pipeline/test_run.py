"""Whole runs. Oracles: the same calls by hand, and the bytes of a run without interruption."""

from __future__ import annotations

import functools
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mrt_torch import MRT, Model, load_ext, load_real_data
from mrt_torch.data import dataset_called
from mrt_torch.demo import load_digits
from mrt_torch.errors import InvalidArgumentError, InvalidFileError, InvalidGraphError
from mrt_torch.graph.stage import Stage
from mrt_torch.pipeline.checkpoint import Checkpoint
from mrt_torch.pipeline.run import run, run_configuration_file
from mrt_torch.pipeline.run_configuration import (
    CalibrationSection,
    CompilationSection,
    MergeSection,
    QuantizationSection,
    SplitSection,
    StartPoint,
)
from tests.mrt_torch.pipeline import killed_runs
from tests.mrt_torch.pipeline.runs import KEY, digits_run, written
from tests.mrt_torch.processes import run_python

CHECKPOINTS = ("prepare", "mrt.calibrate", "mrt.quantize")
WITH_KEYS = ("prepare", "base", "top", "mrt.calibrate", "mrt.quantize", "all.quantize")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Makes a run of all stages with every checkpoint, for keys: its summary and folder."""
    @functools.cache
    def whole_run(*keys: str):
        folder = tmp_path_factory.mktemp("run")
        return run(digits_run(folder, keys)), folder
    return whole_run


def test_the_run_does_what_the_calls_do(whole):
    """Oracle: Model.load, prepare, MRT and to_cvm by hand on the same batches."""
    summary, folder = whole()
    digits, data = load_digits(), dataset_called("digits")((32, 1, 8, 8))
    model = Model.load(digits.symbol_file, digits.params_file)
    model.prepare((1, 1, 8, 8))
    mrt = model.get_mrt()
    mrt.set_data([data.batch(index)[0] for index in range(2)])
    mrt.calibrate()
    quantized = mrt.quantize()
    images, labels = (torch.cat(parts) for parts in zip(*(data.batch(index) for index in range(2)), strict=True))
    deployed = Model.load_cvm(folder / "digits_cvm")
    assert torch.equal(deployed(images[:1]), quantized(images[:1]))
    sample = np.load(folder / "digits_cvm" / "data.npy", allow_pickle=False)
    assert sample.dtype == np.int8 and sample.shape == (1, 1, 8, 8)
    assert np.array_equal(sample, load_real_data(images[:1], "data", mrt.get_inputs_ext()).numpy())
    (ext,) = load_ext(folder / "digits_cvm" / "ext")
    assert ext["oscales"] == mrt.get_output_scales() and ext["inputs_ext"] == mrt.get_inputs_ext()
    assert ext["input_shapes"] == {"data": [1, 1, 8, 8]}
    figures = summary.evaluation.to_json()
    assert figures["examples"] == 64
    assert [stage.outcome for stage in summary.stages] == ["finished", "skipped", "finished", "finished", "skipped",
                                                            "finished", "finished"]
    text = str(summary)
    assert all(stage in text for stage in ("PREPARE", "QUANTIZATION", "COMPILATION", "gas")) and str(folder) in text
    assert json.loads(json.dumps(summary.to_json()))["size"]["operators"] > 0


def test_the_documented_files(whole):
    """Names of MRT's checkpoints; the extension of all.quantize has its six lines."""
    for keys, suffixes in (((), CHECKPOINTS), ((KEY,), WITH_KEYS)):
        folder = whole(*keys)[1]
        for suffix in suffixes:
            assert (folder / f"digits.{suffix}.json").is_file() and (folder / f"digits.{suffix}.params").is_file()
        lines = load_ext(folder / "digits.all.quantize.ext")
        assert lines[::2] == ("oscales: ", "input_ext: ", "input shapes: ") and lines[5] == [-1, 1, 8, 8]
        final = Model.load(folder / f"digits.{suffixes[-1]}.json", folder / f"digits.{suffixes[-1]}.params")
        assert lines[1] == list(final.record.output_scales) and lines[3] == dict(final.record.inputs)
        assert not [path for path in folder.iterdir() if path.name.startswith(".tmp")]
    assert (folder / "digits.mrt.calibrate.ext").is_file()


def test_a_merged_run_is_an_integer_model(whole):
    summary, folder = whole(KEY)
    merged = Model.load(folder / "digits.all.quantize.json", folder / "digits.all.quantize.params")
    assert merged.stage is Stage.INTEGER and summary.size.gas > 0
    images = load_digits().test_images
    assert torch.equal(merged(images[:1]), Model.load_cvm(folder / "digits_cvm")(images[:1]))
    assert load_digits().accuracy(merged(images)) > 0.9


@pytest.mark.parametrize("keys, start", [(keys, start) for keys in ((), (KEY,)) for start in list(StartPoint)[1:]
                                         if start.exists(keys)])
def test_a_restart_gives_the_same_bytes(whole, tmp_path, keys, start):
    """Everything behind the start point is removed first, so that nothing but the restart can have written it."""
    folder, names = whole(*keys)[1], WITH_KEYS if keys else CHECKPOINTS
    stages = {"prepare": 1, "base": 2, "top": 2, "mrt.calibrate": 3, "mrt.quantize": 4, "all.quantize": 5}
    expected = written(folder)
    for name, content in expected.items():
        suffix = next((each for each in names if name.startswith(f"digits.{each}.")), None)
        if suffix and stages[suffix] <= start:
            (tmp_path / name).write_bytes(content)
    summary = run(digits_run(tmp_path, keys, start))
    assert summary.stages[start - 1].outcome == "read"
    assert all(stage.outcome == "skipped" for stage in summary.stages[:start - 1])
    found = written(tmp_path)
    again = {name: content for name, content in expected.items() if name in found}
    assert found == again and "digits_cvm/params" in found and "digits_cvm/data.npy" in found
    behind = {name for name in expected for suffix in names if name.startswith(f"digits.{suffix}.")
              and stages[suffix] > start}
    assert behind <= set(found)


def test_a_checkpoint_that_is_not_there(tmp_path):
    with pytest.raises(InvalidFileError, match="Check point of `CALIBRATION` not found") as caught:
        run(digits_run(tmp_path, start=StartPoint.CALIBRATION))
    assert "Dump=True" in str(caught.value)
    with pytest.raises(InvalidArgumentError, match="Invalid start point"):
        run(digits_run(tmp_path, start=StartPoint.SPLIT_MODEL))


def test_a_corrupt_checkpoint(whole, tmp_path):
    content = written(whole()[1])
    for name in ("digits.mrt.calibrate.json", "digits.mrt.calibrate.ext", "digits.mrt.calibrate.sample.safetensors"):
        (tmp_path / name).write_bytes(content[name])
    (tmp_path / "digits.mrt.calibrate.params").write_bytes(content["digits.mrt.calibrate.params"][:-5])
    with pytest.raises(InvalidFileError):
        run(digits_run(tmp_path, start=StartPoint.CALIBRATION))


def test_settings_reach_the_quantization(tmp_path):
    """Oracle: MRT with the same calls."""
    section = QuantizationSection(input_precision=7, output_precision=12, softmax_lambd=8.0, shift_bits=4,
                                  thresholds={"data": 1.5}, accuracy="original", dump=True)
    run(digits_run(tmp_path, quantization=section, evaluation=None, compilation=None))
    again = MRT.of_state(*_state(tmp_path))
    again.set_accuracy("original")
    again.set_input_prec(7)
    again.set_output_prec(12)
    again.set_softmax_lambd(8.0)
    again.set_shift_bits(4)
    again.set_threshold("data", 1.5)
    quantized = Model.load(tmp_path / "digits.mrt.quantize.json", tmp_path / "digits.mrt.quantize.params")
    images = load_digits().test_images[:8]
    assert torch.equal(again.quantize()(images), quantized(images))
    assert quantized.record.inputs["data"]["target_bit"] == 7


def test_configured_nodes(tmp_path):
    """Oracle: MRT.set_cfg_dict with what the text stands for."""
    text = tmp_path / "digits.ini"
    text.write_text(f"""[DEFAULT]
Model_dir={tmp_path}
Model_name=digits
Symbol_file={load_digits().symbol_file}
Params_file={load_digits().params_file}
Input_shape=(-1, 1, 8, 8)
[CALIBRATION]
Dataset=digits
Batch=32
Cfg_groups=
  ["relu0". "relu1"]: quant_type: UniformAffine,
  ["dense_weight"]: gn_info: {{"gn_type"; "layer-wise"}}
Dump=True
[QUANTIZATION]
Dump=True
""", encoding="utf-8")
    run_configuration_file(text)
    digits = load_digits()
    model = Model.load(digits.symbol_file, digits.params_file)
    model.prepare((-1, 1, 8, 8))
    mrt = model.get_mrt()
    mrt.set_cfg_dict({("relu0", "relu1"): {"quant_type": "UniformAffine"},
                      "dense_weight": {"gn_info": {"gn_type": "layer-wise"}}})
    mrt.set_data(dataset_called("digits")((32, 1, 8, 8)).batch(0)[0])
    mrt.calibrate()
    quantized = Model.load(tmp_path / "digits.mrt.quantize.json", tmp_path / "digits.mrt.quantize.params")
    expected = mrt.quantize()
    assert quantized.record == expected.record
    assert torch.equal(quantized(digits.test_images), expected(digits.test_images))
    assert set(_state(tmp_path)[0].settings.configuration) == {"relu0", "relu1", "dense_weight"}


def _state(folder: Path):
    from mrt_torch.mrt_files import load_state
    stem = Checkpoint("CALIBRATION", folder / "digits", "mrt.calibrate").stem
    return load_state(stem, ".params"), stem


@pytest.mark.parametrize("names, kept", [(("relu0",), {"relu0"}), (("_OP_Convolution",), None),
                                         (("_ALL_EXCEPT_", "_OP_Convolution"), None)])
def test_restored_nodes(tmp_path, names, kept):
    """Oracle: which operators of the graph are not integer ones."""
    section = QuantizationSection(restore_name=names, dump=True)
    run(digits_run(tmp_path, quantization=section, compilation=None, evaluation=None))
    quantized = Model.load(tmp_path / "digits.mrt.quantize.json", tmp_path / "digits.mrt.quantize.params")
    targets = {str(node.target) for node in quantized.module.graph.nodes if node.op == "call_function"}
    convolutions = "aten.conv2d.default" in targets
    assert quantized.stage is Stage.RESTORED
    assert convolutions == (names == ("_OP_Convolution",))
    assert ("cvm.conv2d.default" in targets) == (names != ("_OP_Convolution",))
    assert ("aten.relu.default" in targets) == (kept is not None or "_ALL_EXCEPT_" in names)


def test_restored_nodes_that_do_not_exist(tmp_path):
    for name in ("nobody", "_OP_Nothing"):
        with pytest.raises(InvalidArgumentError, match=name.removeprefix("_OP_")) as caught:
            run(digits_run(tmp_path, quantization=QuantizationSection(restore_name=(name,)), compilation=None))
        assert "option `Restore_name` in section `QUANTIZATION`" in str(caught.value)


@pytest.mark.parametrize("blame, error, wrong", [
    ("`Dataset` in section `CALIBRATION`", InvalidArgumentError, {"calibration": CalibrationSection("nobody")}),
    ("`Dataset` or `Dataset_dir` in section `CALIBRATION`", InvalidArgumentError,
     {"calibration": CalibrationSection("mnist")}),
    ("`Dataset` or `Dataset_dir` in section `CALIBRATION`: nowhere", InvalidFileError,
     {"calibration": CalibrationSection("npz", dataset_dir=Path("nowhere"))}),
    ("`Restore_name` in section `QUANTIZATION`", InvalidArgumentError,
     {"quantization": QuantizationSection(restore_name=("relu0",))})])
def test_what_is_wrong_from_the_start_is_told_before_anything_is_written(tmp_path, blame, error, wrong):
    """The message names the option; the folder stays empty."""
    with pytest.raises(error) as caught:
        run(digits_run(tmp_path, **wrong))
    assert f"where: option {blame}" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("blame, wrong", [
    ("`Keys` in section `SPLIT_MODEL`", {"split": SplitSection(("nobody",))}),
    ("`Cfg_groups` in section `CALIBRATION`",
     {"calibration": CalibrationSection("digits", cfg_groups={"relu0": {"quant_type": "Nobody"}})}),
    ("`Thresholds` in section `QUANTIZATION`", {"quantization": QuantizationSection(thresholds={"nobody": 1.0})}),
    ("`Attribute_deps` or `Oscale_maps` in section `MERGE_MODEL`",
     {"split": SplitSection((KEY,)), "merge": MergeSection({"nobody": {"scalar": KEY}}, {})}),
    ("`Batch` in section `COMPILATION`", {"compilation": CompilationSection(Path("."), 1000)})])
def test_what_a_stage_refuses_is_blamed_on_its_option(tmp_path, monkeypatch, blame, wrong):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError) as caught:
        run(digits_run(tmp_path, evaluation=None, **wrong))
    assert f"where: option {blame}" in str(caught.value)


def test_an_input_shape_that_does_not_fit(tmp_path):
    """The data set fits, the network does not."""
    data = CalibrationSection("stdrandom")
    with pytest.raises(InvalidGraphError, match="option `Input_shape` in section `DEFAULT`: node 'conv0'"):
        run(replace(digits_run(tmp_path, calibration=data), input_shape=(-1, 1, 3)))


def test_wide_inputs_have_wide_data(tmp_path):
    """Of more than 8 bits, which the original cut to int8."""
    run(digits_run(tmp_path, quantization=QuantizationSection(input_precision=12), evaluation=None))
    sample = np.load(tmp_path / "digits_cvm" / "data.npy")
    assert sample.dtype == np.int32 and np.abs(sample).max() > 127


def test_more_batches_calibrate_more(tmp_path):
    """The original kept the last batch alone. Oracle: the calibration on all of them at once."""
    run(digits_run(tmp_path, evaluation=None, compilation=None))
    state, _ = _state(tmp_path)
    data = dataset_called("digits")((64, 1, 8, 8)).batch(0)[0]
    mrt = MRT(state.model)
    mrt.set_data(data)
    mrt.calibrate()
    assert {name: feature.serialize() for name, feature in state.features.items()} == {
        name: feature.serialize() for name, feature in mrt.features.items()}


def test_the_log_file(tmp_path, caplog):
    """It says what each stage did; other handlers see what they would without it."""
    summary = run(digits_run(tmp_path, evaluation=None))
    text = (tmp_path / "digits.log").read_text(encoding="utf-8")
    assert "`QUANTIZATION` stage finished" in text and "INFO" in text and str(summary) in text
    assert not [record for record in caplog.records if record.levelno < logging.WARNING]
    assert logging.getLogger("mrt_torch").propagate
    loud = replace(digits_run(tmp_path, evaluation=None), verbosity=logging.INFO)
    assert str(run(loud)) not in caplog.text and "`QUANTIZATION` stage finished" in caplog.text


def test_the_float_model_is_found_by_name(tmp_path):
    """As MRT names it, and as gluon's export does; else the error says what was looked for."""
    digits = load_digits()
    configuration = replace(digits_run(tmp_path, evaluation=None, compilation=None), symbol_file=None,
                            params_file=None)
    with pytest.raises(InvalidFileError, match="the float model is missing") as caught:
        run(configuration)
    assert "digits-symbol.json" in str(caught.value) and "nothing is downloaded" in str(caught.value)
    for endings in ((".json", ".params"), ("-symbol.json", "-0000.params")):
        copies = [tmp_path / f"digits{ending}" for ending in endings]
        for copy, source in zip(copies, (digits.symbol_file, digits.params_file), strict=True):
            copy.write_bytes(source.read_bytes())
        run(configuration)
        for copy in copies:
            copy.unlink()


@pytest.mark.parametrize("keys, stride", [((), 7), ((KEY,), 11)])
def test_a_killed_run_leaves_whole_checkpoints(tmp_path, keys, stride):
    """Killed at steps all through the run, over the files of an earlier one: each checkpoint is then the old one, the
    new one or none at all, never a mixture; and a run after it leaves what a run without interruption leaves.
    """
    run(digits_run(tmp_path / "whole", keys))
    through = _kill(tmp_path, keys, stride)
    old, new = written(tmp_path / "whole"), written(tmp_path / str(through))
    suffixes = WITH_KEYS if keys else CHECKPOINTS
    killed = [folder for folder in tmp_path.iterdir() if folder.name not in ("whole", str(through))]
    assert len(killed) >= 3
    for folder in killed:
        found = written(folder)
        for suffix in suffixes:
            own, before, after = (_of_checkpoint(files, suffix) for files in (found, old, new))
            if f"digits.{suffix}.json" in own:
                assert own in (before, after), f"{suffix} after {folder.name} steps"
        deployed = {name: content for name, content in found.items() if name.startswith("digits_cvm/")}
        assert deployed in [{}] + [{name: content for name, content in files.items() if name.startswith("digits_cvm/")}
                                   for files in (old, new)]
    last = max(killed, key=lambda folder: int(folder.name))
    configuration = digits_run(last, keys)
    run(replace(configuration, calibration=replace(configuration.calibration, calibrate_num=1)))
    assert written(last) == new


def _kill(folder: Path, keys: tuple[str, ...], stride: int) -> int:
    """The number of steps at which a run got through."""
    done = run_python("-m", killed_runs.__name__, folder, stride, *keys)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def _of_checkpoint(files: dict[str, bytes], suffix: str) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name.startswith(f"digits.{suffix}.")}
