"""Keys for MXNet models. Oracles: base and top at the keys are the whole, exactly; names written by hand; prepare."""

from __future__ import annotations

import pytest
import torch

from bridges.mxnet.model import MXNetModel
from bridges.mxnet.split_suggestion import suggest_split_of
from bridges.mxnet.symbol import Symbol, SymbolNode
from bridges.mxnet.symbol_file import format_symbol
from mrt_torch import Model
from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from mrt_torch.split_suggestion import NO_PRODUCT, SplitSuggestion
from tests.bridges.mxnet.split_symbols import MYSTERY, Network, check_halves, random_array
from tests.end_to_end.models import as_tuple
from tests.end_to_end.test_detection import DETECTORS, SHAPE, pictures

IMAGE = (2, 3, 6, 6)


def without_shapes(model: MXNetModel) -> MXNetModel:
    """The same model, whose inputs declare nothing."""
    nodes = (SymbolNode("null", node.name) if node.is_variable and node.name not in model.params else node
             for node in model.symbol.nodes)
    return MXNetModel(Symbol(tuple(nodes), model.symbol.heads), model.params)


def check(model: MXNetModel, expected: list[str]) -> SplitSuggestion:
    """The keys by use and by name alone are the expected ones; prepare accepts the base."""
    found, named = suggest_split_of(model, None), suggest_split_of(without_shapes(model), None)
    assert [key.name for key in found.keys] == expected
    assert [key.name for key in named.keys] == expected
    assert found.complete and not named.complete
    assert all(key.shape is None for key in named.keys)
    base, top = model.split(expected, None)
    check_halves(model, base, top)
    Model(source=base).prepare()
    return found


def test_nothing_unsupported():
    net = Network(data=IMAGE)
    model = net.model(net("relu", net.conv(net.inputs["data"], "c", 3), name="r"))
    assert suggest_split_of(model, None) == SplitSuggestion()
    assert suggest_split_of(without_shapes(model), None) == SplitSuggestion(complete=False)


def test_an_unknown_operator_in_the_middle():
    net = Network(data=IMAGE)
    low = net("relu", net.conv(net.inputs["data"], "c0", 3), name="r0")
    found = check(net.model(net.conv(net(MYSTERY, low, name="m"), "c1", 4)), ["r0"])
    assert found.keys[0].because == ("node 'm' (mystery)",) and found.keys[0].shape == (2, 4, 6, 6)
    assert found.unsupported == ("node 'm' (mystery): it has no converter",)


def test_branches_and_heads():
    """A branch that bypasses, a head below, and what stands between unknown operators."""
    net = Network(data=IMAGE)
    low = net.conv(net.inputs["data"], "low", 3)
    left, right, head = (net.conv(low, name, 4) for name in ("left", "right", "head"))
    twice = net(MYSTERY, net("relu", net(MYSTERY, left, name="m0"), name="r"), name="m1")
    found = check(net.model(net("broadcast_add", twice, right, name="sum"), head), ["left", "right", "head"])
    assert [key.because for key in found.keys] == [("node 'm0' (mystery)",), ("node 'm1' (mystery)",),
                                                   ("it is an output of the model",)]


def test_parts_of_one_tensor():
    net = Network(data=IMAGE)
    node, _ = net("SliceChannel", net.conv(net.inputs["data"], "c", 3), name="parts", num_outputs=4, axis=1)
    parts = [net(MYSTERY, (node, position), name=f"m{position}") for position in range(4)]
    check(net.model(net("Concat", *parts, name="all", dim=1, num_args=4)), ["c"])
    net = Network(data=IMAGE)
    node, _ = net("SliceChannel", net.conv(net.inputs["data"], "c", 3), name="parts", num_outputs=2, axis=1)
    model = net.model(net(MYSTERY, (node, 1), name="m"), net.conv((node, 0), "head", 2))
    check(model, ["parts_output1", "head"])


def test_anchors_do_not_add_a_key():
    """slice_like only asks for a shape: neither the feature map nor what is cut to it is a key."""
    net = Network(data=IMAGE)
    feature = net.conv(net.inputs["data"], "feature", 3)
    cropped = net("slice_like", net.parameter("anchors", 1, 1, 9, 9), feature, name="cropped", axes=(2, 3))
    key = net.conv(feature, "key", 4)
    check(net.model(net("broadcast_add", net(MYSTERY, key, name="m"), cropped, name="sum")), ["key"])


def test_an_unknown_operator_on_parameters_alone():
    """Its value is no key; what reads it goes up too."""
    net = Network(data=IMAGE)
    low = net.conv(net.inputs["data"], "low", 3)
    table = net(MYSTERY, net.parameter("table", 1, 4, 1, 1), name="m")
    model = net.model(net("relu", net("broadcast_mul", low, table, name="product"), name="r"))
    assert check(model, ["low"]).keys[0].because == ("node 'm' (mystery)",)


