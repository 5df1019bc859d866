"""Oracle: the documents' order of use and names; the float model for what the numbers mean."""

from __future__ import annotations

import json
import os

import pytest
import torch

from mrt_torch import MRT, AFeature, Model
from mrt_torch.calibration.features import get_feature
from mrt_torch.errors import CalibrationError, InvalidArgumentError, InvalidFileError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.stage import Stage
from mrt_torch.quantization import QuantizationSettings
from mrt_torch.quantization.calibrated_file import save_sample
from tests.mrt_torch.small_models import calibrated, images, prepared


def relative_error(seen: torch.Tensor, expected: torch.Tensor) -> float:
    return float((seen - expected).norm() / expected.norm())


def test_the_documented_order_of_use():
    """8 bits in and in the weights: a few percent of the logits on random weights."""
    mrt = prepared().get_mrt()
    for seed in range(3):
        mrt.set_data(images(4, seed))
        mrt.calibrate(lambd=None, ctx="cpu")
    mrt.set_input_prec(8)
    mrt.set_output_prec(8)
    mrt.set_softmax_lambd(10)
    mrt.set_shift_bits(8)
    mrt.set_threshold("data", 4.0)
    quantized = mrt.quantize()
    assert quantized is mrt.current_model and quantized is not mrt.model and not mrt.model.is_quantized
    assert relative_error(quantized(images(4, 0)), mrt.model(images(4, 0))) < 0.05
    assert mrt.get_inputs_ext() == {"data": {"scale": 127 / 4.0, "target_bit": 8}}
    assert mrt.get_maps() == {quantized.output_names()[0]: "dense"}
    (scale,) = mrt.get_output_scales()
    assert scale == quantized.record.output_scales[0] == pytest.approx(127 / mrt.th_dict["dense"], rel=2 ** -11)


def test_more_output_bits_are_more_accurate():
    errors = []
    for bits in (4, 8, 16):
        mrt = calibrated()
        mrt.set_output_prec(bits)
        quantized = mrt.quantize()
        errors.append(relative_error(quantized(images()), mrt.model(images())))
        head = quantized.to_graph().graph
        node = next(node for node in reversed(head.nodes) if node.op == "output").args[0][0]
        assert facts_of(node).value_range.precision <= bits
    assert errors[0] > errors[1] >= errors[2] * 0.9


def test_input_precision_bounds_the_integers():
    mrt = calibrated()
    mrt.set_input_prec(5)
    assert mrt.quantize().record.inputs["data"]["target_bit"] == 5


def test_operator_precisions_are_set_by_name():
    mrt = calibrated()
    mrt.set_op_input_prec("Convolution", 4)
    mrt.set_op_input_prec("FullyConnected", 5)
    assert mrt.settings.operator_precision("Convolution") == 4
    coarse, fine = mrt.quantize(), calibrated().quantize()
    expected = mrt.model(images(8, 1))
    assert relative_error(coarse(images(8, 1)), expected) > 2 * relative_error(fine(images(8, 1)), expected)


@pytest.mark.parametrize("call", [
    lambda mrt: mrt.set_input_prec(1), lambda mrt: mrt.set_input_prec(8.0), lambda mrt: mrt.set_output_prec(99),
    lambda mrt: mrt.set_softmax_lambd(0), lambda mrt: mrt.set_softmax_lambd(float("nan")),
    lambda mrt: mrt.set_shift_bits(0), lambda mrt: mrt.set_threshold("nobody", 1.0),
    lambda mrt: mrt.set_threshold("relu0", -1.0), lambda mrt: mrt.set_threshold("relu0", float("nan")),
    lambda mrt: mrt.set_threshold("relu0", "wide"), lambda mrt: mrt.set_th_dict({"nobody": 1.0}),
    lambda mrt: mrt.set_th_dict({"relu0": -1}), lambda mrt: mrt.set_restore("nobody"),
    lambda mrt: mrt.set_op_input_prec("Convolution", 16), lambda mrt: mrt.set_op_input_prec("nothing", 8),
    lambda mrt: mrt.set_node_input_prec("nobody", 12), lambda mrt: mrt.set_node_input_prec("conv1", 16),
    lambda mrt: mrt.set_node_input_prec("conv1", 1), lambda mrt: mrt.set_node_input_prec("conv1", 12.0),
    lambda mrt: mrt.set_node_input_prec("relu0", 12), lambda mrt: mrt.set_node_input_prec("conv1_weight", 12),
    lambda mrt: mrt.set_node_input_prec("data", 12), lambda mrt: mrt.set_accuracy("good"),
    lambda mrt: mrt.set_accuracy("best", -1), lambda mrt: mrt.set_accuracy("best", "much"),
    lambda mrt: mrt.set_weight_precision(9), lambda mrt: mrt.set_cfg_dict({"conv0": {"quant_type": "Odd"}}),
    lambda mrt: mrt.set_cfg_dict({"conv0": {"opt_info": ("Odd",)}}), lambda mrt: mrt.set_cfg_dict({"conv0": 5})])
