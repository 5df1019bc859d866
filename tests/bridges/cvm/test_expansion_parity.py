"""Graphs that prepare_for_compile expands, on the real CVM runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.cvm.heads import flatten_heads
from mrt_torch.cvm import gas
from mrt_torch.graph.editor import input_nodes, shape_of
from mrt_torch.passes import prepare_for_compile
from tests.bridges.cvm.graphs import cvm, deployed_bytes, integer_graph, integers
from tests.mrt_torch.cvm.detection_graphs import detection_graph
from tests.mrt_torch.cvm.test_composite import attention

pytestmark = pytest.mark.cvm_runtime
both_devices = pytest.mark.parametrize("device", ["cpu", "formal"])


@both_devices
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("graph", [attention(), detection_graph(batch=2)], ids=["batch_dot", "detections"])
def test_expanded_operators(runtime, graph, batch, device):
    """Oracle: the graph whose batch is free. Products of activations take a computed weight."""
    shape = (batch, *shape_of(input_nodes(graph.graph)[0])[1:])
    fixed = flatten_heads(prepare_for_compile(graph, {"data": shape}))
    symbol, params = deployed_bytes(fixed)
    with runtime.load(symbol, params, device) as model:
        for seed in range(3):
            values = integers(shape, seed=seed)
            for ours, theirs in zip(graph(values), model.run(values.numpy()), strict=True):
                np.testing.assert_array_equal(theirs.reshape(ours.shape), ours.numpy())
        assert model.gas == gas(fixed) == runtime.gas_of_graph(symbol)


@both_devices
@pytest.mark.parametrize(("width", "shift", "precision"), [
    (8, 4, 16), (31, 1, 32), (30, 2, 32), (28, 4, 30), (1, 31, 32), (16, 16, 8), (20, 9, 1), (24, 8, 31)])
def test_left_shifts_as_products(runtime, width, shift, precision, device):
    """Oracle: ``clamp(x * 2**shift)`` in Python integers; CPU runs what it cannot run as a left shift."""
    def build(editor, data):
        return [editor.call(cvm.cvm_left_shift.default, data, precision=precision, shift_bit=shift)]
    fixed = prepare_for_compile(integer_graph(build, (40,), width), {})
    symbol, params = deployed_bytes(fixed)
    bound, largest = 2 ** (precision - 1) - 1, 2 ** (width - 1) - 1
    values = integers((40,), -largest, largest)
    values[:4] = torch.tensor([largest, -largest, min(bound >> shift, largest), min((bound >> shift) + 1, largest)])
    with runtime.load(symbol, params, device) as model:
        assert model.run(values.numpy())[0].tolist() == [
            max(min(value * 2 ** shift, bound), -bound) for value in values.tolist()]
