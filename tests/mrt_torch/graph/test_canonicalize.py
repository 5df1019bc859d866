"""The walk over an exported program. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torch.export import export

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.batch_axis import BatchAxis
from mrt_torch.graph.canonicalize import canonicalize
from mrt_torch.graph.capture import capture
from mrt_torch.graph.facts import facts_of
from tests.mrt_torch.graph.captured import (
    Function,
    assert_equal,
    check,
    inputs,
    operators,
)


def test_a_program_of_fixed_shape():
    """Without a symbol every size is a number."""
    module = Function(lambda m, x: x.reshape(x.shape[0], -1))
    program = export(module, (torch.zeros(2, 3, 4),))
    for assume_free, expected in ((False, [2, 12]), (True, [-1, 12])):
        graph = canonicalize(program, {}, BatchAxis(2, None, assume_free))
        reshape = next(node for node in graph.graph.nodes if node.op == "call_function")
        assert reshape.args[1] == expected


def test_regions_nest():
    """Bodies of gradient regions are part of the graph, in their place, writes included."""
    def forward(m, x):
        y = x * 2
        with torch.no_grad():
            y.add_(1)
            with torch.enable_grad():
                z = y.view(x.shape[0], -1)
                y.mul_(2)
        return z, y

    program = export(Function(forward), (torch.zeros(2, 3, 4),))
    graph = canonicalize(program, {}, BatchAxis(2, None))
    assert_equal(graph, Function(forward), inputs([(3, 4)], 2))


def test_autocast_is_told(caplog):
    def forward(m, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return m.layer(x)

    with caplog.at_level(logging.WARNING):
        graph = capture(Function(forward, layer=nn.Linear(3, 3)), torch.zeros(1, 3))
    assert "autocast" in caplog.text
    assert operators(graph) == ["linear.default"]


def test_conditions_are_refused():
    def forward(m, x):
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))

    with pytest.raises(UnsupportedOperatorError, match="cond"):
        capture(Function(forward), torch.zeros(2, 3))


def test_dropped_outputs_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        check(Function(lambda m, x: (x + 1, None, 3)), (4,))
    assert "output 1" in caplog.text and "output 2" in caplog.text


def test_unused_parameters_are_dropped():
    graph = check(Function(lambda m, x: x + m.a, a=torch.ones(3), b=torch.ones(3), c=nn.Linear(3, 3)), (3,))
    assert [name for name, _ in graph.named_buffers()] == ["a"]


def test_constants_of_the_code():
    """Tensors written in forward, and plain attributes, are buffers."""
    module = Function(lambda m, x: x * m.scale + torch.tensor([1.0, 2.0, 3.0]))
    module.scale = torch.rand(3)
    check(module, (3,), targets=["mul.Tensor", "add.Tensor"])


def test_parameters_stay_near_their_reader():
    """Placeholders come first; a constant stands before the first node that reads it."""
    graph = check(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)), (3,))
    kinds = [node.op for node in graph.graph.nodes]
    assert kinds == ["placeholder", "get_attr", "get_attr", "call_function", "call_function", "get_attr", "get_attr",
                     "call_function", "output"]


def test_steps_of_a_form_share_the_source():
    """Every node of a form that takes several tells the same source."""
    graph = check(nn.Sequential(nn.Hardswish()), (3,))
    facts = [facts_of(node) for node in graph.graph.nodes if node.op == "call_function"]
    assert {fact.source_name for fact in facts} == {"0"}
    assert {fact.source_operator for fact in facts} == {"aten.hardswish.default"}


def test_parametrized_weights():
    """Weight and spectral normalisation are computed from parameters only: prepare folds them."""
    normalise = nn.utils.parametrizations
    module = nn.Sequential(normalise.weight_norm(nn.Conv2d(3, 4, 3)), nn.Flatten(),
                           normalise.spectral_norm(nn.Linear(64, 4)))
    check(module, (3, 6, 6))


def test_recurrent_layer_keeps_its_operator():
    """It has no canonical form, and its initial state follows the batch."""
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.GRU(4, 5, batch_first=True)

        def forward(self, x):
            return self.layer(x)[0]

    assert "gru.input" in operators(check(Recurrent(), (3, 4)))


def test_random_operators_stay():
    """What draws random numbers is never evaluated to a constant."""
    graph = capture(Function(lambda m, x: x + torch.rand(3)), torch.zeros(1, 3))
    assert "rand.default" in operators(graph)
