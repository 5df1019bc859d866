"""Softmax under a mask against the exact function of the quantized scores."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import PrecisionError, UnsupportedOperatorError
from mrt_torch.graph.masking import MASKED_SOFTMAX
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare, quantize
from mrt_torch.quantization import QuantizationSettings
from tests.mrt_torch.ops.graphs import assert_within, aten, draw, graph, integer_model, operators, relative_error

CAUSAL = torch.ones(5, 5, dtype=torch.float64).tril()
SPARSE = torch.tensor([[1.0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]],
                      dtype=torch.float64)


def exact(x, mask, axis=-1):
    """The definition: exponentials of what is kept over their sum, 0 where nothing is."""
    weights = (x - x.amax(axis, keepdim=True)).exp() * (mask > 0)
    return weights / weights.sum(axis, keepdim=True).clamp(min=1e-300)


def masked(mask, shape=(2, 5, 5), axis=2):
    return graph(lambda editor, x: editor.call(MASKED_SOFTMAX, x, editor.constant("mask", mask), axis), shape)


@pytest.mark.parametrize("mask", [CAUSAL, SPARSE, torch.ones(5, 5, dtype=torch.float64), SPARSE[None, :, :1]],
                         ids=["causal", "sparse", "all", "rows"])
def test_the_float_operator(mask):
    """Oracle: the definition in float64."""
    x = draw(2, 5, 5, magnitude=8)
    assert_within(masked(mask)(x)[0], exact(x, mask), 1e-12)


@pytest.mark.parametrize("magnitude", [0.05, 1.6, 6.3, 15.9, 60.0])
@pytest.mark.parametrize("mask", [CAUSAL, SPARSE], ids=["causal", "sparse"])
@pytest.mark.parametrize("axis", [1, 2])
def test_against_the_exact_function(axis, mask, magnitude):
    """At most 0.5 % off the exact function of the quantized input, whatever its threshold."""
    x = draw(3, 5, 5, magnitude=magnitude)
    model = integer_model(masked(mask, axis=axis), x, input_precision=12)
    expected = exact(model.seen(x), mask, axis)
    assert relative_error(model(x), expected) < 0.005
    assert bool((model.integers(x)[0][:, mask == 0] == 0).all())


def test_what_is_excluded_has_no_influence():
    """The largest logits are excluded, which would leave nothing of the others. Oracle: the same without them."""
    x = draw(2, 5, 5, magnitude=0.5)
    loud = x.clone()
    loud[:, CAUSAL == 0] = 500.0
    model = integer_model(masked(CAUSAL), loud, input_precision=16, operator_precisions={"softmax": 16})
    assert relative_error(model(loud), exact(x, CAUSAL)) < 0.02


def test_a_computed_mask():
    """relu(y): what is above 0 is kept. Oracle: the definition."""
    def build(editor, x):
        scores, mask = (editor.call(aten.slice.Tensor, x, 1, begin, begin + 4, 1) for begin in (0, 4))
        return editor.call(MASKED_SOFTMAX, scores, editor.call(aten.relu.default, mask), 1)
    module, x = graph(build, (2, 8)), draw(2, 8)
    model = integer_model(module, x, input_precision=12)
    seen = model.seen(x)
    assert relative_error(model(x), exact(seen[:, :4], seen[:, 4:])) < 0.005
    assert "broadcast_greater" in operators(model.module)


def test_a_constant_mask_needs_no_comparison():
    assert "broadcast_greater" not in operators(integer_model(masked(CAUSAL), draw(2, 5, 5)).module)


def test_refusals():
    def over_the_batch(editor, x):
        return editor.call(MASKED_SOFTMAX, x, editor.constant("m", torch.ones(1, 3, dtype=torch.float64)), 0)
    with pytest.raises(UnsupportedOperatorError, match="batch axis"):
        prepare(graph(over_the_batch, (2, 3)))
    length = 2 ** 30 - 35  # a prime: no runs of it could be summed first
    narrow = graph(lambda editor, x: editor.call(MASKED_SOFTMAX, editor.call(aten.expand.default, x, [-1, length]),
                                                 editor.constant("m", torch.ones(1, dtype=torch.float64)), 1), (1, 1))
    prepared = prepare(narrow)
    thresholds = {node.name: 1.0 for node in prepared.graph.nodes}
    with pytest.raises(PrecisionError, match="too long"):
        quantize(prepared, thresholds, QuantizationSettings())


def test_operations():
    """out * (4 + 2 * length)."""
    node = next(n for n in masked(CAUSAL).graph.nodes if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == 2 * 5 * 5 * (4 + 2 * 5)
