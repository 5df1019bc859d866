"""Descriptions of MXNet files."""

from __future__ import annotations

import numpy as np
import pytest

from bridges.mxnet.params_file import write_params
from bridges.mxnet.symbol_builder import SymbolBuilder
from bridges.mxnet.symbol_file import write_symbol
from mrt_torch.demo import run_demo
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.inspection import NamedShape, inspect_model


def write(folder, shape, *operators):
    """Files of a chain: FullyConnected (2 units of 3), then the named operators."""
    builder = SymbolBuilder()
    data = builder.variable("data", shape, np.float32)
    weight = builder.parameter("dense_weight", np.ones((2, 3), np.float32))
    builder.params["arg:unused"] = np.ones(7, np.float32)
    entry = builder.operator("FullyConnected", [data, weight], "dense", num_hidden=2, no_bias=True)
    for number, operator in enumerate(operators):
        entry = builder.operator(operator, [entry], f"node{number}")
    write_symbol(builder.build([entry]), folder / "net-symbol.json")
    write_params(folder / "net-0000.params", builder.params)
    return folder / "net-symbol.json"


def test_what_the_files_hold(tmp_path):
    """Oracle: the symbol above; parameters that no operator reads are not counted."""
    description = inspect_model(write(tmp_path, (0, 3), "relu", "relu"))
    assert description.form == "MXNet model"
    assert list(description.operators.items()) == [("relu", 2), ("FullyConnected", 1)]
    assert (description.parameters, description.elements, description.bytes) == (1, 6, 24)
    assert description.inputs == (NamedShape("data", (1, 3)),)
    assert description.outputs == (NamedShape("node1", (1, 2)),)
    assert description.unsupported == ()
    assert description.complete


def test_unsupported_operators_are_counted(tmp_path):
    """Oracle: the symbol above: count, first node and the nearest name."""
    description = inspect_model(write(tmp_path, (0, 3), "Relu", "relu", "Relu", "gamma"))
    assert description.operators["Relu"] == 2
    assert description.unsupported[0] == "Relu: 2 nodes, first 'node0'; nearest supported: relu"
    assert description.unsupported[1].startswith("gamma: 1 node, first 'node3'")
    assert description.outputs == (NamedShape("node3", None),)


def test_unknown_shapes_leave_the_check_incomplete(tmp_path):
    """Oracle: a symbol that declares no size; giving the shape completes the description."""
    path = write(tmp_path, (0, 0), "relu")
    description = inspect_model(path)
    assert not description.complete
    assert description.outputs == (NamedShape("node0", None),)
    complete = inspect_model(path, shapes=(4, 3))
    assert complete.complete
    assert complete.inputs == (NamedShape("data", (4, 3)),)
    assert complete.outputs == (NamedShape("node0", (4, 2)),)


def test_shapes_that_do_not_fit_are_refused(tmp_path):
    """Oracle: the model has no such input."""
    with pytest.raises(InvalidArgumentError):
        inspect_model(write(tmp_path, (0, 3)), shapes={"image": (1, 3)})


def test_heads_of_one_node_are_told_apart(tmp_path):
    """Oracle: the symbol itself, whose two heads are the two halves of a split."""
    builder = SymbolBuilder()
    data = builder.variable("data", (0, 4), np.float32)
    node, _ = builder.operator("SliceChannel", [data], "halves", num_outputs=2, axis=1)
    builder.parameter("unused", np.ones(1, np.float32))
    write_symbol(builder.build([(node, 0), (node, 1)]), tmp_path / "net-symbol.json")
    write_params(tmp_path / "net-0000.params", builder.params)
    description = inspect_model(tmp_path / "net-symbol.json")
    assert description.outputs == (NamedShape("halves", (1, 2)), NamedShape("halves", (1, 2)))


def test_exported_integer_model(tmp_path):
    """Oracle: the embedded model has four convolutions; Custom operators are named."""
    run_demo(tmp_path)
    description = inspect_model(tmp_path / "digits-symbol.json")
    assert description.form == "MXNet integer model"
    assert description.operators["Convolution"] >= 4
    assert description.operators["Custom cvm_right_shift"] > 0
    assert description.outputs == (NamedShape("dense", (1, 10)),)
    assert description.unsupported == ()
