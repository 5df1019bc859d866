"""Taking parts of tensors; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, renamed, targets


@pytest.mark.parametrize("attributes", [
    dict(axis=1, begin=0, end=1), dict(axis=2, begin=1, end=None), dict(axis=-1, begin=-3, end=-1),
    dict(axis=1, begin=2, end=4),
], ids=str)
def test_slice_axis_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.slice_axis(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 4, 5))) == ["slice"]


@pytest.mark.parametrize("begin, end, step, count", [
    ((None, 1), (None, 3), None, 1), ((None, 1, 2), (None, None, 4), None, 2),
    ((None, -3, 0), (None, -1, 5), None, 1),
    ((None, 0, 1), (None, None, 5), (None, 2, 3), 2), ((0, 0, 0), (None, 4, 9), None, 0),
    ((None, None, 1), (None, None, 99), (1, 1, 2), 1),
], ids=str)
def test_slice_equals_mxnet(mxnet, begin, end, step, count):
    """Parts that are a whole axis, the batch above all, make no node."""
    attributes = {} if step is None else dict(step=step)
    symbol = mxnet.sym.exp(mxnet.sym.slice(mxnet.sym.var("data"), begin=begin, end=end, **attributes))
    assert targets(compare(mxnet, symbol, data=(0, 4, 5))) == ["slice"] * count + ["exp"]


def test_slice_of_the_batch_equals_mxnet(mxnet):
    symbol = mxnet.sym.slice_axis(mxnet.sym.var("data"), axis=0, begin=1, end=3)
    compare(mxnet, symbol, batches=(4,), data=(0, 3))


@pytest.mark.parametrize("attributes, outputs", [
    (dict(num_outputs=2), ["slice"] * 2), (dict(num_outputs=5, axis=-1), ["slice"] * 5),
    (dict(num_outputs=4, squeeze_axis=True), ["slice", "squeeze"] * 4), (dict(num_outputs=1), ["slice"]),
], ids=str)
def test_slice_channel_equals_mxnet(mxnet, attributes, outputs):
    symbol = mxnet.sym.SliceChannel(mxnet.sym.var("data"), name="split", **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 4, 5))) == outputs


def test_outputs_keep_mxnets_names(mxnet):
    symbol = mxnet.sym.SliceChannel(mxnet.sym.var("data"), num_outputs=2, name="split")
    module = compare(mxnet, symbol, data=(0, 4))
    names = [node.name for node in module.graph.nodes if node.op == "call_function"]
    assert names == symbol.list_outputs() == ["split_output0", "split_output1"]


def test_outputs_used_out_of_order_equal_mxnet(mxnet):
    parts = mxnet.sym.SliceChannel(mxnet.sym.var("data"), num_outputs=3)
    symbol = mxnet.sym.Group([parts[2] - parts[0], parts[0]])
    assert targets(compare(mxnet, symbol, data=(0, 6))) == ["slice", "slice", "sub"]


@pytest.mark.parametrize("sections, squeeze", [(2, False), ((1, 3), False), (4, True)], ids=str)
def test_split_equals_mxnet(mxnet, sections, squeeze):
    symbol = mxnet.sym.split_v2(mxnet.sym.var("data"), sections, axis=1, squeeze_axis=squeeze)
    compare(mxnet, symbol, data=(0, 4, 5))


@pytest.mark.parametrize("old, new", [("split", "SliceChannel"), ("crop", "slice")])
def test_other_name_equals_mxnet(mxnet, old, new):
    data = mxnet.sym.var("data")
    symbols = {"crop": mxnet.sym.slice(data, (None, 1), (None, 3)),
               "split": mxnet.sym.SliceChannel(data, num_outputs=2)}
    compare(mxnet, renamed(mxnet, symbols[old], new, old), data=(0, 4))


@pytest.mark.parametrize("begin, end, step, operators", [
    ((None, 3), (None, 0), (1, -1), ["slice", "flip"]), ((None, None), (None, None), (None, -1), ["flip"]),
    ((None, 3), (None, None), (None, -2), ["slice", "flip"]), ((None, -1), (None, -4), (None, -1), ["slice", "flip"]),
    ((None, 4), (None, -6), (None, -3), ["slice", "flip"]), ((None, None), (None, 1), (None, -2), ["slice", "flip"]),
    ((None, 9), (None, 2), (None, -1), ["slice", "flip"]),
    ((None, None, 1), (None, None, 4), (None, -2, 2), ["slice", "slice", "flip"]),
    ((None, None, None), (None, None, None), (None, -1, -1), ["flip"]),
], ids=str)
def test_slices_backwards_equal_mxnet(mxnet, begin, end, step, operators):
    symbol = mxnet.sym.slice(mxnet.sym.var("data"), begin=begin, end=end, step=step)
    assert targets(compare(mxnet, symbol, data=(0, 5, 6))) == operators


@pytest.mark.parametrize("attributes, like", [
    (dict(h_w=(3, 2)), None), (dict(h_w=(3, 2), offset=(1, 2)), None), (dict(h_w=(3, 4), center_crop=True), None),
    ({}, (0, 7, 3, 2)), (dict(offset=(2, 1)), (0, 7, 3, 2)), (dict(center_crop=True), (0, 2, 4, 3)),
], ids=str)
def test_crop_equals_mxnet(mxnet, attributes, like):
    """The layer of old segmentation networks: the size of a second input, or given."""
    data = [mxnet.sym.var("data")] if like is None else [mxnet.sym.var("data"), mxnet.sym.var("like")]
    symbol = mxnet.sym.Crop(*data, num_args=len(data), **attributes)
    shapes = dict(data=(0, 3, 5, 6), **({} if like is None else dict(like=like)))
    assert set(targets(compare(mxnet, symbol, **shapes))) == {"slice"}


@pytest.mark.parametrize("axes, like", [((), (0, 2, 3)), ((1,), (0, 2, 9)), ((-1, 1), (0, 2, 3)), ((2,), (7, 9, 1))],
                         ids=str)
def test_slice_like_equals_mxnet(mxnet, axes, like):
    symbol = mxnet.sym.slice_like(mxnet.sym.var("data"), mxnet.sym.var("like"), axes=axes)
    assert targets(compare(mxnet, symbol, data=(0, 4, 5), like=like)) == ["slice_like"]


@pytest.mark.parametrize("operator, attributes, shapes", [
    ("Crop", dict(h_w="(9, 1)"), [(1, 1, 4, 4)]), ("Crop", dict(h_w="(2, 2)", offset="(3, 0)"), [(1, 1, 4, 4)]),
    ("Crop", {}, [(1, 1, 4, 4)]), ("Crop", dict(h_w="(2, 2)"), [(1, 4, 4)]),
    ("slice_like", {}, [(1, 4), (1, 5)]), ("slice_like", {}, [(1, 4), (1, 4, 2)]),
    ("slice_like", dict(axes="(2,)"), [(1, 4, 5), (1, 4)]),
    ("slice", dict(begin="(None, 0)", end="(None, 3)", step="(1, -1)"), [(1, 4)]),
    ("slice", dict(begin="(None, 2)", end="(None, -1)", step="(1, -1)"), [(1, 4)]),
    ("slice", dict(begin="(None, -9)", end="(None, 3)", step="(1, -1)"), [(1, 4)]),
    ("slice", dict(begin="(None, 0)", end="(None, 3)", step="(1, 0)"), [(1, 4)]),
])
def test_parts_beyond_the_tensor(import_node, operator, attributes, shapes):
    """Oracle: MXNet refuses them too."""
    with pytest.raises(InvalidGraphError, match="'node'"):
        import_node(operator, attributes, *shapes)


@pytest.mark.parametrize("operator, attributes", [
    ("slice_axis", dict(axis="1", begin="0", end="5")), ("slice_axis", dict(axis="1", begin="2", end="2")),
    ("slice_axis", dict(axis="2", begin="0", end="1")), ("slice", dict(begin="(0, 0, 0)", end="(1, 1, 1)")),
    ("slice", dict(begin="(0, 0)", end="(1,)")), ("SliceChannel", dict(num_outputs="3")),
    ("SliceChannel", dict(num_outputs="2", squeeze_axis="True")), ("SliceChannel", dict(num_outputs="0")),
    ("_split_v2", dict(indices="(0, 4)")), ("_split_v2", dict(indices="(0,)", sections="3")),
])
def test_parts_that_do_not_exist(import_node, operator, attributes):
    """Oracle: MXNet refuses them too."""
    with pytest.raises(InvalidGraphError):
        import_node(operator, attributes, (1, 4))


@pytest.mark.parametrize("operator, attributes", [
    ("SliceChannel", dict(num_outputs=str(10**9), axis="1")), ("_split_v2", dict(sections=str(10**9), axis="1")),
])
def test_only_outputs_that_are_read_are_made(import_node, operator, attributes):
    """Oracle: the one slice by hand; a short file that announced 10**9 of them took all time and memory."""
    module = import_node(operator, attributes, (1, 2 * 10**9), heads=((-1, 3),))
    (node,) = [node for node in module.graph.nodes if node.op == "call_function"]
    assert node.args[1:] == (1, 6, 8, 1) and node.name == "node_output3"


def test_output_beyond_the_last_is_refused(import_node):
    """Oracle: two slices have no third."""
    with pytest.raises(UnsupportedOperatorError, match="reads output 2"):
        import_node("SliceChannel", dict(num_outputs="2"), (1, 4), heads=((-1, 2),))
