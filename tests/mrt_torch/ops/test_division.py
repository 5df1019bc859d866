"""Quotients of two activations, against float."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import apply_pass
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    relative_error,
    rewritten,
)

X = draw(2, 6, 4)


def quotient(e, x, shift=0.5, scale=1.0):
    """x[:, :3] / (scale * (|x[:, 3:]| + shift))."""
    left = e.call(aten.slice.Tensor, x, 1, 0, 3)
    right = e.call(aten.abs.default, e.call(aten.slice.Tensor, x, 1, 3, 6))
    right = e.call(aten.mul.Scalar, e.call(aten.add.Scalar, right, shift), scale)
    return e.call(aten.div.Tensor, left, right)


@pytest.mark.parametrize("scale", [1e-6, -0.01, 1.0, 1e5])
@pytest.mark.parametrize("shift", [1e-3, 0.05, 0.5, 20.0])
@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 500.0])
def test_against_float(magnitude, shift, scale):
    """Oracle: torch on the input of 24 bits. Bound: 0.1 % in the norm, whatever the range of the divisor: half a unit
    of 16 bits of the dividend against its own size, and of the divisor, which has 15 bits at the largest quotient."""
    x = draw(4, 6, 50, magnitude=magnitude)
    module = graph(lambda e, data: quotient(e, data, shift * magnitude, scale), x.shape)
    model = integer_model(module, x, input_precision=24)
    assert relative_error(model(x), module(x)[0]) < 0.001


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 99), bits=st.sampled_from([20, 24]), shift=st.floats(1e-3, 10))
def test_error_bound(seed, bits, shift):
    """Oracle: the definition on the quantized input.

    Bound: the docstring's: a unit of 2**-16 of the largest quotient; half a unit of 16 bits of X over X; half a unit
    of each term of the divisor, abs(X) and the shift, of at least 14 bits at the largest quotient, over it; and the 12
    bits of a rescaling's fraction.
    """
    x = draw(2, 6, 20, seed=seed)
    module = graph(lambda e, data: quotient(e, data, shift), x.shape)
    model = integer_model(module, x, input_precision=bits)
    seen = model.seen(x)
    expected = module(seen)[0]
    largest, divisor = float(module(x)[0].abs().max()), seen[:, 3:].abs() + shift
    least = float(x[:, :3].abs().max()) / largest  # the divisor at the largest quotient, or below it
    bound = largest * 2.0 ** -15 + 0.51 / 32767 / divisor + expected.abs() * (2.0 ** -13 * least / divisor + 2.0 ** -11)
    assert bool(((model(x) - expected).abs() <= bound).all())


def test_a_divisor_of_both_signs_and_zero():
    """x / 0 is 0 in integers. Oracle: torch elsewhere; 0.1 %."""
    x = draw(2, 6, 4) + 0.0
    x[0, 3] = torch.tensor([0.0, 0.0, 0.5, -0.5])

    def build(e, data):
        left, right = (e.call(aten.slice.Tensor, data, 1, begin, begin + 3) for begin in (0, 3))
        return e.call(aten.div.Tensor, left, right)

    module = graph(build, x.shape)
    thresholds = {node.name: 1.0 for node in prepare(module).graph.nodes} | {"div_tensor": 500.0}
    model = integer_model(module, x, thresholds, input_precision=16)
    found, expected = model(x), module(x)[0]
    zero = x[:, 3:] == 0
    assert not found[zero].any() and bool(zero.any())
    assert relative_error(found[~zero], expected[~zero].clamp(-1000, 1000)) < 0.01


@pytest.mark.parametrize("number", [torch.tensor([2.5]), torch.tensor([[-3.0, 0.5, 1e-3]]).reshape(1, 3, 1)])
def test_a_constant_over_an_activation(number):
    """Oracle: torch. Bound: the divisor's own rounding to 24 bits, and 2**-15 of the largest quotient."""
    def build(e, x):
        right = e.call(aten.add.Scalar, e.call(aten.abs.default, x), 0.01)
        return e.call(aten.div.Tensor, e.constant("c", number.double()), right)

    x = draw(2, 3, 50)
    module = graph(build, x.shape)
    model = integer_model(module, x, input_precision=24)
    assert relative_error(model(x), module(x)[0]) < 0.001


