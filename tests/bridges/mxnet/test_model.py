"""Whole models and their halves. Oracles: the whole model's graph, exactly; MXNet 1.9.1; names written by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.mxnet.model import MXNetModel
from bridges.mxnet.symbol_file import format_symbol
from mrt_torch import Model
from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from mrt_torch.graph.facts import facts_of
from tests.bridges.mxnet.oracle import check_close, run_mxnet
from tests.bridges.mxnet.split_symbols import MYSTERY, Network, check_halves, random_array

IMAGE = (2, 3, 6, 6)


def chain() -> MXNetModel:
    """conv, relu, mystery, conv."""
    net = Network(data=IMAGE)
    x = net("relu", net.conv(net.inputs["data"], "c0", 3), name="r0")
    return net.model(net.conv(net(MYSTERY, x, name="m"), "c1", 4))


@pytest.mark.parametrize("key, name", [("r0", "r0"), ("c0", "c0"), ("r0_output", "r0"), ("r0_output0", "r0"),
                                       ("data", "data")])
def test_below_an_unknown_operator(key, name):
    model = chain()
    base, top = model.split([key], None)
    check_halves(model, base, top)
    assert (base.output_names(), top.input_names(), top.output_names()) == ([name], [name], ["c1"])
    assert list(base.params) == (["c0_weight"] if name != "data" else [])
    assert "c1_weight" in top.params and (name == "data") == ("c0_weight" in top.params)
    with pytest.raises(UnsupportedOperatorError, match="mystery"):
        top.import_graph()


def test_shapes_are_given_where_the_file_has_none():
    """For the only input, by name, and for another batch."""
    model = chain()
    bare = MXNetModel(type(model.symbol)(tuple(
        node if node.name != "data" else type(node)("null", "data") for node in model.symbol.nodes),
        model.symbol.heads), model.params)
    with pytest.raises(InvalidArgumentError, match="shapes of inputs are not known"):
        bare.split(["r0"], None)
    for shapes in ((5, 3, 6, 6), {"data": (5, 3, 6, 6)}):
        base, top = bare.split(["r0"], shapes)
        assert top.inputs["r0"].shape == (5, 4, 6, 6)
        assert tuple(base.import_graph()(torch.zeros(1, 3, 6, 6))[0].shape) == (1, 4, 6, 6)
    with pytest.raises(InvalidArgumentError, match="'image'"):
        bare.split(["r0"], {"data": IMAGE, "image": IMAGE})


def test_keys_come_in_topological_order_and_pass_through_the_top():
    """A head below the cut is an output of the top, which is its own input."""
    net = Network(data=IMAGE)
    left = net.conv(net.inputs["data"], "left", 3)
    right = net.conv(left, "right", 4)
    model = net.model(right, net("broadcast_add", net(MYSTERY, left, name="m"), right, name="sum"))
    base, top = model.split(["right", "left"], None)
    check_halves(model, base, top)
    assert base.output_names() == ["left", "right"] and top.output_names() == ["right", "sum"]


@pytest.mark.parametrize("keys", [["parts_output0", "parts_output1"], ["parts_output1", "parts_output0"], ["c"]])
def test_outputs_of_one_node(keys):
    net = Network(data=IMAGE)
    node, _ = net("SliceChannel", net.conv(net.inputs["data"], "c", 3), name="parts", num_outputs=2, axis=1)
    model = net.model(net("broadcast_sub", net(MYSTERY, (node, 1), name="m"), (node, 0), name="difference"))
    base, top = model.split(keys, None)
    check_halves(model, base, top)
    assert top.input_names() == sorted(keys)
    lower, upper = Model(source=model).split(keys)
    assert lower.output_names() == upper.input_names() == sorted(keys)


def test_one_read_output_of_several():
    """The graph calls it by its number, and so do both halves."""
    net = Network(data=IMAGE)
    node, _ = net("SliceChannel", net.conv(net.inputs["data"], "c", 3), name="parts", num_outputs=4, axis=1,
                  squeeze_axis=True)
    model = net.model(net(MYSTERY, (node, 0), name="m"))
    base, top = model.split(["parts"], None)
    check_halves(model, base, top)
    assert top.input_names() == ["parts_output0"]


def test_keys_that_are_one_value():
    """An identity makes no node of the graph: base returns the value once."""
    net = Network(data=IMAGE)
    low = net("relu", net.inputs["data"], name="low")
    model = net.model(net("broadcast_add", net(MYSTERY, net("BlockGrad", low, name="same"), name="m"), low, name="sum"))
    base, top = model.split(["low", "same"], None)
    check_halves(model, base, top)
    assert top.input_names() == ["low"] == base.output_names()


def test_two_variables_of_one_name_are_one_input():
    net = Network(data=IMAGE)
    again = net("null", name="data")
    model = net.model(net("broadcast_add", net(MYSTERY, net.inputs["data"], name="m"), again, name="sum"))
    base, top = model.split(["data"], None)
    check_halves(model, base, top)


def test_a_weight_that_is_computed_below():
    """It stands where the top expects a parameter, and is an input nevertheless."""
    net = Network(data=(2, 4))
    weight = net("relu", net("slice_axis", net.inputs["data"], name="rows", axis=1, begin=0, end=3), name="weight")
    product = net("FullyConnected", net(MYSTERY, weight, name="m"), weight, name="product", num_hidden=2, no_bias=True)
    model = net.model(product)
    base, top = model.split(["weight"], None)
    assert top.input_names() == ["weight"]
    data = torch.from_numpy(random_array(2, 4))
    rows = data[:, :3].relu()
    assert torch.equal(base.import_graph()(data)[0], rows)


def test_an_axis_other_than_the_first_is_the_batch():
    """Keys of a time-major graph: the top's graph knows where their batch is. Oracle: shapes counted by hand."""
    net = Network(data=IMAGE)
    moved = net("transpose", net.inputs["data"], name="moved", axes=(2, 0, 1, 3))
    model = net.model(net(MYSTERY, moved, name="m"))
    _, top = model.split(["moved"], None)
    assert top.inputs["moved"].shape == (6, 2, 3, 6) and top.inputs["moved"].batch_axis == 1
    head = Network(moved=(6, 2, 3, 6))
    known = head.model(head("relu", head.inputs["moved"], name="r"))
    graph = MXNetModel(known.symbol, {}, top.inputs).import_graph()
    assert facts_of(next(iter(graph.graph.nodes))).batch_axis == 1


