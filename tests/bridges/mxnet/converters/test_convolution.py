"""Convolution; oracle: MXNet 1.9.1."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bridges.mxnet.importer import import_symbol
from bridges.mxnet.symbol_file import parse_symbol
from mrt_torch.errors import InvalidFileError, InvalidGraphError, UnsupportedOperatorError
from mrt_torch.passes.prepare import prepare
from tests.bridges.mxnet.oracle import check_close, compare, random_arrays, renamed, run_mxnet, targets

CASES = {
    "plain": dict(kernel=(3, 3), num_filter=4),
    "no bias": dict(kernel=(3, 3), num_filter=4, no_bias=True),
    "stride and pad": dict(kernel=(3, 5), num_filter=4, stride=(2, 3), pad=(1, 2)),
    "pad larger than the kernel": dict(kernel=(1, 2), num_filter=4, pad=(3, 4)),
    "dilated": dict(kernel=(3, 2), num_filter=4, dilate=(2, 3), pad=(2, 0)),
    "grouped": dict(kernel=(3, 3), num_filter=9, num_group=3, pad=(1, 1)),
    "depthwise": dict(kernel=(3, 3), num_filter=6, num_group=6, no_bias=True, layout="NCHW"),
    "one": dict(kernel=(1, 1), num_filter=1),
    "tuning hints": dict(kernel=(3, 3), num_filter=4, workspace=512, cudnn_tune="off", cudnn_off=True),
    "channel multiplier": dict(kernel=(3, 3), num_filter=12, num_group=6, stride=(2, 2), pad=(1, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_convolution_equals_mxnet(mxnet, case):
    symbol = mxnet.sym.Convolution(mxnet.sym.var("data"), name="conv", **CASES[case])
    module = compare(mxnet, symbol, data=(0, 6, 11, 10))
    assert targets(module) == ["conv2d"]


def test_one_axis_becomes_two(mxnet):
    symbol = mxnet.sym.Convolution(mxnet.sym.var("data"), name="conv", kernel=(3,), num_filter=6, num_group=2,
                                   stride=(2,), pad=(2,), dilate=(2,))
    module = compare(mxnet, symbol, data=(0, 4, 13))
    assert targets(module) == ["unsqueeze", "conv2d", "squeeze"]


def test_shared_weight(mxnet):
    weight, data = mxnet.sym.var("weight"), mxnet.sym.var("data")
    once = mxnet.sym.Convolution(data, weight, name="a", kernel=(3, 3), num_filter=4, pad=(1, 1),
                                 no_bias=True)
    twice = mxnet.sym.Convolution(once, weight, name="b", kernel=(3, 3), num_filter=4, pad=(1, 1),
                                  no_bias=True)
    module = compare(mxnet, twice, data=(0, 4, 5, 5))
    assert len(list(module.buffers())) == 1


def test_old_name(mxnet):
    symbol = mxnet.sym.Convolution(mxnet.sym.var("data"), name="conv", kernel=(2, 3), num_filter=4,
                                   stride=(2, 1))
    compare(mxnet, renamed(mxnet, symbol, "Convolution", "Convolution_v1"), data=(0, 3, 6, 6))


VOLUMES = {
    "plain": dict(kernel=(2, 3, 2), num_filter=4),
    "everything": dict(kernel=(3, 2, 3), num_filter=6, num_group=2, stride=(2, 1, 2), pad=(1, 0, 2), dilate=(1, 2, 1),
                       no_bias=True, layout="NCDHW"),
    "deep": dict(kernel=(3, 1, 1), num_filter=4, num_group=4, dilate=(2, 1, 1), pad=(2, 1, 0)),
}


@pytest.mark.parametrize("case", VOLUMES)
def test_three_axes_equal_mxnet(mxnet, case):
    """prepare makes a 2-D convolution of it, which takes any batch."""
    symbol = mxnet.sym.Convolution(mxnet.sym.var("data"), name="conv", **VOLUMES[case])
    module = compare(mxnet, symbol, data=(0, 4, 6, 5, 7))
    assert targets(module) == ["conv3d"]
    prepared, data = prepare(module), torch.rand(3, 4, 6, 5, 7)
    assert "conv3d" not in targets(prepared) and targets(prepared).count("conv2d") == 1
    check_close(prepared(data), [output.numpy() for output in module(data)])


@pytest.mark.parametrize("layout, rank, attributes", [
    ("NHWC", 2, dict(stride=(2, 1), pad=(1, 2), num_group=2)), ("NHWC", 2, dict(dilate=(1, 2), no_bias=True)),
    ("NDHWC", 3, dict(pad=(1, 0, 1))), ("NWC", 1, dict(stride=(2,), num_group=2))])
def test_channels_last_equals_a_transposed_convolution(mxnet, layout, rank, attributes):
    """MXNet's CPU runs no such layout. Oracle: MXNet on the data and weight with the channels in front."""
    kernel, shape = (3, 2, 2)[:rank], (2, 4, 7, 6, 5)[:rank + 2]
    symbol = mxnet.sym.Convolution(mxnet.sym.var("data"), name="conv", kernel=kernel, num_filter=6, **attributes)
    arrays = random_arrays(mxnet, symbol, {"data": shape}, seed=1)
    (expected,) = run_mxnet(mxnet, symbol, arrays)
    to_last = lambda array: np.ascontiguousarray(np.moveaxis(array, 1, -1))  # noqa: E731
    parsed = json.loads(symbol.tojson())
    parsed["nodes"][-1]["attrs"]["layout"] = layout
    params = {name: to_last(array) if array.ndim > 1 else array for name, array in arrays.items() if name != "data"}
    data = to_last(arrays["data"])
    module = import_symbol(parse_symbol(json.dumps(parsed)), params, {"data": data.shape})
    check_close(module(torch.from_numpy(data)), [to_last(expected)])
    assert targets(module)[0] == targets(module)[-1] == "permute"
    prepared = prepare(module)
    check_close(prepared(torch.from_numpy(data[:1])), [to_last(expected)[:1]])


