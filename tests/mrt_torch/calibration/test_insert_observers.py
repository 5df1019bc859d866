"""Oracle: the observed graph computes what the prepared graph computes, with a call behind every activation."""

from __future__ import annotations

import torch

from mrt_torch.calibration import AbsmaxObserver, insert_observers
from tests.mrt_torch.small_models import images, prepared


def test_every_activation_and_no_parameter_is_observed():
    module = prepared(heads=2).module
    observed, observers = insert_observers(module, AbsmaxObserver)
    assert list(observers) == [n.name for n in module.graph.nodes if n.op in ("placeholder", "call_function")]
    watched = [node for node in observed.graph.nodes if node.op == "call_module"]
    assert [node.args[0].name for node in watched] == list(observers)
    for node in watched:
        assert set(node.args[0].users) == {node}, "every reader, the output too, reads through the observer"


def test_values_are_unchanged_and_tensors_are_shared():
    module = prepared(heads=2).module
    observed, _ = insert_observers(module, AbsmaxObserver)
    for seen, expected in zip(observed(images()), module(images()), strict=True):
        assert torch.equal(seen, expected)
    shared = dict(observed.named_buffers())
    assert all(shared[name].data_ptr() == buffer.data_ptr() for name, buffer in module.named_buffers())


def test_observers_are_made_for_the_nodes_of_the_given_graph():
    module = prepared().module
    seen = []

    def make(node):
        seen.append(node)
        return AbsmaxObserver()

    _, observers = insert_observers(module, make)
    assert [node.name for node in seen] == list(observers)
    assert all(node.graph is module.graph for node in seen)
