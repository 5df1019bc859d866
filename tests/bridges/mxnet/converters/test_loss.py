"""Outputs of training; oracle: MXNet 1.9.1 in inference mode."""

from __future__ import annotations

import pytest
import torch

from tests.bridges.mxnet.oracle import compare, input_order, renamed, targets


@pytest.mark.parametrize("attributes", [{}, dict(multi_output=True), dict(preserve_shape=True),
                                        dict(multi_output=True, preserve_shape=True)], ids=str)
@pytest.mark.parametrize("shape", [(0, 6), (0, 3, 4), (0, 3, 4, 5)], ids=str)
def test_softmax_output_equals_mxnet(mxnet, attributes, shape):
    symbol = mxnet.sym.SoftmaxOutput(mxnet.sym.var("data"), name="prob", **attributes)
    module = compare(mxnet, symbol, labels=("prob_label",), data=shape, batches=(2,))
    assert input_order(module) == ["data"]


def test_batch_stays_free(mxnet):
    symbol = mxnet.sym.SoftmaxOutput(mxnet.sym.var("data"), mxnet.sym.var("label"), name="prob")
    module = compare(mxnet, symbol, labels=("label",), data=(0, 3, 4), batches=(2,))
    assert targets(module) == ["flatten", "softmax", "reshape"]
    assert tuple(module(torch.zeros(5, 3, 4))[0].shape) == (5, 3, 4)


def test_old_name(mxnet):
    symbol = mxnet.sym.SoftmaxOutput(mxnet.sym.var("data"), name="prob")
    symbol = renamed(mxnet, symbol, "SoftmaxOutput", "Softmax")
    assert targets(compare(mxnet, symbol, labels=("prob_label",), data=(0, 6), batches=(2,))) == ["softmax"]


@pytest.mark.parametrize("operator, expected", [("LinearRegressionOutput", []), ("MAERegressionOutput", []),
                                                ("LogisticRegressionOutput", ["sigmoid"]), ("SVMOutput", [])])
def test_regression_equals_mxnet(mxnet, operator, expected):
    symbol = getattr(mxnet.sym, operator)(mxnet.sym.var("data"), name="out")
    assert targets(compare(mxnet, symbol, labels=("out_label",), data=(0, 6), batches=(2,))) == expected