def test_a_refused_setting_changes_nothing(call):
    mrt = calibrated()
    before = mrt.settings, dict(mrt.th_dict)
    with pytest.raises(InvalidArgumentError):
        call(mrt)
    assert (mrt.settings, mrt.th_dict) == before


def test_a_threshold_is_set_by_the_name_in_the_model():
    mrt = calibrated()
    mrt.set_threshold("relu1", 0.25)
    assert mrt.th_dict["relu1"] == mrt.features["relu1"].get_threshold() == 0.25
    mrt.set_threshold("conv0_weight", 0.5)
    assert mrt.features["conv0_weight"] == AFeature(0.5)
    mrt.quantize()
    mrt.set_th_dict({"data": 1.0})
    assert mrt.th_dict == {"data": 1.0}
    with pytest.raises(CalibrationError, match="no threshold"):
        mrt.quantize()


def test_a_weight_threshold_clips_the_weight():
    mrt = calibrated()
    mrt.set_threshold("conv0_weight", 0.1)
    clipped = {name: buffer for name, buffer in mrt.quantize().module.named_buffers() if "conv0_weight" in name}
    whole = {name: buffer for name, buffer in calibrated().quantize().module.named_buffers() if "conv0_weight" in name}
    (clipped,), (whole,) = clipped.values(), whole.values()
    assert int(clipped.abs().max()) == int(whole.abs().max()) == 127
    assert (clipped.abs() == 127).sum() > (whole.abs() == 127).sum()


def test_quantize_needs_calibration_and_calibrate_needs_data():
    mrt = prepared().get_mrt()
    with pytest.raises(CalibrationError, match="set_data and calibrate"):
        mrt.quantize()
    with pytest.raises(CalibrationError, match="set_data"):
        mrt.calibrate()
    for early in (mrt.get_output_scales, mrt.get_maps, mrt.get_inputs_ext):
        with pytest.raises(InvalidArgumentError, match="quantize"):
            early()


def test_quantize_again_gives_a_new_model_and_the_old_one_stays():
    mrt = calibrated()
    first = mrt.quantize()
    before = first(images())
    mrt.set_output_prec(4)
    second = mrt.quantize()
    assert second is not first and mrt.current_model is second
    assert torch.equal(first(images()), before) and not torch.equal(second(images()), before)


def test_restored_nodes_stay_in_float():
    mrt = calibrated()
    mrt.set_restore("conv1")
    mrt.set_restore("dense")
    quantized = mrt.quantize()
    assert quantized.stage is Stage.RESTORED
    targets = {str(node.target) for node in quantized.module.graph.nodes if node.op == "call_function"}
    assert {"aten.conv2d.default", "aten.linear.default"} <= targets
    assert relative_error(quantized(images()), mrt.model(images())) < 0.05


def test_the_maps_follow_every_output():
    mrt = calibrated(heads=2)
    mrt.set_output_prec(8)
    mrt.quantize()
    assert list(mrt.get_maps().values()) == ["dense", "features"]
    assert len(mrt.get_output_scales()) == 2


def test_outputs_that_share_integers_keep_their_own_scales():
    """x and 3 x may share one node; each output still is the float it stands for. Half a unit of the 8-bit input."""
    editor = GraphEditor(empty_graph_module())
    x = editor.call(torch.ops.aten.relu.default, editor.input("data", (1, 4)), name="positive")
    editor.output([x, editor.call(torch.ops.aten.mul.Scalar, x, 3.0, name="tripled"), x])
    editor.module.recompile()
    model = Model(editor.module, Stage.SOURCE)
    model.prepare()
    mrt = model.get_mrt()
    data = torch.rand(16, 4)
    mrt.set_data(data)
    mrt.calibrate()
    quantized = mrt.quantize()
    for seen, expected in zip(quantized(data), model(data), strict=True):
        assert float((seen - expected).abs().max()) <= 0.51 * float(expected.max()) / 127
    assert len(mrt.get_maps()) == 3 == len(mrt.get_output_scales())


