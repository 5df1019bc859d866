"""Deconvolution; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, targets


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


@pytest.mark.parametrize("attributes, message", [(dict(layout="NHWC"), "NHWC"), (dict(kernel="(2, 2, 2)"), "3 axes")])
def test_unsupported_variants_are_named(import_node, attributes, message):
    """Oracle: the support table of the converter."""
    with pytest.raises(UnsupportedOperatorError, match=message):
        import_node("Deconvolution", {"kernel": "(2, 2)", "num_filter": "3", **attributes}, (1, 2, 4, 4),
                    weight=(2, 3, 2, 2))


@pytest.mark.parametrize("attributes, message", [
    (dict(target_shape="(90, 8)"), "larger than the result"), (dict(target_shape="(9,)"), "2 numbers"),
    (dict(num_group="3"), "do not divide"), (dict(num_filter="4"), "the weight has shape")])
def test_contradictions_are_named(import_node, attributes, message):
    """Oracle: MXNet refuses them too."""
    with pytest.raises(InvalidGraphError, match=message):
        import_node("Deconvolution", {"kernel": "(2, 2)", "num_filter": "3", **attributes}, (1, 2, 4, 4),
                    weight=(2, 3, 2, 2))
