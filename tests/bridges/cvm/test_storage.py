"""Storage plans on random graphs. Oracle: the graph executed on numbers with and without shared memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.cvm.storage import StoredTensor, check_storage, plan_storage, storage_bytes


@st.composite
def random_graphs(draw):
    """Tensors in order of execution and heads: variables anywhere, repeated inputs, dead operators."""
    tensors = [StoredTensor(draw(st.integers(1, 4)), variable=True)]
    for index in range(1, draw(st.integers(2, 14))):
        if draw(st.integers(0, 4)) == 0:
            tensors.append(StoredTensor(draw(st.integers(1, 4)), variable=True))
            continue
        inputs = tuple(draw(st.lists(st.integers(0, index - 1), min_size=1, max_size=3)))
        in_place = draw(st.booleans())
        elements = tensors[inputs[0]].elements if in_place else draw(st.integers(1, 4))
        tensors.append(StoredTensor(elements, inputs, in_place=in_place))
    heads = draw(st.lists(st.integers(0, len(tensors) - 1), min_size=1, max_size=3))
    return tensors, heads


def execute(tensors, ids, heads, runs=2):
    """Head values of each run with tensor i in cell ids[i]; an operator gives a hash of what it reads."""
    memory = {ids[i]: ("variable", i) for i, tensor in enumerate(tensors) if tensor.variable}
    results = []
    for _ in range(runs):
        for index, tensor in enumerate(tensors):
            if not tensor.variable:
                memory[ids[index]] = (index, *(hash(memory[ids[read]]) for read in tensor.inputs))
        results.append([memory[ids[head]] for head in heads])
    return results


@settings(deadline=None, max_examples=100)
@given(random_graphs())
def test_plans_are_safe(graph):
    tensors, heads = graph
    ids = plan_storage(tensors, heads)
    assert check_storage(tensors, heads, ids) == []
    assert execute(tensors, ids, heads) == execute(tensors, range(len(tensors)), heads)
    variables = [ids[i] for i, tensor in enumerate(tensors) if tensor.variable]
    assert all(ids.count(storage) == 1 for storage in variables)
    for index, tensor in enumerate(tensors):
        assert tensor.in_place or all(ids[read] != ids[index] for read in tensor.inputs)
    assert storage_bytes(tensors, ids) <= storage_bytes(tensors, range(len(tensors)))
    assert plan_storage(tensors, heads) == ids


@settings(deadline=None, max_examples=100)
@given(random_graphs(), st.data())
def test_checker_accepts_exactly_what_executes_right(graph, data):
    """Random ids, mostly wrong ones: the checker passes none that gives wrong heads."""
    tensors, heads = graph
    ids = data.draw(st.lists(st.integers(0, len(tensors)), min_size=len(tensors), max_size=len(tensors)))
    if check_storage(tensors, heads, ids) == []:
        assert execute(tensors, ids, heads) == execute(tensors, range(len(tensors)), heads)


def chain(length, in_place):
    operators = [StoredTensor(8, (i,), in_place=in_place) for i in range(length)]
    return [StoredTensor(8, variable=True), *operators]


def test_chain_needs_two_storages_and_in_place_one():
    """Counted by hand: the input is never written over."""
    assert plan_storage(chain(5, in_place=False), [5]) == [2, 0, 1, 0, 1, 0]
    assert plan_storage(chain(5, in_place=True), [5]) == [1, 0, 0, 0, 0, 0]
    assert storage_bytes(chain(5, in_place=True), [1, 0, 0, 0, 0, 0]) == 64


def test_best_fit_takes_the_smallest_free_storage_that_is_large_enough():
    tensors = [StoredTensor(1, variable=True), StoredTensor(9, (0,)), StoredTensor(4, (0,)),
               StoredTensor(6, (0,)), StoredTensor(1, (1, 2, 3)), StoredTensor(5, (4,))]
    assert plan_storage(tensors, [5])[5] == 2  # of the free sizes 9, 4 and 6


def test_largest_free_storage_grows_when_none_is_large_enough():
    tensors = [StoredTensor(1, variable=True), StoredTensor(2, (0,)), StoredTensor(3, (0,)),
               StoredTensor(1, (1, 2)), StoredTensor(7, (3,))]
    ids = plan_storage(tensors, [4])
    assert ids[4] == ids[2]


@pytest.mark.parametrize(("ids", "reason"), [
    ([0, 1, 0, 2], "first run: 3 reads 0, but storage 0 holds 2"),
    ([0, 1, 1, 2], "2 writes over its input 1 and may not"),
    ([0, -1, 1, 2], "negative storage id"),
    ([0, 1, 2], "3 storage ids for 4 tensors"),
    ([0, 1, 2, 1], "first run: head 1 was overwritten by 3"),
])
def test_checker_names_the_problem(ids, reason):
    tensors = [StoredTensor(1, variable=True), StoredTensor(1, (0,)), StoredTensor(1, (1,)),
               StoredTensor(1, (0, 2))]
    assert any(reason in problem for problem in check_storage(tensors, [1, 3], ids))


def test_checker_finds_variables_on_one_storage():
    tensors = [StoredTensor(1, variable=True), StoredTensor(1, variable=True), StoredTensor(1, (0, 1))]
    assert any("share" in problem for problem in check_storage(tensors, [2], [0, 0, 1]))
