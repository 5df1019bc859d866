"""What capture refuses, and how it says so. Oracle: the messages of this file."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from mrt_torch.graph.capture import capture
from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import Function

BAD_EXAMPLES = {
    "no tensor": ([1, 2], "not tensors"),
    "a shape": ((1, 3, 8, 8), "not tensors"),
    "nothing": ((), "not tensors"),
    "None": (None, "not tensors"),
    "a dictionary": ({"x": torch.zeros(1, 2)}, "not tensors"),
    "no batch": (torch.tensor(1.0), "no batch axis"),
    "empty batch": (torch.zeros(0, 4), "empty"),
    "different batches": ((torch.zeros(1, 4), torch.zeros(2, 4)), "differ"),
    "too many": ((torch.zeros(1, 4), torch.zeros(1, 4), torch.zeros(1, 4)), "do not fit"),
}


@pytest.mark.parametrize("name", BAD_EXAMPLES)
def test_bad_examples(name):
    """Oracle: the messages of this file."""
    examples, message = BAD_EXAMPLES[name]
    with pytest.raises(InvalidArgumentError, match=message):
        capture(nn.Bilinear(4, 4, 2), examples)


def test_no_module():
    with pytest.raises(InvalidArgumentError, match="Module"):
        capture(torch.relu, torch.zeros(1, 2))


def test_data_dependent_branch():
    """torch's own first line, the user's line, and what to do."""
    def forward(m, x):
        if x.sum() > 0:
            return x
        return -x

    with pytest.raises(UnsupportedOperatorError) as caught:
        capture(Function(forward), torch.randn(2, 3))
    assert "if x.sum() > 0:" in caught.value.where
    assert "data-dependent" in caught.value.why
    assert caught.value.remedy


def test_data_dependent_shape():
    with pytest.raises(UnsupportedOperatorError, match="index"):
        capture(Function(lambda m, x: x[x > 0]), torch.randn(2, 3))


def test_module_that_fails():
    """An ordinary mistake in the model is reported with its line."""
    with pytest.raises(UnsupportedOperatorError, match="cannot be traced"):
        capture(nn.Linear(4, 2), torch.randn(2, 3))


def test_no_tensor_returned():
    with pytest.raises(UnsupportedOperatorError, match="no tensor"):
        capture(Function(lambda m, x: 3), torch.randn(2, 3))


def test_everything_unsupported_is_listed_at_once():
    """Operators without a form stay, and validation names each with the user's line."""
    functions = [Function(lambda m, x, f=f: f(x)) for f in (torch.lgamma, torch.digamma, torch.erfinv)]
    graph = capture(nn.Sequential(*functions), torch.randn(2, 4))
    with pytest.raises(UnsupportedOperatorError) as caught:
        prepare(graph)
    for name in ("lgamma", "digamma", "erfinv"):
        assert name in str(caught.value)


def test_buffer_assigned_and_read():
    """A module whose result depends on its last call has no graph."""
    class Running(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("last", torch.zeros(4))

        def forward(self, x):
            y = x + self.last
            self.last = x.mean(0)
            return y

    with pytest.raises(UnsupportedOperatorError, match="'last'"):
        capture(Running(), torch.randn(2, 4))
