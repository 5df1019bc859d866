"""Sum, mean and max against torch on the quantized input, which they reduce exactly."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import PrecisionError, UnsupportedOperatorError
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare, quantize
from mrt_torch.quantization import QuantizationSettings
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_untouched,
    assert_within,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    relative_error,
    rewritten,
    transposed,
    unary,
)

TARGETS = {"sum": aten.sum.dim_IntList, "mean": aten.mean.dim, "max": aten.amax.default}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("shape, axes", [
    ((2, 3, 4, 5), [2, 3]), ((2, 3, 4, 5), [1]), ((2, 3, 4, 5), [-1]), ((2, 3, 4, 5), [1, 3]),
    # Kept axes of extent 1 right of a larger one: the runtime's CPU back end mixes them up (cvm-format 3.4).
    ((2, 3, 4, 1), [2]), ((2, 3, 1), [1]), ((1, 3, 4, 1), [2]), ((2, 3, 1, 4), [3]), ((2, 3, 1, 4), [1]),
    ((1, 1, 4, 1), [2]), ((2, 1, 1, 5), [3]), ((2, 3, 1, 1), [2, 3]), ((1, 3, 1, 1), [1]), ((2, 1, 3, 1, 2), [2]),
    ((2, 1, 6), [1]), ((2, 6), [1])])
def test_reductions_are_exact(name, shape, axes, keepdim):
    """Oracle: torch on the quantized input. The terms have 8 bits already, so nothing is rounded but a mean's
    division of floats. MRT defect 5: mean works in a full flow."""
    module, x = unary(TARGETS[name], axes, keepdim, shape=shape), draw(*shape)
    assert_untouched(module, x)
    model = integer_model(module, x)
    assert torch.allclose(model(x), TARGETS[name](model.seen(x), axes, keepdim), rtol=1e-12, atol=1e-15)
    other = draw(3 - shape[0], *shape[1:], seed=5)  # batch 1 for 2 and 2 for 1
    assert torch.allclose(model(other), TARGETS[name](model.seen(other), axes, keepdim), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["sum", "mean"])
def test_wide_terms_are_rounded_to_16_bits(name):
    """Bound: half a unit of 16 bits for each term, and 2**-8 of a unit for the bits kept before the product."""
    x = draw(2, 3, 7, 7)
    model = integer_model(unary(TARGETS[name], [2, 3], True, shape=x.shape), x, input_precision=24)
    expected = TARGETS[name](x, [2, 3], True)
    assert_within(model(x), expected, 0.51 / 32767 * (49 if name == "sum" else 1))


def test_negative_maxima():
    """cvm-format 3.4 (a): the runtime's max over all axes starts from 0; ours names its axes."""
    x = -draw(2, 3, 4).abs() - 0.1
    model = integer_model(unary(TARGETS["max"], [1, 2], False, shape=x.shape), x)
    assert torch.equal(model(x), model.seen(x).amax((1, 2)))
    assert model.node("max").kwargs["axis"] == [1, 2]


@pytest.mark.parametrize("length, bits", [(2 ** 14, 16), (2 ** 18, 12), (2 ** 20, 10)])
def test_a_longer_sum_has_narrower_terms(length, bits):
    """Terms of 31 - bit_length(n) bits, 16 at most, so that the sum has 31. Bound: half a unit of that for a term."""
    x = draw(1, length)
    model = integer_model(unary(TARGETS["sum"], [1], False, shape=x.shape), x, input_precision=20)
    assert model.node("sum").args[0].meta["mrt"].precision == bits
    assert_within(model(x), x.sum(1), 0.51 / (2 ** (bits - 1) - 1) * length)


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize("bits", [2, 4, 12])
def test_the_precision_of_terms_is_a_setting(name, bits):
    """Bound: half a unit of that precision for each term, and 2**-8 of a unit for the bits kept before the product."""
    x = draw(2, 3, 4)
    model = integer_model(unary(TARGETS[name], [1], False, shape=x.shape), x, input_precision=16,
                          operator_precisions={name: bits})
    assert model.node("sum").args[0].meta["mrt"].precision == bits
    expected = TARGETS[name](x, [1], False)
    assert_within(model(x), expected, 0.51 / (2 ** (bits - 1) - 1) * (3 if name == "sum" else 1))


@pytest.mark.parametrize("name", ["sum", "mean"])
def test_a_sum_too_long_is_refused(name):
    """MRT defect 10: 2**23 terms leave 7 bits for each."""
    prepared = prepare(unary(TARGETS[name], [1], False, shape=(1, 2 ** 23)))
    thresholds = {node.name: 1.0 for node in prepared.graph.nodes}
    with pytest.raises(PrecisionError, match="a sum cannot fit 32 bits"):
        quantize(prepared, thresholds, QuantizationSettings())


def test_an_extreme_sum_above_2_to_the_24_is_exact():
    """MRT defect 7. Oracle: Python integers."""
    x = torch.ones(1, 2 ** 14 - 1, dtype=torch.float64)
    x[0, 0] = 6 / 32767
    model = integer_model(unary(TARGETS["sum"], [1], False, shape=x.shape), x, input_precision=16)
    assert model.integers(x)[0].item() == (2 ** 14 - 2) * 32767 + 6


