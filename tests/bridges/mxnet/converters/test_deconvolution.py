"""Deconvolution; oracle: MXNet 1.9.1."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bridges.mxnet.importer import import_symbol
from bridges.mxnet.symbol_file import parse_symbol
from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from mrt_torch.passes.prepare import prepare
from tests.bridges.mxnet.oracle import check_close, compare, random_arrays, run_mxnet, targets


@pytest.mark.parametrize("attributes", [
    dict(kernel=(2, 2), stride=(2, 2)), dict(kernel=(3, 2), stride=(2, 3), pad=(1, 0), adj=(1, 2)),
    dict(kernel=(3, 3), dilate=(2, 1), no_bias=False), dict(kernel=(4, 4), stride=(2, 2), num_group=2),
    dict(kernel=(4, 3), stride=(2, 2), target_shape=(9, 8)), dict(kernel=(4, 3), stride=(3, 2), target_shape=(12, 9)),
], ids=str)
def test_two_axes_equal_mxnet(mxnet, attributes):
    symbol = mxnet.sym.Deconvolution(mxnet.sym.var("data"), num_filter=6, **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 4, 4, 5))) == ["conv_transpose2d"]


def test_one_axis_equals_mxnet(mxnet):
    symbol = mxnet.sym.Deconvolution(mxnet.sym.var("data"), kernel=(3,), stride=(2,), pad=(1,), adj=(1,), num_filter=5,
                                     no_bias=False)
    assert targets(compare(mxnet, symbol, data=(0, 4, 6))) == ["unsqueeze", "conv_transpose2d", "squeeze"]


def test_three_axes_are_imported_and_refused(import_node):
    """In float only, which MXNet's CPU cannot run at all: prepare names the node and says to split before it.

    Oracle: torch's conv_transpose3d.
    """
    attributes = dict(kernel="(2, 3, 2)", stride="(2, 1, 2)", pad="(0, 1, 0)", num_filter="4", num_group="2")
    module = import_node("Deconvolution", attributes, (1, 4, 3, 4, 2), weight=(4, 2, 2, 3, 2))
    data = torch.rand(2, 4, 3, 4, 2)
    expected = torch.nn.functional.conv_transpose3d(data, torch.full((4, 2, 2, 3, 2), 0.5), None, (2, 1, 2), (0, 1, 0),
                                                    groups=2)
    check_close(module(data), [expected.numpy()])
    with pytest.raises(UnsupportedOperatorError, match=r"node 'node' \(Deconvolution\)") as caught:
        prepare(module)
    assert "split the model before" in caught.value.remedy


def test_a_dilated_axis_with_a_stride(import_node):
    """The definition, where MXNet's own CPU kernel takes wrong taps. Oracle: torch's conv_transpose2d."""
    attributes = dict(kernel="(3, 2)", stride="(2, 3)", dilate="(2, 2)", num_filter="4")
    module, data = import_node("Deconvolution", attributes, (1, 2, 4, 5), weight=(2, 4, 3, 2)), torch.rand(2, 2, 4, 5)
    expected = torch.nn.functional.conv_transpose2d(data, torch.full((2, 4, 3, 2), 0.5), stride=(2, 3), dilation=(2, 2))
    check_close(module(data), [expected.numpy()])
    check_close(prepare(module)(data), [expected.numpy()])


@pytest.mark.parametrize("layout, attributes", [
    ("NHWC", dict(kernel=(3, 2), stride=(2, 2), num_group=2)), ("NWC", dict(kernel=(3,), stride=(2,), pad=(1,)))])
def test_channels_last_equals_a_transposed_deconvolution(mxnet, layout, attributes):
    """MXNet's CPU runs no such layout. Oracle: MXNet on the data and weight with the channels in front."""
    shape = (2, 4, 5, 6)[:len(attributes["kernel"]) + 2]
    symbol = mxnet.sym.Deconvolution(mxnet.sym.var("data"), num_filter=6, **attributes)
    arrays = random_arrays(mxnet, symbol, {"data": shape}, seed=1)
    (expected,) = run_mxnet(mxnet, symbol, arrays)
    arrays = {name: np.ascontiguousarray(np.moveaxis(array, 1, -1)) for name, array in arrays.items()}
    parsed = json.loads(symbol.tojson())
    parsed["nodes"][-1]["attrs"]["layout"] = layout
    data = arrays.pop("data")
    module = import_symbol(parse_symbol(json.dumps(parsed)), arrays, {"data": data.shape})
    check_close(module(torch.from_numpy(data)), [np.moveaxis(expected, 1, -1)])
    check_close(prepare(module)(torch.from_numpy(data)), [np.moveaxis(expected, 1, -1)])


@pytest.mark.parametrize("attributes, message", [
    (dict(target_shape="(90, 8)"), "larger than the result"), (dict(target_shape="(9,)"), "2 numbers"),
    (dict(num_group="3"), "do not divide"), (dict(num_filter="4"), "the weight has shape")])
def test_contradictions_are_named(import_node, attributes, message):
    """Oracle: MXNet refuses them too."""
    with pytest.raises(InvalidGraphError, match=message):
        import_node("Deconvolution", {"kernel": "(2, 2)", "num_filter": "3", **attributes}, (1, 2, 4, 4),
                    weight=(2, 3, 2, 2))