def test_broadcasting():
    """Rows over their sums: attention written out. Oracle: torch; 1 %, which exp may be off by."""
    def build(e, x):
        weights = e.call(aten.exp.default, x)
        return e.call(aten.div.Tensor, weights, e.call(aten.sum.dim_IntList, weights, [2], True))

    x = draw(2, 3, 10, magnitude=3.0)
    module = graph(build, x.shape)
    model = integer_model(module, x, input_precision=16)
    assert relative_error(model(x), module(x)[0]) < 0.01


@pytest.mark.parametrize("zero", ["dividend", "divisor"])
def test_zero_thresholds(zero):
    """Calibration saw nothing but zeros: so is the quotient."""
    x = torch.zeros(2, 6, 4, dtype=torch.float64)
    if zero == "divisor":
        x[:, :3] = 1.0
    module = graph(lambda e, data: quotient(e, data, 0.0 if zero == "divisor" else 1.0), x.shape)
    largest = float(module(x)[0].nan_to_num(0, 0, 0).abs().max())
    thresholds = dict.fromkeys((node.name for node in prepare(module).graph.nodes), largest)
    thresholds["data"] = 1.0
    model = integer_model(module, x, thresholds)
    assert not model(x).any()


def test_the_precision_of_the_dividend_is_a_setting():
    """Oracle: the width of what is multiplied."""
    module = graph(quotient, X.shape)
    model = integer_model(module, X, input_precision=24, operator_precisions={"broadcast_div": 9})
    product = model.node("broadcast_div").args[0]
    assert product.args[0].meta["mrt"].precision == 9


@pytest.mark.parametrize("axes", [[2], [1], [1, 2], [-1]])
@pytest.mark.parametrize("guard", [None, 1e-12])
def test_a_tensor_over_its_own_norm_is_an_rms_norm(axes, guard):
    """F.normalize. Oracle: torch; 0.3 %."""
    def build(e, x):
        norm = e.call(aten.linalg_vector_norm.default, x, 2, axes, True)
        norm = norm if guard is None else e.call(aten.clamp.default, norm, guard, None)
        return e.call(aten.div.Tensor, x, norm)

    module = graph(build, X.shape)
    assert "rms_norm" in operators(rewritten(module)) and "div" not in operators(rewritten(module))
    assert_same_values(module, rewritten(module), X)
    assert relative_error(integer_model(module, X, input_precision=16)(X), module(X)[0]) < 0.003


@pytest.mark.parametrize("build", [
    lambda e, x: e.call(aten.div.Tensor, e.call(aten.abs.default, x),
                        e.call(aten.linalg_vector_norm.default, x, 2, [2], True)),
    lambda e, x: e.call(aten.div.Tensor, x, e.call(aten.clamp.default, e.call(
        aten.linalg_vector_norm.default, x, 2, [2], True), 0.5, None)),
    lambda e, x: e.call(aten.div.Tensor, x, e.call(aten.clamp.default, e.call(
        aten.linalg_vector_norm.default, x, 2, [2], True), 1e-9, 1.0)),
    lambda e, x: e.call(aten.div.Tensor, x, e.call(aten.linalg_vector_norm.default, x, 1, [2], True))])
def test_other_quotients_by_a_norm_are_divided(build):
    """Another dividend; a norm that a bound replaces; another order. Oracle: torch; 0.3 %."""
    module = graph(build, X.shape)
    assert "div" in operators(rewritten(module))
    assert relative_error(integer_model(module, X, input_precision=16)(X), module(X)[0]) < 0.003


def test_refusals():
    def build(e, x):
        return e.call(aten.div.Tensor, x, e.constant("c", torch.tensor([1.0, 0.0, 2.0, 3.0]).double()))
    with pytest.raises(UnsupportedOperatorError, match="the constant divisor holds a zero"):
        prepare(graph(build, X.shape))


def test_operations():
    """The output elements."""
    module = graph(quotient, X.shape)
    node = next(n for n in module.graph.nodes if n.target is aten.div.Tensor)
    assert apply_pass("calculate_ops", node) == 24
