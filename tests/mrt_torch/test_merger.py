"""Oracle: the float top run by hand on the dequantized outputs of the quantized base."""

from __future__ import annotations

import logging
import operator

import pytest
import torch

from mrt_torch import Model, ModelMerger, load_real_data
from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, output_nodes
from mrt_torch.graph.stage import Stage
from tests.mrt_torch.small_models import convolutional, images, prepared

aten = torch.ops.aten


def quantized_base(model: Model, keys, output_precision: int | None = None):
    base, top = model.split(keys)
    if not base.prepared:
        base.prepare()
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


def integers_of(base: Model, data: torch.Tensor) -> torch.Tensor:
    return load_real_data(data, "data", base.record.inputs)


@pytest.mark.parametrize("make,keys", [(prepared, ["pool0"]), (convolutional, ["pool0"]), (prepared, ["features"]),
                                       (branched, ["left", "right"]), (branched, ["total", "left"])])
@pytest.mark.parametrize("output_precision", [None, 30])
def test_merged_integers(make, keys, output_precision):
    """Oracle: the float top on the dequantized base, within 10 %: the operands of its convolution have 8 bits for a
    range that is proven, not calibrated. The base is copied: its nodes give its own integers. The batch stays free.
    """
    mrt, base, top = quantized_base(make(), keys, output_precision)
    merged = Model.merger(base, top, mrt.get_maps()).merge_integers()
    assert merged.stage is Stage.INTEGER and merged.input_names() == ["data"]
    assert merged.output_names() == top.output_names() == list(merged.record.maps.values())
    for rows in (2, 3):
        floats = Model.merger(base, top, mrt.get_maps()).merge()(images(rows))
        assert float((merged(images(rows)) - floats).norm()) <= 0.1 * float(floats.norm())
    probe, data = merged.to_graph(), integers_of(base, images())
    copies = {node.name: node for node in probe.graph.nodes}
    outputs = [node.name for node in output_nodes(base.module.graph)]
    read = [index for index, name in enumerate(outputs) if name in copies]  # top does not read what lies above a key
    next(n for n in probe.graph.nodes if n.op == "output").args = (tuple(copies[outputs[index]] for index in read),)
    probe.recompile()
    expected = base.to_graph()(data)
    assert read and all(torch.equal(found, expected[index]) for found, index in zip(probe(data), read, strict=True))


@pytest.mark.parametrize("keys, told", [(["pool0"], ["conv1", "dense"]), (["dense"], [])])
def test_layers_above_the_keys_are_told_of(caplog, keys, told):
    """They work on proven ranges; other operators lose nothing by that."""
    mrt, base, top = quantized_base(prepared(), keys)
    Model.merger(base, top, mrt.get_maps()).merge_integers()
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(messages) == bool(told) and all(name in messages[0] for name in told)


def test_merged_integers_are_deployed(tmp_path):
    mrt, base, top = quantized_base(prepared(), ["features"])
    merged = Model.merger(base, top, mrt.get_maps()).merge_integers()
    folder = merged.to_cvm("net", tmp_path, input_shape=(2, 3, 6, 6))
    data = integers_of(base, images())
    loaded = Model.load_cvm(folder).to_graph()
    assert torch.equal(loaded(data)[0].reshape(-1), merged.to_graph()(data)[0].reshape(-1))
    merged.save(tmp_path / "m.json", tmp_path / "m.safetensors")
    assert torch.equal(Model.load(tmp_path / "m.json", tmp_path / "m.safetensors")(images()), merged(images()))


def test_a_key_may_be_an_output_and_lie_above_another():
    """Oracle: the whole model's integers and floats by name."""
    mrt, base, top = quantized_base(branched(), ["left", "total", "last"])
    assert base.output_names() == ["left", "total", "last"]
    merger = Model.merger(base, top, mrt.get_maps())
    floats, integers = merger.merge(), merger.merge_integers()
    expected = base(images())[2]
    for merged in (floats, integers):
        assert merged.output_names() == ["last"] and torch.equal(merged(images()), expected)


def splitting() -> Model:
    """Halves of the channels, one of them through a dropout, added and squashed."""
    editor = GraphEditor(empty_graph_module())
    x = editor.input("data", (1, 4, 3, 3))
    parts = editor.call(aten.split_with_sizes.default, x, [2, 2], 1, name="parts")
    first, second = (editor.call(operator.getitem, parts, index, name=f"parts_output{index}") for index in (0, 1))
    dropped = editor.call(aten.dropout.default, first, 0.5, False, name="dropped")
    same = editor.call(aten.reshape.default, dropped, [-1, 2, 3, 3], name="same")
    editor.output([editor.call(aten.tanh.default, editor.call(aten.add.Tensor, same, second), name="last")])
    editor.module.recompile()
    return Model(editor.module, Stage.SOURCE)


