"""Cuts of small networks. Oracle: every set of keys is tried, and judged by the rule as the docstring states it."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.graph.dataflow import OUTPUT, Dataflow, FlowNetwork


@st.composite
def flows(draw):
    """Networks of up to eight values; every one that nothing reads is a head."""
    count = draw(st.integers(2, 8))
    sources = draw(st.integers(1, 2))
    inputs = {value: [] if value < sources else
              draw(st.lists(st.integers(0, value - 1), min_size=1, max_size=3, unique=True)) for value in range(count)}
    read = {source for values in inputs.values() for source in values}
    some = st.sets(st.integers(0, count - 1), max_size=3)
    return Dataflow(inputs, {value: f"refused {value}" for value in draw(some) if value >= sources},
                    set(range(count)) - read | draw(some), anchored=draw(some), raised=draw(some),
                    sizes={value: draw(st.integers(1, 4)) for value in range(count)})


def top_of(flow, keys):
    """What is computed above ``keys``, walking down from the heads."""
    found, pending = set(), [head for head in flow.heads if head not in keys]
    while pending:
        value = pending.pop()
        if value not in found:
            found.add(value)
            pending += [source for source in flow.inputs[value] if source not in keys]
    return found


def tried(flow):
    """The best keys: all are tried. Of what no head depends on, nothing is asked."""
    above = set(flow.causes) | {value for value in flow.raised if value not in flow.kept}
    best = None
    for count in range(len(flow.inputs) + 1):
        for keys in combinations(flow.inputs, count):
            top, base = top_of(flow, keys), flow.base(keys)
            needed = top_of(flow, ())
            legal = not set(keys) & above and not top & flow.kept and not base & above and set(keys) <= needed
            if legal:
                rank = count, sum(flow.sizes[key] for key in keys), -len(base)
                best = min(best or (rank, keys), (rank, keys), key=lambda found: found[0])
        if best:
            return best
    return None


@settings(max_examples=100, deadline=None)
@given(flows())
def test_the_narrowest_cut_is_the_best_of_all(flow):
    found = flow.narrowest_cut()
    rank, _ = tried(flow)
    assert found == sorted(found)
    assert (len(found), sum(flow.sizes[key] for key in found), -len(flow.base(found))) == rank
    assert not top_of(flow, found) & flow.kept and not flow.base(found) & set(flow.causes)


def test_five_reshapes_of_one_tensor_are_one_key():
    """Oracle: the rule. 0 is the input, 1 a convolution, 2 to 6 read it and feed what is refused."""
    flow = Dataflow({0: [], 1: [0], **{value: [1] for value in range(2, 7)}, 7: range(2, 7)}, {7: "sort"}, {7},
                    anchored={1})
    assert flow.narrowest_cut() == [1] and flow.because(1, [1]) == ["sort"]


def test_what_follows_a_raised_value_is_above_too():
    """Oracle: ``tried``. 6 reads the raised 5, so it is no key, though it would leave more in the base."""
    flow = Dataflow({0: [], 1: [], **{value: [0] for value in range(2, 6)}, 6: [0, 5, 1]}, {}, {2, 3, 4, 6},
                    raised={5}, sizes=dict.fromkeys(range(7), 1))
    assert flow.narrowest_cut() == [0, 1] == list(tried(flow)[1])


def test_a_convolution_stays_below():
    """Oracle: the rule: two keys behind two convolutions, though one before both would do."""
    inputs = {0: [], 1: [0], 2: [1], 3: [1], 4: [2, 3]}
    assert Dataflow(inputs, {4: "sort"}, {4}, anchored={2, 3}).narrowest_cut() == [2, 3]
    assert Dataflow(inputs, {4: "sort"}, {4}, anchored={1}).narrowest_cut() == [1]


def test_the_smaller_of_two_keys_and_then_the_higher():
    """Oracle: the rule, on a chain 0 -> 1 -> 2 -> 3 -> 4 of which 4 is refused."""
    inputs = {0: [], 1: [0], 2: [1], 3: [2], 4: [3]}
    assert Dataflow(inputs, {4: "sort"}, {4}, sizes={0: 5, 1: 2, 2: 9, 3: 9, 4: 1}).narrowest_cut() == [1]
    assert Dataflow(inputs, {4: "sort"}, {4}).narrowest_cut() == [3]
    assert Dataflow(inputs, {4: "sort"}, {4}, nameable={0, 1, 2}).narrowest_cut() == [2]


def test_heads_below_are_keys_with_a_reason_of_their_own():
    """Oracle: written by hand."""
    flow = Dataflow({0: [], 1: [0], 2: [1], 3: [1], 4: [3]}, {4: "sort"}, {2, 4}, anchored={2, 3})
    keys = flow.narrowest_cut()
    assert {key: flow.because(key, keys) for key in keys} == {2: [OUTPUT], 3: ["sort"]}


def test_causes_reach_through_what_follows():
    """A key that an addition reads, behind something refused. Oracle: written by hand."""
    flow = Dataflow({0: [], 1: [0], 2: [0], 3: [1], 4: [3, 2]}, {3: "sort"}, {4}, anchored={1, 2})
    assert flow.narrowest_cut() == [1, 2]
    assert flow.because(2, [1, 2]) == ["sort"]


def test_what_is_read_outside():
    """Oracle: written by hand."""
    flow = Dataflow({0: [], 1: [0], 2: [1]}, {}, read_above={2: ("RNN",)}, anchored={1})
    assert flow.narrowest_cut() == [2] and flow.because(2, [2]) == ["RNN"]


@pytest.mark.parametrize("length", [1, 3000])
def test_long_chains(length):
    """No recursion. Oracle: the only limited edge."""
    network = FlowNetwork()
    for vertex in range(length):
        network.connect(vertex, vertex + 1, 5 if vertex == length // 2 else None)
    assert network.minimum_cut([0], length) == set(range(length // 2 + 1, length + 1))
