"""Operators that change nothing. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import Function, check

CASES = {
    "clone": lambda m, x: x.clone(),
    "contiguous": lambda m, x: x.contiguous(),
    "channels last": lambda m, x: x.contiguous(memory_format=torch.channels_last),
    "detach": lambda m, x: x.detach(),
    "float of a float": lambda m, x: x.float(),
    "to the same": lambda m, x: x.to(torch.float32).to("cpu").type_as(x),
    "copied": lambda m, x: x.to(torch.float32, copy=True),
}


@pytest.mark.parametrize("name", CASES)
def test_identity(name):
    """The operator is gone."""
    check(Function(lambda m, x: CASES[name](m, x).neg()), (4, 5, 6), targets=["neg.default"])


def test_identity_module():
    """A module that returns its input gives a graph that does."""
    check(nn.Identity(), (4,), targets=[])


@pytest.mark.parametrize("module", [nn.Dropout(), nn.Dropout(inplace=True), nn.Dropout2d(), nn.AlphaDropout(),
                                    nn.FeatureAlphaDropout()], ids=repr)
def test_dropout(module):
    """Every dropout in evaluation is one that does nothing."""
    graph = check(nn.Sequential(nn.Tanh(), module), (4, 5, 6), targets=["tanh.default", "dropout.default"])
    assert [node.args[2] for node in graph.graph.nodes if "dropout" in str(node.target)] == [False]


def test_other_dtype_stays():
    """A conversion that changes the dtype is no identity."""
    check(Function(lambda m, x: x.double()), (4,), targets=["_to_copy.default"])


def test_active_dropout_is_refused():
    """F.dropout without ``training=self.training`` drops in evaluation too (oracle: the message)."""
    graph = check(Function(lambda m, x: F.dropout(x, 0.5)), (4,), batches=())
    assert [node.args[1:] for node in graph.graph.nodes if node.op == "call_function"] in ([(0.5, True)], [(0.5,)])
    with pytest.raises(UnsupportedOperatorError, match="active in evaluation"):
        prepare(graph)
