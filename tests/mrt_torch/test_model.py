"""Oracle: the API of the documents, and the float graph itself."""

from __future__ import annotations

import doctest
import os
import re

import numpy as np
import pytest
import torch
from torch import fx

from mrt_torch import MRT, Model, load_real_data, reduce_graph
from mrt_torch import model as model_module
from mrt_torch.errors import InvalidArgumentError, InvalidGraphError, MRTError, UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, input_nodes
from mrt_torch.graph.stage import Stage
from tests.mrt_torch.small_models import IMAGE, calibrated, convolutional, images, prepared

STAGES = {"loaded": convolutional, "prepared": prepared, "quantized": lambda: calibrated().quantize()}


@pytest.fixture(scope="module")
def quantized() -> Model:
    return calibrated(heads=2).quantize()


def test_the_examples_of_the_documentation_run():
    results = doctest.testmod(model_module)
    assert results.attempted >= 3 and results.failed == 0


def test_prepare_acts_in_place_and_returns_nothing():
    model = convolutional()
    assert model.stage is Stage.SOURCE and not model.prepared and model.input_names() == ["image"]
    assert model.prepare((2, 3, 6, 6)) is None
    assert model.stage is Stage.FLOAT and model.prepared and model.input_names() == ["data"]
    assert model.output_names() == ["dense"] and model.input_shapes() == {"data": IMAGE}


def test_prepare_keeps_the_values_and_leaves_the_given_graph():
    """float32 with BatchNorm-free rewriting: the mean becomes a sum, 1e-5 of the largest output."""
    source = convolutional(heads=2)
    module, expected = source.module, source(images())
    code = module.code
    source.prepare({"image": (1, 3, 6, 6)})
    assert module.code == code
    for seen, wanted in zip(source(images()), expected, strict=True):
        torch.testing.assert_close(seen, wanted, rtol=1e-5, atol=1e-6)


def test_names_are_those_of_the_model():
    assert convolutional().names() == ["image", "conv0", "relu0", "pool0", "conv1", "relu1", "features", "dense"]
    assert set(prepared().names()) >= {"data", "conv0", "relu0", "dense"} - {"data"}


def test_a_model_is_called_with_tensors_or_arrays_of_any_number_type(quantized):
    pixels = torch.randint(0, 3, (2, *IMAGE[1:]), dtype=torch.uint8)
    for model in (convolutional(heads=2), prepared(heads=2), quantized):
        expected = model(pixels.float())
        read_only = pixels.numpy().copy()
        read_only.flags.writeable = False
        for form in (pixels, pixels.double(), pixels.numpy(), read_only, pixels.numpy().astype(np.float64)):
            for seen, wanted in zip(model(form), expected, strict=True):
                assert seen.dtype is torch.float32 and torch.equal(seen, wanted)


def test_one_output_is_one_tensor_and_several_are_a_tuple():
    assert isinstance(prepared()(images()), torch.Tensor)
    assert isinstance(prepared(heads=2)(images()), tuple)
    assert isinstance(calibrated().quantize()(images()), torch.Tensor)


def test_a_quantized_model_maps_floats_through_its_integers(quantized):
    """Oracle: load_real_data, the raw graph and the scales, by hand."""
    graph = quantized.to_graph()
    integers = graph(load_real_data(images(), "data", quantized.record.inputs))
    assert all(head.dtype is torch.int32 for head in integers)
    for seen, head, scale in zip(quantized(images()), integers, quantized.record.output_scales, strict=True):
        assert torch.equal(seen, (head.double() / scale).float())


def test_a_quantized_model_takes_other_batches_row_by_row(quantized):
    whole = quantized(images(7))
    for row in range(7):
        for seen, expected in zip(quantized(images(7)[row:row + 1]), whole, strict=True):
            assert torch.equal(seen, expected[row:row + 1])


