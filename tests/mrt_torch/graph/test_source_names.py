"""Names and source lines. Oracle: the literal texts of this file."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from mrt_torch.graph.capture import capture
from mrt_torch.graph.source_names import operator_name, user_frames

OURS = '  File "/home/someone/model.py", line 3, in forward\n    return self.fc(x)\n'
TORCHS = (f'  File "{os.path.dirname(torch.__file__)}/nn/modules/linear.py", line 1, in forward\n'
          "    return F.linear(x)\n")


@pytest.mark.parametrize("trace, expected", [
    (OURS, OURS), (OURS + TORCHS, OURS), (TORCHS + OURS + TORCHS + TORCHS, TORCHS + OURS), (TORCHS, TORCHS),
    ("", ""), ("no frames", "no frames")])
def test_user_frames(trace, expected):
    """Cut after the last line outside torch; unchanged when there is none."""
    assert user_frames(trace) == expected


@pytest.mark.parametrize("target, expected", [
    (torch.ops.aten.relu_.default, "relu"), (torch.ops.aten._softmax.default, "softmax"),
    (torch.ops.aten.add.Tensor, "add"), (len, "len")])
def test_operator_name(target, expected):
    assert operator_name(target) == expected


class Inner(nn.Module):
    def forward(self, x):
        return (x + 1).relu()


def test_names_of_layers_and_functions():
    """A layer by its path, a function by its module's path and its own name, each once."""
    module = nn.Sequential(nn.Linear(3, 3), Inner(), nn.Sequential(nn.PReLU()), Inner())
    graph = capture(module, torch.zeros(1, 3))
    names = [node.name for node in graph.graph.nodes if node.op == "call_function"]
    assert [name for name in names if name.startswith("n_")] == [
        "n_0", "n_1_add", "n_1_relu", "n_2_0", "n_3_add", "n_3_relu"]