@pytest.mark.parametrize("attributes, data, message", [
    (dict(kernel="(3, 3, 3, 3)"), (1, 4, 8, 8, 8, 8), "4 axes")])
def test_unsupported_variants_are_named(import_node, attributes, data, message):
    """Oracle: the support table of the converter."""
    with pytest.raises(UnsupportedOperatorError, match=message):
        import_node("Convolution", dict(num_filter="4", **attributes), data, weight=(4, 4, 3, 3), bias=(4,))


@pytest.mark.parametrize("attributes, weight, message", [
    (dict(num_filter="4"), (4, 5, 3, 3), "the weight has shape"),
    (dict(num_filter="8"), (4, 4, 3, 3), "the weight has shape"),
    (dict(num_filter="4", num_group="3"), (4, 4, 3, 3), "do not divide into 3 groups"),
    (dict(num_filter="4", stride="(1, 2, 3)"), (4, 4, 3, 3), "stride is"),
    (dict(num_filter="4", stride="(0, 1)"), (4, 4, 3, 3), "stride is"),
    (dict(num_filter="4", layout="NHWC"), (4, 4, 3, 3), "the weight has shape"),
    (dict(num_filter="4", layout="NCW"), (4, 4, 3, 3), "layout is NCW; the kernel has 2 axes"),
])
def test_contradictions_name_the_node(import_node, attributes, weight, message):
    """Oracle: the shapes MXNet's documentation of Convolution states."""
    with pytest.raises(InvalidGraphError, match=message) as caught:
        import_node("Convolution", dict(kernel="(3, 3)", **attributes), (1, 4, 8, 8), weight=weight,
                    bias=(4,))
    assert "'node' (Convolution)" in str(caught.value)


def test_missing_kernel(import_node):
    """Oracle: MXNet's documentation: kernel is required."""
    with pytest.raises(InvalidFileError, match="'kernel'"):
        import_node("Convolution", dict(num_filter="4"), (1, 4, 8, 8), weight=(4, 4, 3, 3), bias=(4,))
