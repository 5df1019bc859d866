"""Normalizations by the statistics of each sample, against torch in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare, validate
from tests.mrt_torch.ops.graphs import (
    CheckedRun,
    assert_same_values,
    assert_untouched,
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

LENGTHS = [2, 3, 10, 64, 100, 511, 512, 768, 1009, 4096]
KINDS = ["normal", "outlier", "scales", "offset", "skewed"]


def rows(kind, length, magnitude, count=4):
    """Rows that differ: plain; one with a huge element beside a small one; of four sizes; far from zero; mostly 0."""
    x = torch.randn(count, length, generator=torch.Generator().manual_seed(length), dtype=torch.float64)
    if kind == "outlier":
        x[0, 0] = 100.0
        x[1] *= 0.02
    elif kind == "scales":
        x *= torch.logspace(0, -3, count, dtype=torch.float64)[:, None]
    elif kind == "offset":
        x += 20.0
    elif kind == "skewed":
        x = x.pow(3).relu() + 1e-3 * x
    return x / x.abs().max() * magnitude


def layer_norm(length, epsilon=1e-5):
    return lambda e, x: e.call(aten.layer_norm.default, x, [length], None, None, epsilon)


def rms_norm(length, epsilon=1e-6):
    return lambda e, x: e.call(aten.rms_norm.default, x, [length], None, epsilon)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("build", [layer_norm, rms_norm])
def test_against_float(build, length, kind):
    """Oracle: torch on the input itself. Bound: 1 % in the norm, at each of the thresholds.

    eps is 1e-5 and 1e-6: at the threshold 0.001 it exceeds the variances.
    """
    for magnitude in (1e-3, 0.05, 1.0, 300.0):
        x = rows(kind, length, magnitude)
        module = graph(build(length), x.shape)
        model = integer_model(module, x, input_precision=24)
        assert relative_error(model(x), module(x)[0]) < 0.01, magnitude


@pytest.mark.parametrize("build", [layer_norm, rms_norm])
@pytest.mark.parametrize("length, bound", [(16, 0.0005), (768, 0.001), (4096, 0.002), (100_352, 0.004)])
def test_ordinary_rows(build, length, bound):
    """Oracle: torch. Bound: a few parts of the docstring's, for rows without outliers; the last length is that of an
    image of 224 x 224 and two channels."""
    x = rows("normal", length, 4.0, 2)
    module = graph(build(length), x.shape)
    assert relative_error(integer_model(module, x, input_precision=20)(x), module(x)[0]) < bound


@pytest.mark.parametrize("length", [4, 64, 1024])
def test_eight_bits(length):
    """An input of 8 bits is normalized as it is. Oracle: torch on the quantized input; 0.3 %, the docstring's."""
    x = rows("normal", length, 1.0)
    module = graph(layer_norm(length), x.shape)
    model = integer_model(module, x)
    assert relative_error(model(x), module(model.seen(x))[0]) < 0.003


@settings(deadline=None, max_examples=40)
@given(length=st.integers(2, 200), seed=st.integers(0, 99), magnitude=st.sampled_from([1e-3, 0.1, 1.0, 50.0]),
       shift=st.sampled_from([0.0, 0.3, 5.0]), epsilon=st.sampled_from([0.0, 1e-12, 1e-5, 1e-2, 1.0, 100.0]),
       centred=st.booleans(), bits=st.sampled_from([8, 16, 24]))
