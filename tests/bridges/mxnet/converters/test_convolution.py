"""Convolution; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidFileError, InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, renamed, targets

CASES = {
    "plain": dict(kernel=(3, 3), num_filter=4),
    "no bias": dict(kernel=(3, 3), num_filter=4, no_bias=True),
    "stride and pad": dict(kernel=(3, 5), num_filter=4, stride=(2, 3), pad=(1, 2)),
    "pad larger than the kernel": dict(kernel=(1, 2), num_filter=4, pad=(3, 4)),
    "dilated": dict(kernel=(3, 2), num_filter=4, dilate=(2, 3), pad=(2, 0)),
    "grouped": dict(kernel=(3, 3), num_filter=9, num_group=3, pad=(1, 1)),
    "depthwise": dict(kernel=(3, 3), num_filter=6, num_group=6, no_bias=True, layout="NCHW"),
    "one": dict(kernel=(1, 1), num_filter=1),
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


@pytest.mark.parametrize("attributes, data, message", [
    (dict(kernel="(3, 3)", layout="NHWC"), (1, 8, 8, 4), "layout is NHWC"),
    (dict(kernel="(3, 3, 3)"), (1, 4, 8, 8, 8), "3 axes"),
])
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
