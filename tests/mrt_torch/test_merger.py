"""Oracle: the float top run by hand on the dequantized outputs of the quantized base."""

from __future__ import annotations

import pytest
import torch

from mrt_torch import Model, ModelMerger
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.stage import Stage
from tests.mrt_torch.small_models import images, prepared

aten = torch.ops.aten


def quantized_base(model: Model, keys, output_precision: int | None = None):
    base, top = model.split(keys)
    mrt = base.get_mrt()
    if output_precision is not None:
        mrt.set_output_prec(output_precision)
    mrt.set_data(images(8, seed=1))
    mrt.calibrate()
    return mrt, mrt.quantize(), top


def branched() -> Model:
    """relu(x), and its sum with x's convolution: a split needs two keys."""
    editor = GraphEditor(empty_graph_module())
    x = editor.input("data", (1, 3, 6, 6))
    weight = editor.constant("w", torch.randn(3, 3, 1, 1, generator=torch.Generator().manual_seed(0)))
    left = editor.call(aten.relu.default, x, name="left")
    right = editor.call(aten.conv2d.default, x, weight, None, [1, 1], [0, 0], [1, 1], 1, name="right")
    total = editor.call(aten.add.Tensor, right, left, name="total")
    editor.output([editor.call(aten.relu.default, total, name="last")])
    editor.module.recompile()
    return Model(editor.module, Stage.FLOAT, prepared=True)


@pytest.mark.parametrize("make,keys", [(prepared, ["pool0"]), (prepared, ["features"]), (branched, ["left", "right"]),
                                       (branched, ["right", "left"])])
@pytest.mark.parametrize("output_precision", [None, 10])
def test_merged_is_top_after_base(make, keys, output_precision):
    """Keys in another order than the graph's: outputs of base follow the graph, maps and scales with them. With an
    output precision the base's outputs have new names, which the maps know.
    """
    mrt, base, top = quantized_base(make(), keys, output_precision)
    merger = Model.merger(base, top, mrt.get_maps())
    assert isinstance(merger, ModelMerger)
    merged = merger.merge()
    between = base(images())
    between = between if isinstance(between, tuple) else (between,)
    assert torch.equal(merged(images()), top(*between))
    assert merged.output_names() == top.output_names() and merged.input_names() == ["data"]
    assert float((merged(images()) - make()(images())).norm()) < 0.05 * float(make()(images()).norm())
    by_default = Model.merger(base, top).merge()
    assert torch.equal(by_default(images()), merged(images())), "maps are the base's own by default"


def test_the_callback_replaces_nodes_of_the_top():
    mrt, base, top = quantized_base(prepared(), ["features"])

    def negate_outputs(node, merged):
        if node.target is aten.linear.default:
            return GraphEditor(merged).call(aten.neg.default, node)
        return None

    plain, changed = (Model.merger(base, top, mrt.get_maps()).merge(callback) for callback in (None, negate_outputs))
    assert torch.equal(changed(images()), -plain(images()))


def test_output_scales_by_name():
    mrt, base, top = quantized_base(branched(), ["left", "right"])
    merger = Model.merger(base, top, mrt.get_maps())
    scales = dict(zip(base.output_names(), mrt.get_output_scales(), strict=True))
    assert merger.get_output_scales(mrt.get_output_scales(), {"a": "right", "b": "None", "c": "left"}) == [
        scales["right"], 1.0, scales["left"]]
    with pytest.raises(InvalidArgumentError, match="nobody"):
        merger.get_output_scales(mrt.get_output_scales(), {"a": "nobody"})
    with pytest.raises(InvalidArgumentError):
        merger.get_output_scales([1.0], {"a": "left"})


def test_halves_that_do_not_fit():
    mrt, base, top = quantized_base(prepared(), ["features"])
    other_top = prepared().split(["pool0"])[1]
    with pytest.raises(InvalidArgumentError, match="pool0"):
        Model.merger(base, other_top, mrt.get_maps()).merge()
    for pair in ((top, top), (base, base), (top, base)):
        with pytest.raises(InvalidArgumentError, match="quantized base"):
            Model.merger(*pair)


def test_halves_and_the_model_stay_as_they_were():
    model = prepared()
    mrt, base, top = quantized_base(model, ["pool0"])
    codes = [m.module.code for m in (model, base, top)]
    Model.merger(base, top, mrt.get_maps()).merge()
    assert [m.module.code for m in (model, base, top)] == codes


def test_a_merged_model_is_saved_and_reduced(tmp_path):
    mrt, base, top = quantized_base(prepared(), ["features"])
    merged = Model.merger(base, top, mrt.get_maps()).merge()
    merged.save(tmp_path / "m.json", tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.json", tmp_path / "m.safetensors")
    assert again.stage is Stage.RESTORED and torch.equal(again(images()), merged(images()))
    with pytest.raises(InvalidArgumentError, match="float"):
        merged.to_cvm("net", tmp_path)