def test_any_eps(length, seed, magnitude, shift, epsilon, centred, bits):
    """Oracle: torch on the quantized input. Bound: 1 %, and a unit of 2**-15 of the largest value, for results far
    below the largest that calibration saw; and every node within its proven range at the extremes of the input."""
    x = draw(3, length, seed=seed) * magnitude * torch.tensor([[1.0], [0.3], [0.01]], dtype=torch.float64)
    x = x + shift * magnitude
    module = graph((layer_norm if centred else rms_norm)(length, epsilon), x.shape)
    model = integer_model(module, x, input_precision=bits)
    seen = model.seen(x)
    expected = module(seen)[0].nan_to_num(0.0)
    unit = 2.0 ** -15 * float(expected.abs().max()) * length ** 0.5
    assert float((model(x) - expected).norm()) <= 0.01 * float(expected.norm()) + unit
    largest = facts_of(input_nodes(model.module.graph)[0]).value_range.maximum
    signs = torch.randint(0, 2, (3, length), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    for extreme in (signs * largest, torch.full((3, length), largest), torch.full((3, length), -largest)):
        CheckedRun(model.module).run(extreme.to(torch.int32))


@pytest.mark.parametrize("length", [1, 2, 7, 511, 600])
@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
def test_constant_rows_give_zero(length, epsilon):
    """eps keeps 0 / 0 away in float; in integers 0 / 0 is 0. Oracle: zero, beside a row that is not constant."""
    x = torch.full((3, length), 2.5, dtype=torch.float64)
    x[1] = 0.0
    if length > 1:
        x[2, 0] = -1.0
    thresholds = {node.name: 3.0 for node in prepare(graph(layer_norm(length, epsilon), x.shape)).graph.nodes}
    model = integer_model(graph(layer_norm(length, epsilon), x.shape), x, thresholds)
    assert not model(x)[:2].any()


@pytest.mark.parametrize("build", [layer_norm, rms_norm])
def test_zeros(build):
    """Calibration saw zeros only."""
    x = torch.zeros(2, 8, dtype=torch.float64)
    assert not integer_model(graph(build(8), x.shape), x)(x).any()


def test_eps_beside_which_nothing_counts():
    """Then the result is the centred input over sqrt(eps). Oracle: torch; 0.2 %."""
    x = rows("normal", 32, 1e-3)
    module = graph(layer_norm(32, 1.0), x.shape)
    model = integer_model(module, x, input_precision=16)
    assert "broadcast_div" not in operators(model.module)
    assert relative_error(model(x), module(x)[0]) < 0.002


@pytest.mark.parametrize("shape, axes", [((2, 3, 8), 1), ((2, 3, 4, 5), 1), ((2, 3, 4, 5), 2), ((2, 3, 4, 5), 3),
                                         ((1, 2, 3, 2, 2, 4), 2)])
def test_axes_and_affine(shape, axes):
    """Oracle: torch. Bound: 1 %, of which a product of 16 and 15 bits takes little."""
    normalized = list(shape[-axes:])
    weight, bias = draw(*normalized, seed=1) + 1.5, draw(*normalized, seed=2)

    def build(e, x):
        return e.call(aten.layer_norm.default, x, normalized, e.constant("w", weight), e.constant("b", bias), 1e-5)

    module, x = graph(build, shape), draw(*shape)
    names = operators(rewritten(module))
    assert names.count("layer_norm") == 1 and names[-2:] == ["mul", "add"]
    assert_same_values(module, rewritten(module), x)
    assert relative_error(integer_model(module, x, input_precision=16)(x), module(x)[0]) < 0.01


def test_scales_of_one_and_shifts_of_zero_cost_nothing():
    """gluon's default. Oracle: the graph without them."""
    ones, zeros = torch.ones(8, dtype=torch.float64), torch.zeros(8, dtype=torch.float64)

    def build(e, x):
        return e.call(aten.layer_norm.default, x, [8], e.constant("w", ones), e.constant("b", zeros), 1e-5)

    assert operators(rewritten(graph(build, (2, 8)))) == ["layer_norm"]


def test_a_plain_one_is_left_alone():
    assert_untouched(graph(layer_norm(8), (2, 8)), draw(2, 8))
    assert_untouched(graph(rms_norm(8), (2, 8)), draw(2, 8))


@pytest.mark.parametrize("order, before", [([0, 2, 1, 3], True), ([0, 3, 1, 2], False), ([0, 1, 3, 2], False)])
def test_a_transpose_of_other_axes_goes_behind(order, before):
    """Oracle: torch; one that moves the normalized axis stays."""
    def build(e, x):
        moved = e.call(aten.permute.default, x, order)
        return e.call(aten.layer_norm.default, moved, [moved.meta["val"].shape[-1]], None, None, 1e-5)

    module, x = graph(build, (2, 3, 4, 5)), draw(2, 3, 4, 5)
    after = transposed(module)
    assert operators(after) == (["layer_norm", "permute"] if before else ["permute", "layer_norm"])
    assert_same_values(module, after, x)


@pytest.mark.parametrize("shape, groups", [((2, 6, 4), 3), ((3, 4, 5, 3), 1), ((1, 4, 2, 3, 2), 4), ((2, 8), 2)])
@pytest.mark.parametrize("affine", [False, True])
def test_group_norm(shape, groups, affine):
    """Oracle: torch. The result has no group_norm left."""
    def build(e, x):
        parameters = [e.constant("p", draw(shape[1], seed=s) + 1.2) for s in (1, 2)] if affine else [None, None]
        return e.call(aten.group_norm.default, x, groups, *parameters, 1e-5)

    module, x = graph(build, shape), draw(*shape)
    assert "group_norm" not in operators(rewritten(module))
    assert_same_values(module, rewritten(module), x)
    assert relative_error(integer_model(module, x, input_precision=16)(x), module(x)[0]) < 0.01


@pytest.mark.parametrize("shape", [(2, 3, 7), (1, 3, 4, 5), (2, 3, 2, 3, 4)])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_instance_norm(shape, affine, own):
    """Oracle: torch; with running statistics it is a batch_norm, which becomes a product and a sum."""
    def build(e, x):
        parameters = [e.constant("p", draw(3, seed=s) + 1.2) for s in (1, 2)] if affine else [None, None]
        running = [None, None] if own else [e.constant("r", draw(3, seed=s) + 1.2) for s in (3, 4)]
        return e.call(aten.instance_norm.default, x, *parameters, *running, own, 0.1, 1e-5, False)

    module, x = graph(build, shape), draw(*shape)
    names = operators(rewritten(module))
    assert "instance_norm" not in names and ("layer_norm" in names) == own
    assert_same_values(module, rewritten(module), x)
    assert relative_error(integer_model(module, x, input_precision=16)(x), module(x)[0]) < 0.01


def test_several_normalizations_share_their_table():
    """But for the last segment, which ends where its index does. Oracle: the buffers of the integer graph."""
    def build(e, x):
        y = e.call(aten.layer_norm.default, x, [64], None, None, 1e-5)
        y = e.call(aten.add.Tensor, y, x)
        return e.call(aten.layer_norm.default, y, [64], None, None, 1e-5)

    x = rows("normal", 64, 1.0)
    one, two = (integer_model(graph(b, x.shape), x) for b in (layer_norm(64), build))
    sizes = [sum(buffer.numel() for _, buffer in model.module.named_buffers() if buffer.numel() > 1)
             for model in (one, two)]
    assert sizes[1] < 1.3 * sizes[0]


@pytest.mark.parametrize("build, reason", [
    (lambda e, x: e.call(aten.layer_norm.default, x, [2, 6], None, None, 1e-5), "along the batch axis"),
    (lambda e, x: e.call(aten.layer_norm.default, x, [6], e.call(aten.amax.default, x, [0]), None, 1e-5), "computed"),
    (lambda e, x: e.call(aten.layer_norm.default, x, [6], None, None, -1.0), "its eps is -1.0"),
    (lambda e, x: e.call(aten.group_norm.default, e.call(aten.permute.default, x, [1, 0]), 1, None, None, 1e-5),
     "along the batch axis"),
    (lambda e, x: e.call(aten.instance_norm.default, e.call(aten.reshape.default, x, [1, 3, 2, -1]), None, None, None,
                         None, True, 0.1, 1e-5, False), "along the batch axis"),
    (lambda e, x: e.call(aten.group_norm.default, x, 2, None, e.call(aten.amax.default, x, [0]), 1e-5), "computed")])
def test_refusals(build, reason):
    """Oracle: the limits of the operator table."""
    with pytest.raises(UnsupportedOperatorError, match=reason):
        validate(graph(build, (2, 6)))


def test_a_batch_of_another_axis():
    """Marked by -1 on axis 1: what stands before it is normalized with it left free. Oracle: torch at two batches."""
    module = graph(lambda e, x: e.call(aten.layer_norm.default, x, [4], None, None, 1e-5), (3, -1, 4))
    prepared = prepare(module)
    for batch in (1, 3):
        x = draw(3, batch, 4)
        assert_same_values(module, prepared, x)


@pytest.mark.parametrize("bits, width", [(10, 10), (24, 20)])
def test_the_precision_of_the_input_is_a_setting(bits, width):
    """20 at most. Oracle: the width of what is multiplied, and torch: half a unit against the deviation, a third."""
    x = draw(4, 64)
    module = graph(layer_norm(64), x.shape)
    model = integer_model(module, x, input_precision=24, operator_precisions={"LayerNorm": bits})
    assert model.node("sum").args[0].meta["mrt"].precision == width
    assert relative_error(model(x), module(x)[0]) < 0.001 + 2.0 ** -bits


def test_operations():
    """Eight for each element."""
    node = next(n for n in unary(aten.layer_norm.default, [4], None, None, 1e-5, shape=(2, 3, 4)).graph.nodes
                if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == 8 * 24