@pytest.mark.parametrize("make", STAGES.values(), ids=STAGES)
@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (2, 1, 6, 6), (3, 6, 6), (0, 3, 6, 6), ()])
def test_a_wrong_shape_is_explained(make, shape):
    with pytest.raises(InvalidArgumentError, match=r"expected \(N, 3, 6, 6\)") as caught:
        make()(torch.zeros(shape))
    assert caught.value.where and caught.value.why and caught.value.remedy


@pytest.mark.parametrize("make", STAGES.values(), ids=STAGES)
def test_a_wrong_number_or_kind_of_inputs_is_explained(make):
    model = make()
    for wrong in ((), (images(), images()), ([[1.0]],), ("text",), (None,)):
        with pytest.raises(InvalidArgumentError):
            model(*wrong)


def test_a_nan_never_becomes_an_integer(quantized):
    spoilt = images()
    spoilt[0, 0, 0, 0] = float("nan")
    with pytest.raises(InvalidArgumentError, match="NaN"):
        quantized(spoilt)


def test_to_graph_gives_a_graph_of_its_own(quantized):
    model = prepared()
    graph = model.to_graph(dtype="float64", ctx="cpu")
    assert isinstance(graph, fx.GraphModule) and graph is not model.module
    assert graph(images().double())[0].dtype is torch.float64
    assert {buffer.dtype for buffer in model.module.buffers()} == {torch.float32}
    assert {buffer.dtype for buffer in quantized.to_graph(dtype="float64").buffers()} == {torch.int32}
    for wrong in ({"dtype": "float31"}, {"dtype": "int32"}, {"dtype": "nn"}, {"ctx": "gpu"}, {"ctx": "cuda:99"}):
        with pytest.raises(InvalidArgumentError):
            model.to_graph(**wrong)


def test_text_of_every_stage(quantized):
    assert repr(convolutional()) == "Model(loaded, 7 operators, image (2, 3, 6, 6) -> dense)"
    assert re.fullmatch(r"Model\(prepared, \d+ operators, data \(2, 3, 6, 6\) -> dense\)", repr(prepared()))
    assert re.fullmatch(r"Model\(quantized, \d+ operators, data .* -> dense, features\)", repr(quantized))
    mrt = calibrated()
    mrt.set_restore("relu1")
    assert repr(mrt.quantize()).startswith("Model(quantized with float parts, ")


@pytest.mark.parametrize("shape", [
    (2, 3, 6, 7), (3, 6, 6), (2, 3, 0, 6), (0, 3, 6, 6), (-1, 3, 6, 6), (2, 3, 6, 6.5), "wide", 5,
    {"picture": (2, 3, 6, 6)}, {"data": None}], ids=repr)
def test_a_prepared_model_takes_another_batch_and_no_other_shape(shape, quantized):
    """A mean over 6 x 6 that became a sum and a factor would be wrong for 6 x 7, so it is refused."""
    model = prepared()
    for call in (lambda: model.prepare(shape), lambda: reduce_graph(quantized, shape),
                 lambda: quantized.to_cvm("m", "nowhere", shape)):
        with pytest.raises(InvalidArgumentError):
            call()
    assert model.input_shapes() == {"data": IMAGE}
    assert not os.path.exists("nowhere")


def test_prepare_again_with_another_batch():
    model = prepared()
    expected = model(images())
    model.prepare((5, 3, 6, 6))
    assert model.input_shapes() == {"data": (5, 3, 6, 6)}
    assert torch.equal(model(images()), expected)


def test_a_failed_prepare_leaves_the_model_as_it_was():
    editor = GraphEditor(empty_graph_module())
    editor.output([editor.call(torch.ops.aten.erfinv.default, editor.input("x", (1, 2)), name="strange")])
    editor.module.recompile()
    model = Model(editor.module, Stage.SOURCE)
    before = model.module.code
    with pytest.raises(UnsupportedOperatorError, match="erfinv"):
        model.prepare()
    assert model.stage is Stage.SOURCE and not model.prepared and model.module.code == before