@pytest.mark.parametrize("name", TARGETS)
def test_zeros(name):
    x = torch.zeros(2, 3, 4, dtype=torch.float64)
    assert not integer_model(unary(TARGETS[name], [1], True, shape=x.shape), x)(x).any()


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("axes", [[0], [0, 1], [], [-3]])
def test_reducing_the_batch_is_refused(name, axes):
    with pytest.raises(UnsupportedOperatorError, match="it reduces the batch axis"):
        prepare(unary(TARGETS[name], axes, True, shape=(2, 3, 4)))


@pytest.mark.parametrize("name", TARGETS)
def test_operations(name):
    """MRT defect 12: one for each input element; the original had the ratio inverted."""
    module = unary(TARGETS[name], [2, 3], False)
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == 2 * 3 * 4 * 5


def test_mean_feeds_a_product():
    """The scale of a mean is that of its sum times the count. Bound: as test_linear, plus the mean in 8 bits."""
    weight = draw(2, 3, seed=1)

    def build(e, x):
        pooled = e.call(aten.mean.dim, x, [2, 3], False)
        return e.call(aten.linear.default, pooled, e.constant("w", weight))

    x = draw(4, 3, 5, 5) + 0.5
    model = integer_model(graph(build, x.shape), x)
    assert operators(model.module)[0] == "sum"
    mean = model.seen(x).mean((2, 3))
    bound = mean.abs().sum(1, keepdim=True) / 127 / 2 + 3 * 0.51 * float(mean.abs().max()) / 127 + 1e-3
    assert_within(model(x), mean @ weight.T, bound)


@pytest.mark.parametrize("axes, keepdim", [([2, 3], True), ([1], False), ([-1], True)])
def test_min_is_a_negated_max(axes, keepdim):
    """The runtime has no min. Oracle: torch on the quantized input, exactly."""
    module, x = unary(aten.amin.default, axes, keepdim), draw(2, 3, 4, 5)
    assert operators(rewritten(module)) == ["neg", "amax", "neg"]
    model = integer_model(module, x)
    assert torch.equal(model(x), model.seen(x).amin(axes, keepdim))


@pytest.mark.parametrize("length", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("keepdim", [False, True])
def test_product(length, keepdim):
    """A tree of products of 16 and 15 bits. Oracle: torch; 0.1 % for each level of the tree."""
    module, x = unary(aten.prod.dim_int, 1, keepdim, shape=(2, length, 3)), draw(2, length, 3).abs() * 0.2 + 0.9
    assert_same_values(module, rewritten(module), x)
    model = integer_model(module, x, input_precision=16)
    assert relative_error(model(x), module(x)[0]) < 0.001 * max(length.bit_length(), 1)


def test_a_product_too_long_is_refused():
    with pytest.raises(UnsupportedOperatorError, match="257 elements"):
        prepare(unary(aten.prod.dim_int, 1, shape=(2, 257)))


@pytest.mark.parametrize("target, arguments", [
    (aten.sum.dim_IntList, ([1, 3], False)), (aten.mean.dim, ([2], True)), (aten.amax.default, ([1, 2, 3], False)),
    (aten.amin.default, ([3], False)), (aten.prod.dim_int, (2, False))])
@pytest.mark.parametrize("readers", [1, 2])
def test_a_transpose_goes_behind_a_reduction(target, arguments, readers):
    """With another reader it stays for that one, and the rule fires only where none is left behind the reduction.

    Oracle: torch, exactly.
    """
    def build(e, x):
        moved = e.call(aten.permute.default, x, [0, 3, 1, 2])
        reduced = e.call(target, moved, *arguments)
        return [reduced, e.call(aten.abs.default, moved)] if readers > 1 else reduced

    module, x = graph(build, (2, 3, 4, 5)), draw(2, 3, 4, 5)
    after = transposed(module)
    assert_same_values(module, after, x, tolerance=1e-14)
    names = operators(after)
    # After [1, 3] and [1, 2, 3] of the moved axes, what is left stands in its old order.
    none_left = arguments[0] in ([1, 3], [1, 2, 3])
    if readers == 1:
        assert ("permute" not in names) if none_left else names[-1] == "permute"
    else:
        assert names[0] == ("permute" if not none_left else names[0]) and names.count("permute") == 1


def test_fuse_transpose_reduce_is_public():
    """Its documented name."""
    from mrt_torch.ops import fuse_transpose_reduce
    module = graph(lambda e, x: e.call(aten.sum.dim_IntList, e.call(aten.permute.default, x, [0, 2, 1]), [1], True),
                   (2, 3, 4))
    node = next(n for n in module.graph.nodes if n.target is aten.sum.dim_IntList)
    from mrt_torch.graph.editor import GraphEditor
    with GraphEditor(module).before(node) as editor:
        assert fuse_transpose_reduce(node, editor=editor).target is aten.permute.default


def test_a_batch_on_another_axis():
    """Marked by -1 on axis 1: axis 0 may be reduced, axis 1 may not. Oracle: torch at two batches."""
    module = graph(lambda e, x: e.call(aten.sum.dim_IntList, x, [0, 2], False), (3, -1, 4))
    prepared = prepare(module)
    for batch in (1, 3):
        x = draw(3, batch, 4)
        assert_same_values(module, prepared, x)
    with pytest.raises(UnsupportedOperatorError, match="the batch axis"):
        prepare(graph(lambda e, x: e.call(aten.amax.default, x, [1], False), (3, -1, 4)))
