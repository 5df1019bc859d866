"""take, cvm_lut and where against indices in plain Python."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import OPERATORS, Call, Interval
from mrt_torch.errors import InvalidArgumentError
from tests.mrt_torch.cvm.calls import assert_range_holds, call_on, integers, limits, operand, run, tensor

shapes = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)


def clamped(index, length):
    return min(max(index, 0), length - 1)


@settings(deadline=None, max_examples=40)
@given(shapes, shapes, st.integers(0, 99), st.data())
def test_take(shape, index_shape, seed, data):
    x, indices = integers(shape, seed=seed), integers(index_shape, -3, 6, seed)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    result, real = run("take", x, indices, axis=axis), axis % len(shape)
    assert tuple(result.shape) == shape[:real] + index_shape + shape[real + 1:]
    for index in itertools.product(*map(range, result.shape)):
        chosen = indices[index[real:real + len(index_shape)]].item()
        source = (*index[:real], clamped(chosen, shape[real]), *index[real + len(index_shape):])
        assert result[index] == x[source]
    assert_range_holds("take", x, indices, constants=(0,), axis=axis)


@settings(deadline=None, max_examples=40)
@given(shapes, shapes, st.integers(0, 99))
def test_take_without_axis_and_lut_read_in_row_major_order(shape, index_shape, seed):
    table, indices = integers(shape, seed=seed), integers(index_shape, -40, 40, seed)
    flat = table.reshape(-1).tolist()
    expected = [flat[clamped(i, len(flat))] for i in indices.reshape(-1).tolist()]
    for result in (run("take", table, indices, axis=None), run("cvm_lut", indices, table)):
        assert tuple(result.shape) == index_shape and result.reshape(-1).tolist() == expected
    assert_range_holds("cvm_lut", indices, table, constants=(1,))


def test_indices_at_the_ends_of_int32_are_clamped():
    table, indices = tensor([5, 6, 7]), tensor([-2 ** 31 + 1, 2 ** 31 - 1])
    assert run("cvm_lut", indices, table).tolist() == [5, 7]
    assert run("take", table, indices, axis=0).tolist() == [5, 7]


def test_lut_range_is_that_of_the_reachable_entries():
    """Oracle: enumeration of all index intervals against a table of ten entries."""
    table = integers((10,), seed=3)
    row = OPERATORS["cvm_lut"]
    for low, high in itertools.combinations_with_replacement(range(-3, 13), 2):
        reached = [table[clamped(i, 10)].item() for i in range(low, high + 1)]
        call = Call((operand(torch.empty(1, device="meta"), 8, value_range=Interval(low, high)),
                     operand(table, constant=True)), {}, (1,))
        assert row.value_range(call) == Interval(min(reached), max(reached))


def test_precision_of_lookups():
    index, table = tensor([1, 2]), tensor([3, 4, 5])
    assert OPERATORS["cvm_lut"].precision(call_on("cvm_lut", index, table, precisions=[3, 12])) == 12
    assert OPERATORS["take"].precision(call_on("take", table, index, precisions=[12, 3], axis=0)) == 12


def test_attributes():
    call = call_on("cvm_lut", tensor([[1, 2]]), integers((3, 4)))
    assert OPERATORS["cvm_lut"].write_attributes(call) == {"in_dim": "12"}
    take = OPERATORS["take"]
    assert take.read_attributes({}) == take.read_attributes({"axis": "None"}) == {"axis": None}
    call = call_on("take", tensor([1, 2]), tensor([0]), axis=None)
    assert take.write_attributes(call) == {"axis": "None"}


def test_take_refuses_an_axis_out_of_range():
    with pytest.raises(InvalidArgumentError):
        OPERATORS["take"].output_shape([(2, 3), (1,)], {"axis": 2})


@settings(deadline=None, max_examples=20)
@given(shapes, st.integers(0, 99))
def test_where(shape, seed):
    condition, x, y = integers(shape, -1, 1, seed), integers(shape, seed=seed), integers(shape, seed=seed + 1)
    expected = [a if c != 0 else b
                for c, a, b in zip(*(t.reshape(-1).tolist() for t in (condition, x, y)))]
    assert run("where", condition, x, y).reshape(-1).tolist() == expected


def test_where_limits():
    """cvm-format 6: no 1-D condition, and no condition narrower than the values."""
    condition, x, y = integers((2, 3), 0, 1), tensor([[100, 2, 3]] * 2), tensor([[-5, 2, 3]] * 2)
    assert not limits("where", condition, x, y, precisions=[8, 20, 7])  # values count, not what is declared
    assert "infers the condition's 2 bits for values of 8 bits" in limits("where", condition, x, y,
                                                                         precisions=[2, 8, 7])
    assert "uninitialised" in limits("where", condition[:, 0], x, y, precisions=[8, 8, 7])
    assert torch.equal(run("where", condition[:, 0], x, y), torch.where(condition[:, :1] != 0, x, y))
    line = integers((3,))
    assert not limits("where", line, line, line, precisions=[8, 8, 8])


@pytest.mark.parametrize("given_shapes", [
    [(2, 3), (2, 3), (2, 1)], [(2, 1), (2, 3), (2, 3)], [(3,), (2, 3), (2, 3)]])
def test_where_shapes_the_runtime_refuses(given_shapes):
    with pytest.raises(InvalidArgumentError):
        OPERATORS["where"].output_shape(given_shapes, {})
