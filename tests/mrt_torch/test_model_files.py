"""Files of models, ours, MXNet's and deployed ones. Oracle: the integers before and after a file."""

from __future__ import annotations

import json
import os
import pickle

import pytest
import torch

from mrt_torch import Model, load_ext, load_real_data, save_ext
from mrt_torch.cvm import Interval
from mrt_torch.deployment import reduce_graph
from mrt_torch.errors import InvalidArgumentError, InvalidFileError, MRTError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import set_facts
from mrt_torch.graph.stage import Stage
from mrt_torch.record import QuantizationRecord
from tests.mrt_torch.small_models import IMAGE, calibrated, convolutional, images, prepared

FORMS = {"own": ("m.json", "m.safetensors"), "mxnet": ("m-symbol.json", "m-0000.params")}


def best() -> Model:
    """Operands in two parts, constants of zero points and scales for each channel."""
    mrt = calibrated()
    mrt.set_accuracy("best", 1.0)
    return mrt.quantize()


STAGES = {"loaded": convolutional, "prepared": prepared, "quantized": lambda: calibrated().quantize(), "best": best}


@pytest.fixture(scope="module")
def quantized() -> Model:
    return calibrated(heads=2).quantize()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stage", STAGES)
def test_save_and_load_at_every_stage_in_both_forms(tmp_path, stage, form, monkeypatch):
    """Float graphs agree to float32 rounding (MXNet has other operators for some of ours); integers exactly."""
    def refuse(*_, **__):
        raise AssertionError("unpickled")
    model = STAGES[stage]()
    paths = [tmp_path / name for name in FORMS[form]]
    assert model.save(*paths) is None
    assert sorted(os.listdir(tmp_path)) == sorted(FORMS[form])
    for name in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    again = Model.load(*map(str, paths))
    assert again.is_quantized == model.is_quantized
    if model.is_quantized:
        data = load_real_data(images(), "data", model.record.inputs)
        assert torch.equal(again.to_graph()(data)[0], model.to_graph()(data)[0])
        assert list(again.record.inputs.values()) == list(model.record.inputs.values())
        assert again.record.output_scales == model.record.output_scales
        assert torch.equal(again(images()), model(images()))
    else:
        if form == "own":
            assert (again.stage, again.prepared, again.names()) == (model.stage, model.prepared, model.names())
        if not again.prepared:
            again.prepare(IMAGE)
        torch.testing.assert_close(again(images()), model(images()), rtol=1e-5, atol=1e-6)


def test_a_reloaded_prepared_model_quantizes_to_the_same_integers(tmp_path):
    mrt = calibrated()
    mrt.model.save(tmp_path / "p.json", tmp_path / "p.safetensors")
    again = Model.load(tmp_path / "p.json", tmp_path / "p.safetensors").get_mrt()
    again.set_data(images(8, seed=1))
    again.calibrate()
    assert again.th_dict == mrt.th_dict
    assert torch.equal(again.quantize()(images()), mrt.quantize()(images()))


@pytest.mark.parametrize("files", [
    ("no.json", "no.safetensors"), ("no-symbol.json", "no.params"), ("no-symbol.json", None), ("model.tflite", None),
    ("model.json", "model.pt"), ("model.json", None)])
def test_load_explains_missing_and_unknown_files(tmp_path, files):
    paths = [None if name is None else tmp_path / name for name in files]
    with pytest.raises(InvalidFileError):
        Model.load(*paths)


@pytest.mark.parametrize("change", [
    {"quantization": None}, {"quantization": {}}, {"quantization": 5},
    {"quantization": {"inputs": {}, "output_scales": [], "maps": {}}},
    {"quantization": {"inputs": {"data": {"scale": -1, "target_bit": 8}}, "output_scales": [1, 1], "maps": {}}},
    {"quantization": {"inputs": {"data": {"scale": 1, "target_bit": 80}}, "output_scales": [1, 1], "maps": {}}},
    {"quantization": {"inputs": [], "output_scales": [1, 1], "maps": {}}}], ids=repr)
def test_a_record_that_does_not_fit_is_refused(tmp_path, quantized, change):
    quantized.save(tmp_path / "q.json", tmp_path / "q.safetensors")
    document = json.loads((tmp_path / "q.json").read_text())
    document["record"] = change
    (tmp_path / "q.json").write_text(json.dumps(document))
    with pytest.raises(InvalidFileError):
        Model.load(tmp_path / "q.json", tmp_path / "q.safetensors")