def test_a_use_that_cannot_be_imported():
    """A known operator with an option that inference does not have: by its name it is supported."""
    net = Network(data=IMAGE)
    low = net.conv(net.inputs["data"], "low", 3)
    model = net.model(net("relu", net("Dropout", low, name="d", mode="always"), name="r"))
    found = suggest_split_of(model, None)
    assert [key.name for key in found.keys] == ["low"]
    assert found.unsupported == ("node 'd' (Dropout): mode is always: the output is random in inference too",)
    base, top = Model(source=model).split(["low"])
    base.prepare()
    with pytest.raises(UnsupportedOperatorError, match="random"):
        top.prepare()
    assert suggest_split_of(without_shapes(model), None) == SplitSuggestion(complete=False)


def test_an_output_that_inference_lacks():
    """The operator goes up, not its reader alone."""
    net = Network(data=IMAGE)
    low = net.conv(net.inputs["data"], "low", 3)
    node, _ = net("BatchNorm", low, *(net.parameter(f"b_{name}", 4) for name in ("gamma", "beta", "mean", "var")),
                  name="b", output_mean_var=True)
    model = net.model(net("broadcast_add", (node, 0), net("relu", (node, 1), name="r"), name="sum"))
    found = suggest_split_of(model, None)
    assert [key.name for key in found.keys] == ["low"] and "output 1" in found.unsupported[0]


def test_both_kinds_of_parts():
    """An operator without a converter, and below it one without an integer form: the keys go below both."""
    net = Network(data=IMAGE)
    low = net.conv(net.inputs["data"], "low", 3)
    total = net("sum", net("relu", low, name="r"), name="over_batch", axis=0, keepdims=True)
    model = net.model(net(MYSTERY, net.conv(total, "c1", 4), name="m"), net.conv(low, "head", 4))
    found = suggest_split_of(model, None)
    assert [key.name for key in found.keys] == ["r", "head"]
    assert len(found.unsupported) == 2 and "batch" in found.unsupported[1]
    base, top = model.split(["r", "head"], None)
    Model(source=base).prepare()
    assert top.input_names() == ["r", "head"]


def test_nothing_below():
    net = Network(data=IMAGE)
    model = net.model(net.conv(net(MYSTERY, net.inputs["data"], name="m"), "c", 3))
    for case in (model, without_shapes(model)):
        with pytest.raises(UnsupportedOperatorError, match="no split leaves anything") as caught:
            suggest_split_of(case, None)
        assert "mystery" in caught.value.why


def test_little_to_gain_is_said():
    net = Network(data=IMAGE)
    found = check(net.model(net(MYSTERY, net("relu", net.inputs["data"], name="r"), name="m")), ["r"])
    assert found.note == NO_PRODUCT


def test_shapes_that_do_not_fit():
    net = Network(data=IMAGE)
    model = net.model(net(MYSTERY, net.conv(net.inputs["data"], "c", 3), name="m"))
    with pytest.raises(InvalidArgumentError, match="'image'"):
        suggest_split_of(model, {"image": IMAGE})


def test_a_recurrent_layer_of_mxnet(mxnet):
    """Columns of a picture in a GRU. Oracles: prepare, and MXNet's shapes of the top at the key's shape."""
    sym = mxnet.sym
    low = sym.relu(sym.Convolution(sym.var("data"), kernel=(3, 3), num_filter=4, name="c"), name="r")
    columns = sym.transpose(sym.reshape(low, shape=(0, -3, 0)), axes=(2, 0, 1), name="columns")
    layer = sym.RNN(columns, sym.var("weights"), sym.zeros(shape=(1, 2, 5)), state_size=5, num_layers=1, mode="gru",
                    name="rnn")
    whole = sym.FullyConnected(layer, num_hidden=3, flatten=False, name="head")
    shapes, outputs, _ = whole.infer_shape(data=IMAGE)
    arrays = {name: mxnet.nd.array(random_array(*shape)) for name, shape in zip(whole.list_arguments(), shapes)
              if name != "data"}
    model = Model.load(whole, arrays)
    found = suggest_split_of(model._source, IMAGE)
    assert [(key.name, key.because) for key in found.keys] == [("columns", ("node 'rnn' (RNN)",))]
    base, top = model.split(["columns"], IMAGE)
    upper = mxnet.sym.load_json(format_symbol(top._source.symbol))
    assert upper.infer_shape(columns=found.keys[0].shape)[1] == outputs
    assert sorted(top._source.params) == ["head_bias", "head_weight", "weights"]
    base.prepare()


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_whose_suppression_is_refused(mxnet, tmp_path, name):
    """Classes, scores and corners are not joined in the base. Oracles: the whole detector; prepare."""
    model = Model.load(*DETECTORS[name](mxnet, background_id=1).save(mxnet, tmp_path))
    found = suggest_split_of(model._source, SHAPE)
    assert len(found.keys) == 2 and all(key.because == ("node 'nms' (_contrib_box_nms)",) for key in found.keys)
    assert all(6 not in key.shape[2:] for key in found.keys)
    base, top = model.split([key.name for key in found.keys], SHAPE)
    data, whole = pictures(2), model.with_input_shape(SHAPE)
    for half, expected in zip(top(*as_tuple(base(data))), whole(data), strict=True):
        assert torch.equal(half, expected)
    base.prepare(SHAPE)