def test_anchors_that_are_cut_to_a_feature_map():
    """The top would ask the base for a shape; it is written out, so that one key is enough."""
    net = Network(data=IMAGE)
    feature = net.conv(net.inputs["data"], "feature", 3)
    zeros = net("_mul_scalar", feature, name="zeros", scalar=0)
    cropped = net("slice_like", net.parameter("anchors", 1, 1, 9, 9), zeros, name="cropped", axes=(2, 3))
    key = net.conv(feature, "key", 4)
    model = net.model(net("broadcast_add", net(MYSTERY, key, name="m"), cropped, name="sum"))
    base, top = model.split(["key"], None)
    check_halves(model, base, top)
    assert list(top.params) == ["anchors"] and list(base.params) == ["feature_weight", "key_weight"]


@pytest.mark.parametrize("keys, message", [
    (["nowhere"], "no node 'nowhere'"), (["c0_weight"], "no node 'c0_weight'"), ([], "distinct"),
    (["r0", "r0_output"], "distinct"), (["r0_output1"], "no node"), (["r0", "r0"], "distinct")])
def test_keys_that_are_none(keys, message):
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        chain().split(keys, None)
    assert caught.value.remedy


def test_keys_that_do_not_cut():
    net = Network(data=IMAGE)
    low = net("relu", net.inputs["data"], name="low")
    model = net.model(net("broadcast_add", net(MYSTERY, low, name="m"), net.inputs["data"], name="sum"))
    with pytest.raises(InvalidArgumentError, match="do not cut the graph in two") as caught:
        model.split(["low"], None)
    assert "'data'" in caught.value.where
    check_halves(model, *model.split(["low", "data"], None))


def test_a_key_that_the_top_does_not_read():
    with pytest.raises(InvalidArgumentError, match="of no use") as caught:
        chain().split(["c0", "r0"], None)
    assert "'c0'" in caught.value.where


def test_a_key_that_is_a_constant():
    net = Network(data=IMAGE)
    numbers = net("_arange", name="numbers", start=0, stop=6)
    model = net.model(net("broadcast_add", net(MYSTERY, net.inputs["data"], name="m"), numbers, name="sum"))
    with pytest.raises(InvalidArgumentError, match="constant"):
        model.split(["data", "numbers"], None)


def test_a_key_above_the_unknown_operator():
    """The base cannot be imported then, and the error names the operator."""
    with pytest.raises(UnsupportedOperatorError, match="mystery"):
        chain().split(["c1"], None)


def test_through_the_public_class(mxnet, tmp_path):
    """Oracle: MXNet runs the saved top behind the float base, and the whole. Its cumsum has no converter."""
    sym = mxnet.sym
    low = sym.BatchNorm(sym.Convolution(sym.var("data"), num_filter=4, kernel=(3, 3), no_bias=True, name="c"), name="b")
    low = sym.tanh(low, name="t")
    whole = sym.BatchNorm(sym.cumsum(low, axis=1, name="e"), name="b1")
    shapes, _, states = whole.infer_shape(data=IMAGE)
    arrays = {name: np.abs(random_array(*shape, seed=len(name))) + 0.1
              for name, shape in [*zip(whole.list_arguments(), shapes), *zip(whole.list_auxiliary_states(), states)]}
    data = arrays.pop("data")
    model = Model.load(whole, {name: mxnet.nd.array(array) for name, array in arrays.items()})
    base, top = model.split(["t"], IMAGE)
    assert (base.output_names(), top.input_names(), top.output_names()) == (["t"], ["t"], ["b1"])
    for use in (lambda: top(torch.zeros(2, 4, 4, 4)), top.prepare, lambda: top.module):
        with pytest.raises(UnsupportedOperatorError, match="cumsum"):
            use()
    paths = tmp_path / "top-symbol.json", tmp_path / "top-0000.params"
    top.save(*paths)
    stored = {name.split(":")[1]: array.asnumpy() for name, array in mxnet.nd.load(str(paths[1])).items()}
    upper = mxnet.sym.load(str(paths[0]))
    assert sorted(stored) == sorted(name for name in arrays if name.startswith("b1_"))
    between = base(torch.from_numpy(data))
    expected = run_mxnet(mxnet, whole, {**arrays, "data": data})
    found = run_mxnet(mxnet, upper, {**stored, "t": between.numpy()})
    check_close([torch.from_numpy(output) for output in found], expected)
    base.prepare(IMAGE)


def test_a_loaded_top_is_the_top(tmp_path):
    """Saved and loaded again. Oracle: the symbol and its parameters before."""
    _, top = chain().split(["r0"], None)
    paths = str(tmp_path / "top-symbol.json"), str(tmp_path / "top-0000.params")
    Model(source=top).save(*paths)
    loaded = Model.load(*paths)
    assert loaded.input_names() == ["r0"] and loaded._source.stage is top.stage
    assert format_symbol(loaded._source.symbol) == format_symbol(top.symbol)
    assert all(np.array_equal(loaded._source.params[name], array) for name, array in top.params.items())