def test_save_refuses_an_unknown_form_and_a_missing_folder(tmp_path):
    with pytest.raises(MRTError):
        prepared().save(tmp_path / "m.json", tmp_path / "m.pt")
    with pytest.raises(InvalidArgumentError, match="parent folder"):
        prepared().save(tmp_path / "no" / "m.json", tmp_path / "no" / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_to_cvm_and_back(tmp_path, quantized):
    data = load_real_data(images(4), "data", quantized.record.inputs)
    folder = quantized.to_cvm("net", datadir=tmp_path, input_shape=(4, 3, 6, 6), target="gpu", device_ids=[0, 1])
    assert folder == tmp_path / "net" and sorted(os.listdir(folder)) == ["ext", "params", "symbol"]
    again = Model.load_cvm(folder)
    assert again.is_quantized and again.input_names() == ["data"]
    for seen, expected in zip(again.to_graph()(data), quantized.to_graph()(data), strict=True):
        assert torch.equal(seen.reshape(expected.shape), expected)
    for seen, expected in zip(again(images(4)), quantized(images(4)), strict=True):
        assert seen.shape == expected.shape and torch.equal(seen, expected)


@pytest.mark.parametrize("other", [lambda editor, y: editor.constant("anchors", torch.rand(1, 7, 4)),
                                   lambda editor, y: editor.call(torch.ops.aten.permute.default, y, [1, 0, 2, 3])],
                         ids=["constant", "time-major"])
def test_outputs_of_other_batch_axes_are_deployed(tmp_path, other):
    """SSD's anchors do not follow the batch, a time-major output does on axis 1: the folder holds one row for each."""
    editor = GraphEditor(empty_graph_module())
    y = editor.call(torch.ops.aten.relu.default, editor.input("data", (2, 3, 6, 6)))
    editor.output([y, other(editor, y)])
    editor.module.recompile()
    model = Model(editor.module)
    model.prepare((2, 3, 6, 6))
    mrt = model.get_mrt()
    mrt.set_data(images(2))
    mrt.calibrate()
    quantized = mrt.quantize()
    again = Model.load_cvm(quantized.to_cvm("net", tmp_path, input_shape=(2, 3, 6, 6)))
    for seen, expected in zip(again(images(2)), quantized(images(2)), strict=True):
        assert seen.shape == expected.shape and torch.equal(seen, expected)


def test_a_deployed_model_without_extension_has_integers_only(tmp_path, quantized):
    folder = quantized.to_cvm("net", tmp_path)
    (folder / "ext").unlink()
    again = Model.load_cvm(folder)
    data = load_real_data(images(), "data", quantized.record.inputs)
    assert len(again.to_graph()(data)) == 2
    with pytest.raises(InvalidArgumentError, match="scale"):
        again(images())


@pytest.mark.parametrize("extension", [{"oscales": [1.0]}, {"oscales": 5}, {"inputs_ext": 5}, {"output_shapes": [[1]]},
                                       {"oscales": [0.0, 1.0]}, {"inputs_ext": {"data": {"scale": "1"}}},
                                       {"oscales": [10**400, 1.0]}, {"output_shapes": [[2, 1], [2, 5]]},
                                       {"inputs_ext": {"data": {"scale": 10**400, "target_bit": 8}}}],
                         ids=lambda extension: repr(extension)[:60])
def test_an_extension_that_does_not_fit_is_refused(tmp_path, quantized, extension):
    folder = quantized.to_cvm("net", tmp_path)
    save_ext(folder / "ext", load_ext(folder / "ext")[0] | extension)
    with pytest.raises(InvalidFileError):
        Model.load_cvm(folder)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/net", "../net"])
def test_a_model_name_is_one_folder(tmp_path, quantized, name):
    with pytest.raises(InvalidArgumentError, match="name"):
        quantized.to_cvm(name, tmp_path / "data")
    assert not list(tmp_path.iterdir())


def test_integer_parameters_above_2_to_the_24_survive_reduction(tmp_path):
    """MRT defect 9: they passed through float32."""
    editor = GraphEditor(empty_graph_module())
    x = editor.input("data", (1, 2), torch.int32)
    set_facts(x, precision=8, value_range=Interval.symmetric(8))
    value = torch.tensor([2 ** 24 + 1, -(2 ** 29 + 3)], dtype=torch.int32)
    editor.output([editor.call(torch.ops.cvm.broadcast_add.default, x, editor.constant("bias", value), name="sum")])
    editor.module.recompile()
    record = QuantizationRecord({"data": {"scale": 1.0, "target_bit": 8}}, (1.0,), {"sum": "sum"})
    model = Model(editor.module, Stage.INTEGER, record=record, prepared=True)
    zeros = torch.zeros(1, 2, dtype=torch.int32)
    assert reduce_graph(model).to_graph()(zeros)[0].tolist() == [value.tolist()]
    assert Model.load_cvm(model.to_cvm("net", tmp_path)).to_graph()(zeros)[0].tolist() == [value.tolist()]
