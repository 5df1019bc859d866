"""The table of canonical forms. Oracle: torch's own schemas."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph import canonical_forms  # noqa: F401  (registers the forms)
from mrt_torch.graph.capture import capture
from mrt_torch.graph.source_call import CANONICAL_FORMS, Call, canonical_form, pair
from tests.mrt_torch.graph.captured import operators

# Overloads that only some builds or versions of torch have.
OPTIONAL = {"_to_cpu.default", "miopen_batch_norm.default", "cudnn_batch_norm.default", "_convolution.deprecated"}


@pytest.mark.parametrize("name", list(CANONICAL_FORMS))
def test_every_form_names_an_operator(name):
    """A misspelt name would never fire."""
    packet, overload = name.split(".")
    found = hasattr(torch.ops.aten, packet) and overload in getattr(torch.ops.aten, packet).overloads()
    assert found or name in OPTIONAL


def test_registering_twice():
    with pytest.raises(InvalidArgumentError, match="relu6"):
        canonical_form("relu6.default")(lambda call: call.keep())


def test_a_form_of_ones_own(monkeypatch):
    """A user's form takes part at once, and may replace a built-in one."""
    monkeypatch.setattr(CANONICAL_FORMS, "_forms", dict(CANONICAL_FORMS._forms))

    @canonical_form("gelu.default")
    def gelu(call: Call) -> fx.Node:
        """x * sigmoid(1.702 x)."""
        gate = call.emit(torch.ops.aten.mul.Scalar, call["self"], 1.702)
        return call.emit(torch.ops.aten.mul.Tensor, call["self"], call.emit(torch.ops.aten.sigmoid.default, gate))

    graph = capture(nn.GELU(), torch.zeros(1, 3))
    assert operators(graph) == ["mul.Scalar", "sigmoid.default", "mul.Tensor"]


@pytest.mark.parametrize("given, expected", [(3, [3, 3]), ([3], [3, 3]), ((1, 2), [1, 2])])
def test_pair(given, expected):
    assert pair(given) == expected