@pytest.mark.parametrize("keys, names", [
    (["parts"], ["parts_output0", "parts_output1"]), (["parts_output1", "parts_output0"], None),
    (["dropped", "parts_output1"], ["parts_output1", "dropped"]),
    (["same", "dropped", "parts"], ["parts_output0", "parts_output1", "dropped", "same"])])
def test_keys_are_outputs_of_one_node_or_vanish_in_preparation(tmp_path, keys, names):
    """The name of an operator of several outputs means all of them. Oracle: the float model, within 1 %; and the names
    of the base's outputs, which are the keys whatever preparation made of them, also in files.
    """
    model, data = splitting(), torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    base, top = model.split(keys)
    base.prepare()
    base.save(tmp_path / "b.json", tmp_path / "b.safetensors")
    base = Model.load(tmp_path / "b.json", tmp_path / "b.safetensors")
    assert base.output_names() == (names or ["parts_output0", "parts_output1"])
    mrt = base.get_mrt()
    mrt.set_data(data)
    mrt.calibrate()
    merger = Model.merger(mrt.quantize(), top, mrt.get_maps())
    for merged in (merger.merge(), merger.merge_integers()):
        assert float((merged(data) - model(data)).abs().max()) <= 0.03


def test_the_callback_changes_the_top_before_it_is_quantized():
    """As in ``merge``: the linear layer is negated, so its integers are."""
    mrt, base, top = quantized_base(prepared(), ["features"])

    def negate_outputs(node, module):
        return GraphEditor(module).call(aten.neg.default, node) if node.target is aten.linear.default else None
    merger = Model.merger(base, top, mrt.get_maps())
    assert torch.equal(merger.merge_integers(callback=negate_outputs)(images()), -merger.merge_integers()(images()))


def refused_top() -> Model:
    """Two operators without an integer form above relu(x)."""
    editor = GraphEditor(empty_graph_module())
    x = editor.call(aten.relu.default, editor.input("data", (1, 3, 6, 6)), name="left")
    first = editor.call(aten.mul.Scalar, x, float("inf"), name="infinite")
    second = editor.call(aten.div.Scalar, x, 0.0, name="by_zero")
    editor.output([first, second])
    editor.module.recompile()
    return Model(editor.module, Stage.SOURCE)


def uncalibrated_top() -> Model:
    """A quotient, whose range only data can tell, and what reads it."""
    editor = GraphEditor(empty_graph_module())
    x = editor.call(aten.relu.default, editor.input("data", (1, 3, 6, 6)), name="left")
    divisor = editor.call(aten.add.Scalar, editor.call(aten.amax.default, x, [1], True), 0.1)
    quotient = editor.call(aten.div.Tensor, x, divisor, name="quotient")
    editor.output([editor.call(aten.relu.default, quotient, name="last")])
    editor.module.recompile()
    return Model(editor.module, Stage.SOURCE)


@pytest.mark.parametrize("make, nodes, others", [(refused_top, ["infinite", "by_zero"], []),
                                                 (uncalibrated_top, ["quotient"], ["last"])])
def test_a_top_without_an_integer_form(make, nodes, others):
    """Every node is named with its reason, what only reads one is not; merge() is the advice, and works."""
    base, top = make().split(["left"])
    base.prepare()
    mrt = base.get_mrt()
    mrt.set_data(images(8, seed=1))
    mrt.calibrate()
    merger = Model.merger(mrt.quantize(), top, mrt.get_maps())
    with pytest.raises(UnsupportedOperatorError, match=r"ModelMerger.merge\(\)") as caught:
        merger.merge_integers()
    assert all(f"'{node}'" in str(caught.value.why) for node in nodes)
    assert not any(f"'{node}'" in str(caught.value.why) for node in others)
    assert merger.merge().stage is Stage.RESTORED


def test_a_base_with_parts_in_float_is_not_merged_in_integers():
    base, top = prepared().split(["features"])
    mrt = base.get_mrt()
    mrt.set_data(images(8, seed=1))
    mrt.calibrate()
    mrt.set_restore("relu0")
    with pytest.raises(InvalidArgumentError, match="set_restore"):
        Model.merger(mrt.quantize(), top, mrt.get_maps()).merge_integers()
