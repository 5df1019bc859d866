"""The documented requantization helpers. Oracle: the rounding rules in Python integers."""

from __future__ import annotations

from math import floor

import pytest
import torch

from mrt_torch.cvm import Interval
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import set_facts
from mrt_torch.quantization import (
    QuantizationContext,
    QuantizationSettings,
    Quantized,
    realize,
    requant,
    requant_operator,
    requant_parameter,
)

WEIGHT = torch.tensor([1.0, -0.5, 0.25])
VALUES = [-511, -300, -7, -6, -5, 0, 5, 6, 7, 300, 511]


@pytest.fixture
def context():
    """A float graph of one activation (threshold 4, 10 bits at scale 127.75) and one parameter."""
    editor = GraphEditor(empty_graph_module())
    activation, parameter = editor.input("data", (1, 1)), editor.constant("weight", WEIGHT)
    context = QuantizationContext(editor.module, {"data": 4.0}, QuantizationSettings())
    node = context.editor.input("data", (1, 1), torch.int32)
    set_facts(node, precision=10, value_range=Interval.symmetric(10))
    context.set_value(activation, Quantized(node, 511 / 4))
    context.activation, context.parameter_node, context.integer = activation, parameter, node
    return context


def run(context, node):
    context.editor.output([node])
    context.editor.module.recompile()
    return context.editor.module(torch.tensor(VALUES, dtype=torch.int32).reshape(-1, 1))[0].flatten().tolist()


@pytest.mark.parametrize("shift", [-3, 0, 1, 2, 5])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_realize(context, shift, bits):
    bound = 2 ** (bits - 1) - 1
    expected = [max(-bound, min(bound, floor(value / 2 ** shift + 0.5))) for value in VALUES]
    assert run(context, realize(context.integer, shift, bits, context=context)) == expected


def test_an_activation_fills_the_bits(context):
    node, precision, scale = requant_operator(context.activation, 8, context=context)
    assert precision == 8 and scale == pytest.approx(127 / 4, rel=2 ** -11)
    assert max(run(context, node)) == 127


def test_an_activation_that_fits_is_left_as_it_is(context):
    assert requant(context.activation, 12, context=context) == (context.integer, 10, 511 / 4)


def test_a_parameter_is_rounded_away_from_zero(context):
    node, precision, scale = requant_parameter(context.parameter_node, 3, context=context)
    assert (precision, scale) == (3, 3.0)
    assert context.editor.tensor_of(node).tolist() == [3, -2, 1]
    assert requant(context.parameter_node, 3, 3.0, context=context)[2] == 3.0


def test_each_takes_its_own_kind(context):
    with pytest.raises(InvalidArgumentError, match="takes an activation"):
        requant_operator(context.parameter_node, 8, context=context)
    with pytest.raises(InvalidArgumentError, match="takes a parameter"):
        requant_parameter(context.activation, 8, context=context)
