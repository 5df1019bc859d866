"""Inputs: declared precision and scale."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops import apply_pass
from tests.mrt_torch.ops.graphs import aten, draw, integer_model, unary


@pytest.mark.parametrize("bits", [2, 8, 12, 31])
def test_the_threshold_is_the_top_of_the_range(bits):
    """mrt-core 5.1: scale = (2**(bits - 1) - 1) / threshold; the largest value becomes the largest integer."""
    x = draw(2, 3, magnitude=2.5)
    model = integer_model(unary(aten.relu.default, shape=(2, 3)), x, input_precision=bits)
    facts = facts_of(input_nodes(model.module.graph)[0])
    assert facts.precision == bits
    assert facts.scale == (2 ** (bits - 1) - 1) / model.thresholds["data"]
    assert int(model.input_integers(x).abs().max()) == 2 ** (bits - 1) - 1


def test_a_zero_input_has_scale_one():
    x = torch.zeros(2, 3, dtype=torch.float64)
    model = integer_model(unary(aten.relu.default, shape=(2, 3)), x)
    assert facts_of(input_nodes(model.module.graph)[0]).scale == 1.0
    assert torch.equal(model(x), x)


def test_inputs_cost_nothing():
    module = unary(aten.relu.default)
    assert apply_pass("calculate_ops", input_nodes(module.graph)[0]) == 0
