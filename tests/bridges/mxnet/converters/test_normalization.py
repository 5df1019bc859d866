"""Normalizations; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, targets


@pytest.mark.parametrize("attributes", [
    {}, dict(fix_gamma=False), dict(fix_gamma=True, eps=0.5),
    dict(fix_gamma=False, eps=2e-5, use_global_stats=True),
], ids=str)
@pytest.mark.parametrize("shape", [(0, 4, 3, 5), (0, 4), (0, 4, 6)], ids=str)
def test_batch_norm_equals_mxnet(mxnet, attributes, shape):
    symbol = mxnet.sym.BatchNorm(mxnet.sym.var("data"), name="bn", **attributes)
    assert targets(compare(mxnet, symbol, data=shape)) == ["batch_norm"]


@pytest.mark.parametrize("axis", [2, 3, -1])
def test_other_axis_equals_mxnet(mxnet, axis):
    symbol = mxnet.sym.BatchNorm(mxnet.sym.var("data"), name="bn", axis=axis, fix_gamma=False)
    assert targets(compare(mxnet, symbol, data=(0, 4, 3, 5))) == ["permute", "batch_norm", "permute"]


def test_axis_of_the_batch_equals_mxnet(mxnet):
    symbol = mxnet.sym.BatchNorm(mxnet.sym.var("data"), name="bn", axis=0, fix_gamma=False)
    compare(mxnet, symbol, batches=(3,), data=(0, 4, 2))


def test_default_epsilon(import_node):
    """Oracle: MXNet 1.9.1's documentation of BatchNorm."""
    module = import_node("BatchNorm", {}, (1, 4, 2, 2), g=(4,), b=(4,), m=(4,), v=(4,))
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    assert node.args[7] == 0.0010000000474974513
    assert node.args[1] is None  # fix_gamma is the default


def test_old_name(mxnet):
    symbol = mxnet.sym.BatchNorm_v1(mxnet.sym.var("data"), name="bn", eps=1e-2, fix_gamma=False)
    compare(mxnet, symbol, data=(0, 4, 3, 5))


def test_wrong_length_names_the_node(import_node):
    """Oracle: MXNet refuses it too."""
    with pytest.raises(InvalidGraphError, match=r"moving_mean has shape \(5,\)"):
        import_node("BatchNorm", {}, (1, 4, 2, 2), g=(4,), b=(4,), m=(5,), v=(4,))


def test_batch_norm_with_relu_equals_mxnet(import_node):
    """Oracle: the relu of a BatchNorm."""
    parameters = dict(g=(4,), b=(4,), m=(4,), v=(4,))
    module = import_node("_contrib_BatchNormWithReLU", dict(fix_gamma="False"), (2, 4, 3), **parameters)
    plain = import_node("BatchNorm", dict(fix_gamma="False"), (2, 4, 3), **parameters)
    x = torch.randn(2, 4, 3)
    assert torch.equal(module(x)[0], plain(x)[0].relu())


@pytest.mark.parametrize("attributes", [{}, dict(axis=1), dict(axis=-2, eps=0.1), dict(axis=0, eps=1e-3)], ids=str)
@pytest.mark.parametrize("shape", [(0, 4, 3, 5), (0, 6), (0, 4, 6)], ids=str)
def test_layer_norm_equals_mxnet(mxnet, attributes, shape):
    symbol = mxnet.sym.LayerNorm(mxnet.sym.var("data"), name="ln", **attributes)
    batches = (3,) if attributes.get("axis") in (0, -len(shape)) else (1, 3)
    assert "layer_norm" in targets(compare(mxnet, symbol, batches=batches, data=shape))


def test_unread_statistics(mxnet):
    symbol = mxnet.sym.LayerNorm(mxnet.sym.var("data"), name="ln", output_mean_var=True)[0]
    compare(mxnet, symbol, data=(0, 4, 6))
    symbol = mxnet.sym.GroupNorm(mxnet.sym.var("data"), name="gn", num_groups=2, output_mean_var=True)[0]
    compare(mxnet, symbol, data=(0, 4, 6))


@pytest.mark.parametrize("operator", ["LayerNorm", "GroupNorm"])
def test_read_statistics_are_refused(import_node, operator):
    """Oracle: the support table of the converter."""
    size = 1 if operator == "GroupNorm" else 4
    with pytest.raises(UnsupportedOperatorError, match="output_mean_var"):
        import_node(operator, dict(output_mean_var="True"), (2, 3, 4), g=(size,), b=(size,), heads=((-1, 0), (-1, 1)))


@pytest.mark.parametrize("attributes", [{}, dict(eps=0.2)], ids=str)
@pytest.mark.parametrize("shape", [(0, 3, 7), (0, 3, 4, 5), (0, 3, 2, 3, 4)], ids=str)
def test_instance_norm_equals_mxnet(mxnet, attributes, shape):
    symbol = mxnet.sym.InstanceNorm(mxnet.sym.var("data"), name="norm", **attributes)
    assert targets(compare(mxnet, symbol, data=shape)) == ["instance_norm"]


@pytest.mark.parametrize("attributes", [{}, dict(num_groups=3), dict(num_groups=6, eps=0.2)], ids=str)
@pytest.mark.parametrize("shape", [(0, 6, 7), (0, 6, 4, 5)], ids=str)
def test_group_norm_equals_mxnet(mxnet, attributes, shape):
    symbol = mxnet.sym.GroupNorm(mxnet.sym.var("data"), name="norm", **attributes)
    assert targets(compare(mxnet, symbol, data=shape)) == ["group_norm"]


@pytest.mark.parametrize("attributes", [{}, dict(mode="channel"), dict(mode="spatial", eps=0.3), dict(eps=0.1)],
                         ids=str)
@pytest.mark.parametrize("shape", [(0, 3, 7), (0, 3, 4, 5), (0, 6)], ids=str)
def test_l2_normalization_equals_mxnet(mxnet, attributes, shape):
    if attributes.get("mode") and len(shape) == 2:
        pytest.skip("MXNet wants three axes for this mode")
    symbol = mxnet.sym.L2Normalization(mxnet.sym.var("data"), **attributes)
    assert "rms_norm" in targets(compare(mxnet, symbol, data=shape))


@pytest.mark.parametrize("attributes", [dict(nsize=3), dict(nsize=5, alpha=0.3, beta=0.6, knorm=1.5), dict(nsize=1)],
                         ids=str)
def test_local_response_norm_equals_mxnet(mxnet, attributes):
    compare(mxnet, mxnet.sym.LRN(mxnet.sym.var("data"), **attributes), data=(0, 7, 3, 4))


def test_misuse(import_node):
    """Oracle: MXNet refuses these too."""
    for operator, attributes, shape in (
            ("L2Normalization", dict(mode="spatial"), (2, 3)), ("LRN", dict(nsize="4"), (1, 5, 2, 2)),
            ("LRN", dict(nsize="3"), (1, 5, 2))):
        with pytest.raises(InvalidGraphError):
            import_node(operator, attributes, shape)
    with pytest.raises(InvalidGraphError, match="gamma has shape"):
        import_node("LayerNorm", {}, (2, 3), g=(2,), b=(3,))
    with pytest.raises(InvalidGraphError, match="three axes"):
        import_node("InstanceNorm", {}, (2, 3), g=(3,), b=(3,))
    with pytest.raises(InvalidGraphError, match="equal groups"):
        import_node("GroupNorm", dict(num_groups="2"), (2, 3, 4), g=(2,), b=(2,))
