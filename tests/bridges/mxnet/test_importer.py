"""Whole models; oracle: MXNet 1.9.1 on the same files, parameters and inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.mxnet.importer import import_supported, import_symbol
from bridges.mxnet.params_file import read_params
from bridges.mxnet.symbol import Symbol, SymbolNode
from bridges.mxnet.symbol_file import parse_symbol, read_symbol
from mrt_torch.errors import InvalidFileError, InvalidGraphError, UnsupportedOperatorError
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.free_axis import is_batch_free
from tests.bridges.mxnet.oracle import check_close, compare, run_mxnet

# Models of dozens of float32 layers: the differences of single layers (1e-6) add up.
MODEL_TOLERANCE = 1e-4

# name: shape without the batch. Symbol files of MXNet 0.8, 1.5 and 1.9.1; odd sizes where a model takes any.
MODELS = {"mnist_lenet": (1, 28, 28), "cifar_resnet8": (3, 32, 32), "mobilenet_v1_025_imagenet": (3, 70, 64),
          "mtcnn_det1": (3, 37, 41), "mtcnn_det2": (3, 24, 24), "mtcnn_det3": (3, 48, 48),
          "lffd_plate_small": (3, 130, 155)}


def load(folder, name):
    stored = read_params(folder / f"{name}-0000.params")
    params = {key.split(":", 1)[1]: array for key, array in stored.items()}
    return read_symbol(folder / f"{name}-symbol.json"), params


def check_model(mxnet, module, mx_symbol, params, shape, batches=(1, 3)):
    """The same module at several batches; labels of the reference get zeros."""
    for batch in batches:
        data = np.random.default_rng(batch).standard_normal((batch, *shape)).astype(np.float32)
        shapes = dict(zip(mx_symbol.list_arguments(), mx_symbol.infer_shape(data=data.shape)[0]))
        labels = {name: np.zeros(shapes[name], np.float32) for name in shapes
                  if name not in params and name != "data"}
        expected = run_mxnet(mxnet, mx_symbol, {**params, **labels, "data": data})
        check_close(module(torch.from_numpy(data)), expected, MODEL_TOLERANCE)


@pytest.mark.parametrize("name", MODELS)
def test_model_equals_mxnet(mxnet, shared_models, name):
    symbol, params = load(shared_models, name)
    module = import_symbol(symbol, params, (1, *MODELS[name]))
    assert is_batch_free(module)
    mx_symbol = mxnet.sym.load(str(shared_models / f"{name}-symbol.json"))
    check_model(mxnet, module, mx_symbol, params, MODELS[name])


@pytest.mark.parametrize("name, size", [("resnet18_v1", 64), ("mobilenet1_0", 64), ("mobilenet_v2_1_0", 64),
                                        ("squeezenet1_1", 224), ("resnet18_v2", 64)])
def test_gluon_model_equals_mxnet(mxnet, tmp_path, name, size):
    """Exported and read back, with seeded weights."""
    mxnet.random.seed(7)
    np.random.seed(7)
    network = getattr(mxnet.gluon.model_zoo.vision, name)(classes=10)
    network.initialize(mxnet.init.Xavier())
    network.hybridize()
    network(mxnet.nd.zeros((1, 3, size, size)))
    network.export(str(tmp_path / name))
    symbol, params = load(tmp_path, name)
    module = import_symbol(symbol, params, {"data": (0, 3, size, size)})
    assert is_batch_free(module)
    mx_symbol = mxnet.sym.load(str(tmp_path / f"{name}-symbol.json"))
    check_model(mxnet, module, mx_symbol, params, (3, size, size), batches=(1, 2))


def test_nodes_keep_names_and_facts(shared_models):
    """Oracle: the names and operators of the symbol file."""
    symbol, params = load(shared_models, "mtcnn_det1")
    module = import_symbol(symbol, params, (1, 3, 20, 20))
    stored = {node.name: node.operator for node in symbol.nodes}
    for node in module.graph.nodes:
        if node.op == "call_function":
            facts = facts_of(node)
            assert stored[facts.source_name] == facts.source_operator
            assert "val" in node.meta
    by_name = {node.name: node for node in module.graph.nodes}
    assert "prob1" in by_name and "conv4_2" in by_name
    assert by_name["prelu1"].target is torch.ops.aten.sub.Tensor  # the last of its steps
    assert facts_of(by_name["prelu1_relu"]).source_name == "prelu1"
    heads = next(node for node in module.graph.nodes if node.op == "output").args[0]
    assert [facts_of(node).source_name for node in heads] == ["conv4_2", "prob1"]


def test_import_is_deterministic(shared_models):
    """Oracle: a second import."""
    symbol, params = load(shared_models, "cifar_resnet8")
    first, second = (import_symbol(symbol, params, (1, 3, 32, 32)) for _ in range(2))
    assert first.code == second.code
    assert list(first.state_dict()) == list(second.state_dict())


def test_parameters_are_copied(shared_models):
    """Oracle: the output before the caller changes the arrays."""
    symbol, params = load(shared_models, "mnist_lenet")
    module = import_symbol(symbol, params, (1, 1, 28, 28))
    data = torch.ones(1, 1, 28, 28)
    before = module(data)[0].clone()
    for array in params.values():
        array[:] = 0
    assert torch.equal(module(data)[0], before)


@pytest.mark.parametrize("stored", [np.float16, np.float64, np.int8, ">f4"])
def test_parameters_of_other_types_are_converted(stored):
    """Oracle: numpy."""
    values = np.array([[1, -2, 3]], stored)
    module = import_symbol(weighted(), {"w": values}, (1, 3))
    buffer = next(module.buffers())
    assert buffer.dtype == torch.float32
    np.testing.assert_array_equal(buffer.numpy(), values.astype(np.float32))


def test_float64_graph():
    """Oracle: numpy in float64."""
    values = np.array([[1 / 3, 2 / 3, 1e-9]])
    module = import_symbol(weighted(), {"w": values}, (1, 3), dtype=torch.float64)
    data = np.array([[0.1, 0.2, 0.3]])
    np.testing.assert_array_equal(module(torch.from_numpy(data))[0].numpy(), data + values)


def test_unused_parameters_are_dropped():
    """Oracle: the symbol reads w alone."""
    module = import_symbol(weighted(), {"w": np.ones((1, 3), np.float32), "other": np.ones(7)}, (1, 3))
    assert [name for name, _ in module.named_buffers()] == ["w"]


def test_fixed_gamma_is_dropped(mxnet):
    module = compare(mxnet, mxnet.sym.BatchNorm(mxnet.sym.var("data"), name="bn"), data=(0, 3, 4, 4))
    assert [name for name, _ in module.named_buffers()] == ["bn_beta", "bn_moving_mean", "bn_moving_var"]


def test_tied_weights_and_repeated_heads_equal_mxnet(mxnet):
    weight, data = mxnet.sym.var("w"), mxnet.sym.var("data")
    first = mxnet.sym.FullyConnected(data, weight, no_bias=True, num_hidden=4, name="a")
    second = mxnet.sym.FullyConnected(first, weight, no_bias=True, num_hidden=4, name="b")
    module = compare(mxnet, mxnet.sym.Group([second, first, second]), data=(0, 4))
    assert len(list(module.buffers())) == 1


def test_several_inputs_equal_mxnet(mxnet):
    symbol = mxnet.sym.broadcast_mul(mxnet.sym.var("image"), mxnet.sym.exp(mxnet.sym.var("gate")))
    compare(mxnet, symbol, image=(0, 3, 4, 4), gate=(0, 3, 1, 1))


def test_names_that_are_no_identifiers(mxnet):
    """Names as TensorFlow and namespaced models have them, one of them a Python keyword."""
    data = mxnet.sym.var("input:0")
    symbol = mxnet.sym.exp(mxnet.sym.relu(data, name="block/1.relu"), name="class")
    module = compare(mxnet, symbol, **{"input:0": (0, 3)})
    names = [facts_of(node).source_name for node in module.graph.nodes if node.op != "output"]
    assert names == ["input:0", "block/1.relu", "class"]


def test_parameters_of_a_computed_weight_equal_mxnet(mxnet):
    """A subgraph of parameters alone: a later pass folds it."""
    weight = mxnet.sym.var("w", shape=(4, 3)) * 0.5
    symbol = mxnet.sym.FullyConnected(mxnet.sym.var("data"), weight, no_bias=True, num_hidden=4)
    compare(mxnet, symbol, data=(0, 3))


def test_unknown_operators_are_listed_together():
    """Oracle: the registry; nothing else is looked at first, so that no shape is needed."""
    nodes = [SymbolNode("null", "data")]
    for name, operator in [("up", "Correlation"), ("norm", "_contrib_quantize"), ("up2", "Correlation")]:
        nodes.append(SymbolNode(operator, name, {}, ((len(nodes) - 1, 0),)))
    with pytest.raises(UnsupportedOperatorError) as caught:
        import_symbol(Symbol(tuple(nodes), ((3, 0),)), {})
    message = str(caught.value)
    assert "2 MXNet operators" in message
    assert "Correlation: 2 nodes, first 'up'; nearest supported: " in message
    assert "_contrib_quantize: 1 node, first 'norm'" in message
    assert "register_converter" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_parameter_that_is_not_finite(value):
    """Oracle: float32 has no finite value for them."""
    with pytest.raises(InvalidFileError, match="'w'"):
        import_symbol(weighted(), {"w": np.array([[1, value, 2]])}, (1, 3))


def test_parameter_that_is_no_number():
    """Oracle: torch has no such type."""
    with pytest.raises(InvalidFileError, match="'w'"):
        import_symbol(weighted(), {"w": np.array([["a", "b", "c"]])}, (1, 3))


def test_wrong_parameter_shape_names_the_node():
    """Oracle: MXNet refuses it too."""
    with pytest.raises(InvalidGraphError, match="'sum'"):
        import_symbol(weighted(), {"w": np.ones((1, 4), np.float32)}, (1, 3))


def test_operator_without_inputs_names_the_node():
    """Oracle: relu reads one tensor."""
    with pytest.raises(InvalidGraphError, match="'lonely'"):
        import_symbol(Symbol((SymbolNode("relu", "lonely"),), ((0, 0),)), {})


def test_training_output_names_its_reader():
    """Oracle: in inference batch normalization has one output."""
    nodes = [SymbolNode("null", name) for name in ("data", "g", "b", "m", "v")]
    nodes.append(SymbolNode("BatchNorm", "bn", {}, tuple((index, 0) for index in range(5))))
    nodes.append(SymbolNode("relu", "relu1", {}, ((5, 1),)))
    params = {name: np.ones(3, np.float32) for name in "gbmv"}
    with pytest.raises(UnsupportedOperatorError, match="'bn'") as caught:
        import_symbol(Symbol(tuple(nodes), ((6, 0),)), params, (1, 3))
    assert "'relu1'" in str(caught.value)


def test_auxiliary_states_of_old_files_equal_mxnet(mxnet):
    """MXNet 0.8 stored no nodes for the moving statistics."""
    text = """{"nodes": [
        {"op": "null", "param": {}, "name": "data", "inputs": [], "backward_source_id": -1},
        {"op": "null", "param": {}, "name": "bn_gamma", "inputs": [], "backward_source_id": -1},
        {"op": "null", "param": {}, "name": "bn_beta", "inputs": [], "backward_source_id": -1},
        {"op": "BatchNorm", "param": {"eps": "0.01", "fix_gamma": "False"}, "name": "bn",
         "inputs": [[0, 0], [1, 0], [2, 0]], "backward_source_id": -1},
        {"op": "_PlusScalar", "param": {"scalar": "2"}, "name": "out", "inputs": [[3, 0]],
         "backward_source_id": -1}],
        "arg_nodes": [0, 1, 2], "heads": [[4, 0]]}"""
    generator = np.random.default_rng(0)
    params = {f"bn_{name}": generator.random(3, np.float32) + 0.5 for name in
              ("gamma", "beta", "moving_mean", "moving_var")}
    module = import_symbol(parse_symbol(text), params, (1, 3, 4, 4))
    check_model(mxnet, module, mxnet.sym.load_json(text), params, (3, 4, 4))


def weighted():
    """data + w"""
    return Symbol((SymbolNode("null", "data"), SymbolNode("null", "w"),
                   SymbolNode("elemwise_add", "sum", {}, ((0, 0), (1, 0)))), ((2, 0),))


def test_what_can_be_imported_of_a_symbol():
    """A chain on which one node is unknown, beside a branch. Oracle: the graph of the part below, exactly."""
    data, weight = SymbolNode("null", "data"), SymbolNode("null", "w")
    low = SymbolNode("FullyConnected", "low", {"num_hidden": "2", "no_bias": "True"}, ((0, 0), (1, 0)))
    unknown = SymbolNode("mystery", "m", {}, ((2, 0),))
    total = SymbolNode("broadcast_add", "total", {}, ((3, 0), (0, 0)))
    head = SymbolNode("relu", "head", {}, ((2, 0),))
    symbol = Symbol((data, weight, low, unknown, total, head), ((4, 0), (5, 0)))
    params = {"w": np.eye(2, dtype=np.float32)}
    part = import_supported(symbol, params, (3, 2))
    assert (part.entries, dict(part.refused)) == (((0, 0), (2, 0), (5, 0)), {3: "it has no converter"})
    expected = import_symbol(Symbol(symbol.nodes, part.entries), params, (3, 2))
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(*pair) for pair in zip(part.module(x), expected(x), strict=True))


def test_batch_axes_of_inputs():
    """Oracle: the axis given."""
    symbol = Symbol((SymbolNode("null", "data"), SymbolNode("relu", "r", {}, ((0, 0),))), ((1, 0),))
    for axes, expected in ((None, 0), ({"data": 1}, 1), ({"other": 1}, 0)):
        module = import_symbol(symbol, {}, (2, 3), batch_axes=axes)
        assert facts_of(next(iter(module.graph.nodes))).batch_axis == expected
