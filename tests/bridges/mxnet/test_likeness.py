"""Shapes that are written out. Oracle: the graph of the symbol as it was, exactly, for another batch too."""

from __future__ import annotations

import pytest
import torch

from bridges.mxnet.likeness import write_out_shapes
from bridges.mxnet.model import MXNetModel
from tests.bridges.mxnet.split_symbols import MYSTERY, Network, random_array

SHAPE = (2, 3, 4)


def written(model: MXNetModel) -> MXNetModel:
    def import_part(part):
        return MXNetModel(part, model.params).import_graph()
    return MXNetModel(write_out_shapes(model.symbol, import_part), model.params)


def check(model: MXNetModel, operator: str) -> None:
    """The node 'like' has become ``operator`` and reads one tensor."""
    changed = written(model)
    node = next(node for node in changed.symbol.nodes if node.name == "like")
    assert node.operator == operator and len(node.inputs) == 1
    graphs = model.import_graph(), changed.import_graph()
    for batch in (2, 6):
        data = torch.from_numpy(random_array(batch, *SHAPE[1:]))
        assert all(torch.equal(*pair) for pair in zip(*(graph(data) for graph in graphs), strict=True))


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2), (-1,), ()])
@pytest.mark.parametrize("first", ["data", "table"])
def test_slice_like(axes, first):
    """Of the input itself on all axes too; of a constant, on fixed axes."""
    net = Network(data=SHAPE)
    short = net("slice", net.inputs["data"], name="short", begin=(None, 0, 1), end=(None, 2, 4))
    x = net.inputs["data"] if first == "data" else net.parameter("table", 1, 5, 6)
    if first == "table" and not axes:
        axes = (1, 2)
    model = net.model(net("slice_like", x, short, name="like", axes=axes), short)
    check(model, "slice")


def test_slice_like_that_cuts_nothing():
    net = Network(data=SHAPE)
    model = net.model(net("slice_like", net.inputs["data"], net("relu", net.inputs["data"], name="r"), name="like",
                          axes=(0,)))
    check(model, "_copy")


def test_reshape_like():
    net = Network(data=SHAPE)
    flat = net("Flatten", net.inputs["data"], name="flat")
    check(net.model(net("reshape_like", flat, net.inputs["data"], name="like")), "Reshape")


def test_broadcast_like():
    net = Network(data=SHAPE)
    mean = net("mean", net.inputs["data"], name="mean", axis=1, keepdims=True)
    check(net.model(net("broadcast_like", mean, net.inputs["data"], name="like")), "broadcast_to")


def test_what_needs_the_batch_of_the_other_stays():
    """A constant as long as the batch, and as what no converter knows. Oracle: the symbol as it was."""
    net = Network(data=SHAPE)
    row = net.parameter("row", 1, 3, 4)
    unknown = net(MYSTERY, net.inputs["data"], name="m")
    model = net.model(net("broadcast_like", row, net.inputs["data"], name="like"),
                      net("slice_like", net.parameter("table", 9, 3, 4), net.inputs["data"], name="all"),
                      net("slice_like", net.inputs["data"], unknown, name="later", axes=(1,)))
    assert written(model).symbol == model.symbol