def test_several_inputs_are_joined_by_prepare():
    editor = GraphEditor(empty_graph_module())
    a, b = editor.input("left", (1, 4)), editor.input("right", (1, 4))
    editor.output([editor.call(torch.ops.aten.add.Tensor, a, b, name="total")])
    editor.module.recompile()
    model = Model(editor.module, Stage.SOURCE)
    left, right = torch.rand(3, 4), torch.rand(3, 4)
    expected = model(left, right)
    with pytest.raises(InvalidArgumentError, match="several inputs"):
        model.prepare((1, 4))
    model.prepare({"left": (1, 4), "right": (1, 4)})
    assert model.input_names() == ["data"]
    assert torch.equal(model(torch.cat([left, right], 1)), expected)


def test_reduce_graph_fixes_the_batch_and_keeps_the_integers(quantized):
    reduced = reduce_graph(quantized, {"data": (4, 3, 6, 6)})
    assert isinstance(reduced, Model) and reduced.input_shapes() == {"data": (4, 3, 6, 6)}
    assert quantized.input_shapes() == {"data": IMAGE}
    for seen, expected in zip(reduced(images(4)), quantized(images(4)), strict=True):
        assert torch.equal(seen, expected)


def test_uses_in_the_wrong_order_are_explained(tmp_path, quantized):
    restored = calibrated()
    restored.set_restore("relu1")
    for wrong in (convolutional().get_mrt, lambda: MRT(convolutional()), lambda: MRT(quantized), quantized.prepare,
                  lambda: prepared().to_cvm("net", tmp_path), lambda: convolutional().to_cvm("net", tmp_path),
                  lambda: reduce_graph(prepared()), lambda: restored.quantize().to_cvm("net", tmp_path), Model,
                  lambda: Model.merger(prepared(), prepared()), lambda: Model.merger(quantized, quantized)):
        with pytest.raises(InvalidArgumentError) as caught:
            wrong()
        assert caught.value.why or caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_the_original_could_not_reduce_a_model_with_float_parts():
    """MRT defect 6: restore and then reduce_graph failed."""
    mrt = calibrated()
    mrt.set_restore("relu1")
    quantized = mrt.quantize()
    reduced = reduce_graph(quantized, {"data": (4, 3, 6, 6)})
    assert torch.equal(reduced(images(4)), quantized(images(4)))


@pytest.mark.parametrize("keys,inputs", [(["pool0"], ["pool0"]), (["relu0"], ["relu0"]), (["features"], ["features"])])
def test_split_in_two_halves_computes_the_same(keys, inputs):
    model = prepared()
    base, top = model.split(keys)
    assert base.output_names() == keys and [n.name for n in input_nodes(top.module.graph)] == inputs
    assert torch.equal(top(base(images())), model(images()))
    assert base.get_mrt() is not None


@pytest.mark.parametrize("keys", [[], ["nobody"], ["relu0", "relu0"], "relu0", ["relu0", "conv0_weight"]])
def test_split_takes_distinct_nodes(keys):
    with pytest.raises(MRTError):
        prepared().split(keys)


def test_split_where_the_top_still_needs_the_input():
    editor = GraphEditor(empty_graph_module())
    x = editor.input("data", (1, 4))
    y = editor.call(torch.ops.aten.relu.default, x, name="positive")
    editor.output([editor.call(torch.ops.aten.add.Tensor, x, y, name="total")])
    editor.module.recompile()
    model = Model(editor.module, Stage.FLOAT, prepared=True)
    with pytest.raises(InvalidArgumentError, match="still reads"):
        model.split(["positive"])
    base, top = model.split(["data", "positive"])
    x = torch.randn(2, 4)
    assert torch.equal(top(*base(x)), model(x))


def test_a_graph_refuses_shapes_with_an_error_of_ours():
    with pytest.raises((InvalidGraphError, InvalidArgumentError)):
        convolutional().prepare((1, 4, 6, 6))
