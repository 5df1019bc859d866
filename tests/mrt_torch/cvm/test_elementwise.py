"""Element-wise operators against one line of Python integers each."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import OPERATORS, Call, Interval
from mrt_torch.errors import InvalidArgumentError
from tests.mrt_torch.cvm.calls import assert_range_holds, call_on, integers, limits, operand, run, tensor

LARGEST = 2 ** 31 - 1


def truncated(a, b):
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


UNARY = {"relu": lambda a: max(a, 0), "abs": abs, "negative": lambda a: -a,
         "cvm_precision": lambda a: max(abs(a).bit_length(), 1)}
BINARY = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": truncated,
          "max": max, "greater": lambda a, b: int(a > b)}
# Largest operand that keeps the result in 32 bits, for the operators whose rule adds bits.
BOUNDS = {"add": 2 ** 30 - 1, "sub": 2 ** 30 - 1, "mul": 2 ** 15 - 1}


@pytest.mark.parametrize("name", UNARY)
@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-LARGEST, LARGEST), min_size=1, max_size=20))
def test_unary_is_the_definition(name, values):
    values += [0, 1, -1, LARGEST, -LARGEST, 127, 128, -128]
    assert run(name, tensor(values)).tolist() == [UNARY[name](v) for v in values]
    assert_range_holds(name, tensor(values), tight=True)


@pytest.mark.parametrize("name", UNARY)
def test_unary_range_is_exact_on_every_small_interval(name):
    """Oracle: enumeration of all intervals of -9..9."""
    for low, high in itertools.combinations_with_replacement(range(-9, 10), 2):
        assert_range_holds(name, torch.arange(low, high + 1, dtype=torch.int32), tight=True)


@pytest.mark.parametrize("name", BINARY)
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_broadcast_is_the_definition(name, data):
    """Oracle: numpy's broadcasting of object arrays of Python integers."""
    bound = BOUNDS.get(name, LARGEST)
    values = st.integers(-bound, bound) | st.integers(-3, 3)
    left, right = data.draw(st.sampled_from([
        ((2, 3), (2, 3)), ((2, 1), (1, 3)), ((1,), (2, 3)), ((2, 3), (3,)), ((2, 1, 2), (3, 1)),
        ((1, 1), (1,))]))
    a, b = (tensor([data.draw(values) for _ in range(math.prod(shape))]).view(shape)
            for shape in (left, right))
    wide = torch.broadcast_shapes(left, right)
    pairs = zip(a.expand(wide).reshape(-1).tolist(), b.expand(wide).reshape(-1).tolist())
    result = run(f"broadcast_{name}", a, b)
    assert tuple(result.shape) == tuple(wide)
    assert result.reshape(-1).tolist() == [BINARY[name](x, y) for x, y in pairs]
    if name != "greater":  # one bit of lhs cannot hold a 1: see the limit
        assert_range_holds(f"broadcast_{name}", a, b)


@pytest.mark.parametrize("name", BINARY)
def test_binary_range_is_exact_on_every_pair_of_small_intervals(name):
    """Oracle: enumeration of all pairs of intervals of -4..4."""
    row = OPERATORS[f"broadcast_{name}"]
    intervals = list(itertools.combinations_with_replacement(range(-4, 5), 2))
    shape = torch.empty(1, device="meta")
    for (a, b), (c, d) in itertools.product(intervals, intervals):
        results = [BINARY[name](x, y) for x in range(a, b + 1) for y in range(c, d + 1)]
        operands = tuple(operand(shape, 4, value_range=Interval(*bounds)) for bounds in ((a, b), (c, d)))
        assert row.value_range(Call(operands, {}, (1,))) == Interval(min(results), max(results))


@pytest.mark.parametrize(("name", "operator"), [("elemwise_add", "add"), ("elemwise_sub", "sub")])
def test_elemwise_is_the_definition(name, operator):
    a, b = integers((3, 4), -2 ** 30 + 1, 2 ** 30 - 1), integers((3, 4), -2 ** 30 + 1, 2 ** 30 - 1, seed=1)
    expected = [BINARY[operator](x, y) for x, y in zip(a.reshape(-1).tolist(), b.reshape(-1).tolist())]
    assert run(name, a, b).reshape(-1).tolist() == expected
    assert_range_holds(name, a, b)


@pytest.mark.parametrize(("name", "bits"), [
    ("elemwise_add", 10), ("elemwise_sub", 10), ("broadcast_add", 10), ("broadcast_sub", 10),
    ("broadcast_mul", 14), ("broadcast_max", 9), ("broadcast_div", 5), ("broadcast_greater", 5)])
def test_precision_of_5_and_9_bits(name, bits):
    """cvm-format 3.3: plus = max + 1, mul = sum, maxin = max, same = that of lhs."""
    zeros = torch.zeros(2, dtype=torch.int32)
    assert OPERATORS[name].precision(call_on(name, zeros, zeros, precisions=[5, 9])) == bits


def test_precision_of_one_operand():
    zeros = torch.zeros(2, dtype=torch.int32)
    for name in UNARY:
        bits = OPERATORS[name].precision(call_on(name, zeros, precisions=[11]))
        assert bits == (6 if name == "cvm_precision" else 11)


def test_shapes_the_runtime_refuses():
    with pytest.raises(InvalidArgumentError, match="differ"):
        OPERATORS["elemwise_add"].output_shape([(2, 3), (1, 3)], {})
    with pytest.raises(InvalidArgumentError, match="broadcast"):
        OPERATORS["broadcast_add"].output_shape([(2, 3), (2,)], {})


def test_comparison_needs_two_bits():
    """The runtime gives the result 0/1 the precision of lhs; an lhs of one bit is always 0."""
    zero, negative, positive = tensor([0]), tensor([-1]), tensor([1])
    assert "needs 2 bits" in limits("broadcast_greater", zero, negative)
    assert not limits("broadcast_greater", zero, positive)
    assert not limits("broadcast_greater", positive, negative)
