"""Sums of more terms than 32 bits hold, against Python integers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm.interval import Interval, precision_range
from mrt_torch.errors import PrecisionError
from mrt_torch.graph.facts import facts_of, set_facts
from mrt_torch.graph.runner import finish
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.long_sum import divisors, long_sum
from mrt_torch.quantization import QuantizationSettings
from mrt_torch.quantization.context import QuantizationContext
from tests.mrt_torch.ops.graphs import CheckedRun, assert_deployable, graph, operators


def summed(shape, axis, bits, limit=31):
    """An integer graph of one input of ``bits`` bits and its sum over an axis; and the shift."""
    context = QuantizationContext(graph(lambda e, x: x, (2,)), {}, QuantizationSettings())
    node = context.editor.input("data", shape, torch.int32)
    set_facts(node, precision=bits, value_range=Interval.symmetric(bits))
    total, shift = long_sum(context, node, axis, limit)
    assert facts_of(total).precision <= 32 and facts_of(total).value_range.precision <= limit + 1
    context.editor.output([total])
    finish(context.editor.module, Stage.INTEGER)
    return context.editor.module, shift


@settings(deadline=None, max_examples=40)
@given(length=st.integers(1, 3000), bits=st.integers(2, 30), seed=st.integers(0, 99), extreme=st.booleans())
def test_error_bound(length, bits, seed, extreme):
    """Oracle: Python integers. Bound: half a unit for each partial sum, n1 of them; exact where nothing is shifted."""
    module, shift = summed((2, length), 1, bits)
    top = precision_range(bits)
    x = torch.full((2, length), top, dtype=torch.int32) if extreme else torch.randint(
        -top, top + 1, (2, length), generator=torch.Generator().manual_seed(seed), dtype=torch.int32)
    found = CheckedRun(module).run(x)[0]
    partial = length // next((module_extent(module, length)), 1)
    for row, value in zip(x.tolist(), found[:, 0].tolist(), strict=True):
        # Rounding a partial sum up may leave its bits by one, which are clamped then.
        assert abs(value * 2 ** shift - sum(row)) <= (partial * (2 ** shift + 1) if shift else 0)


def module_extent(module, length):
    """How many terms a partial sum has."""
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target._opname == "reshape" and len(node.kwargs["shape"]) == 3:
            yield node.kwargs["shape"][2]
    yield 1


@pytest.mark.parametrize("shape, axis", [((2, 4096), 1), ((2, 4096, 3), 1), ((2, 3, 4096), 2), ((1, 1024, 2, 3), 1),
                                         ((2, 2, 3, 2, 2, 4096), 5), ((2, 1, 1009), 2)])
def test_shapes(shape, axis):
    """Kept axes stay where they are; six axes leave no room for a cut. Oracle: torch in float64, half a unit a term."""
    module, shift = summed(shape, axis, 24)
    assert_deployable(module)
    x = torch.randint(-2 ** 22, 2 ** 22, shape, generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    found, expected = module(x)[0].double() * 2.0 ** shift, x.double().sum(axis, keepdim=True)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= shape[axis] * 2.0 ** (shift - 1)


def test_runs_are_summed_before_they_are_rounded():
    """4096 terms of 24 bits: 64 runs of 64, rounded by 7 bits; their error is a 64th of that of single terms."""
    module, shift = summed((1, 4096), 1, 24)
    assert shift == 7 and operators(module) == ["reshape", "sum", "cvm_right_shift", "sum"]
    assert operators(summed((1, 64), 1, 24)[0]) == ["sum"]


def test_a_sum_too_long_is_refused():
    with pytest.raises(PrecisionError, match="a sum cannot fit 32 bits"):
        summed((1, 2 ** 30 - 35), 1, 3)


@settings(deadline=None, max_examples=50)
@given(number=st.integers(1, 10 ** 5))
def test_divisors(number):
    """Oracle: the definition."""
    found = divisors(number)
    assert found == sorted(set(found)) and found[0] == 1 and found[-1] == number
    assert all(number % d == 0 for d in found)
    assert math.prod(found) ** 2 == number ** len(found)
