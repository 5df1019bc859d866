"""BatchNorm; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidGraphError
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