@pytest.mark.parametrize("quantize", [False, True])
def test_save_and_load(tmp_path, quantize):
    mrt = calibrated(heads=2)
    mrt.set_shift_bits(6)
    mrt.set_restore("relu0") if not quantize else None
    if quantize:
        mrt.quantize()
    mrt.save("net", datadir=tmp_path / "new" / "folder")
    again = MRT.load("net", datadir=tmp_path / "new" / "folder")
    assert (again.settings, again.th_dict) == (mrt.settings, mrt.th_dict)
    assert again.model.names() == mrt.model.names()
    if quantize:
        assert (again.get_maps(), again.get_inputs_ext(), again.get_output_scales()) == (
            mrt.get_maps(), mrt.get_inputs_ext(), mrt.get_output_scales())
    for seen, expected in zip(again.quantize()(images()), mrt.quantize()(images()), strict=True):
        assert torch.equal(seen, expected)


def test_the_ext_file_has_a_line_each_for_names_features_settings_scales_and_buffers(tmp_path):
    """MRT defect 11: a requested output precision was an int among dictionaries; settings are one record here."""
    mrt = calibrated()
    mrt.set_output_prec(8)
    mrt.quantize()
    mrt.save("net", tmp_path)
    lines = (tmp_path / "net.mrt.ext").read_text().splitlines()
    names, features, operands, settings, scales, buffers, digest = map(json.loads, lines)
    assert names == ["dense"] and scales == mrt.get_output_scales() and buffers.keys() == mrt.buffers.keys()
    assert {name: get_feature(value) for name, value in features.items()} == mrt.features
    assert {(name, groups): get_feature(value) for name, groups, value in operands} == mrt.operand_features
    assert QuantizationSettings.from_json(settings) == mrt.settings


def test_load_makes_no_folder_and_explains_what_is_missing(tmp_path):
    with pytest.raises(InvalidFileError):
        MRT.load("net", tmp_path / "nowhere")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("line,text", [
    (0, ""), (1, "[]"), (1, '{"nobody": ["Absmax", 1.0]}'), (1, '{"relu0": ["Absmax", -1]}'), (1, '{"relu0": 1.0}'),
    (1, "5"), (2, "{}x"), (2, "null"), (2, "[[]]"), (2, '[["relu0", 0, ["Absmax", 1]]]'),
    (2, '[["nobody", 1, ["Absmax", 1]]]'), (3, "null"), (3, '{"input_precision": 99}'), (3, "{"), (3, "[]"),
    (3, '{"recipe": 5}'), (3, '{"recipe": {"rounding": "odd"}}'), (3, '{"node_precisions": {"conv1": 99}}'),
    (3, '{"node_precisions": 5}'), (3, '{"configuration": 5}'), (3, '{"configuration": {"conv0": 5}}'),
    (3, '{"restore": 5}'), (3, '{"operator_precisions": []}'), (3, '{"softmax_lambd": "x"}'), (4, "]"), (5, "[]"),
    (5, "null"), (5, '{"conv0": 1.0}'), (5, '{"conv0": ["Unheard", 1.0]}')])
def test_a_damaged_ext_file_is_refused(tmp_path, line, text):
    calibrated().save("net", tmp_path)
    path = tmp_path / "net.mrt.ext"
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InvalidFileError):
        MRT.load("net", tmp_path)


@pytest.mark.parametrize("seed, why", [(None, "missing"), (5, "contents differ")])
def test_a_sample_that_is_gone_or_another_is_refused(tmp_path, seed, why):
    """Biases would be corrected by other data: other integers without a word."""
    calibrated().save("net", tmp_path)
    path = tmp_path / "net.mrt.sample.safetensors"
    path.unlink()
    if seed is not None:
        save_sample(path, images(8, seed=seed))
    with pytest.raises(InvalidFileError) as caught:
        MRT.load("net", tmp_path)
    assert why in str(caught.value)


def test_an_ext_file_of_something_else_is_refused(tmp_path):
    calibrated().save("net", tmp_path)
    (tmp_path / "net.mrt.ext").write_text('{"inputs_ext": {}}\n')
    with pytest.raises(InvalidFileError, match="lines"):
        MRT.load("net", tmp_path)


def test_only_a_prepared_model_with_one_input_is_taken():
    editor = GraphEditor(empty_graph_module())
    total = editor.call(torch.ops.aten.add.Tensor, editor.input("a", (1, 4)), editor.input("b", (1, 4)), name="total")
    editor.output([total])
    editor.module.recompile()
    with pytest.raises(InvalidArgumentError, match="one input"):
        MRT(Model(editor.module, Stage.FLOAT, prepared=True))
    with pytest.raises(InvalidArgumentError, match="2 to 31"):
        MRT(prepared(), input_prec=1)
    assert MRT(prepared(), input_prec=6).settings.input_precision == 6
