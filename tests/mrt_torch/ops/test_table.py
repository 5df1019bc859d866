"""sigmoid, tanh and exp by table, against the exact function of the quantized input."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.graph.facts import facts_of
from mrt_torch.ops import TRANSFORMERS, Activation, apply_pass, register_pass, register_transformer
from tests.mrt_torch.ops.graphs import (
    assert_untouched,
    assert_within,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    relative_error,
    unary,
)

TARGETS = {"sigmoid": aten.sigmoid.default, "tanh": aten.tanh.default, "exp": aten.exp.default}


def index_scale(model) -> float:
    """Scale of the integers that are looked up: the input's, times the fraction of its rescaling, if there is one."""
    index = model.node("broadcast_add").args[0]
    scale = facts_of(next(n for n in model.module.graph.nodes if n.op == "placeholder")).scale
    while index.op != "placeholder":
        name = index.target._opname
        if name == "cvm_right_shift":
            scale /= 2 ** index.kwargs["shift_bit"]
        elif name == "broadcast_mul":
            scale *= int(getattr(model.module, index.args[1].target))
        index = index.args[0]
    return scale


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("magnitude", [1e-6, 0.01, 0.1, 1.0, 4.0, 16.0, 60.0])
@pytest.mark.parametrize("bits", [8, 16])
def test_against_the_function_of_the_quantized_input(name, magnitude, bits):
    """Oracle: the function in float64 of the integers looked up, divided by their scale.

    Bound: half a unit of 16 bits of the largest value of the table, which is at most the double of the largest that
    occurs; and 0.5 % relative in the norm.
    """
    x = draw(4, 50, magnitude=magnitude)
    model = integer_model(unary(TARGETS[name], shape=x.shape), x, input_precision=bits)
    looked_up = model.values(x)[model.node("broadcast_add").args[0].name].double() / index_scale(model)
    expected = TARGETS[name](looked_up)
    found = model(x)
    largest = float(TARGETS[name](looked_up.abs().max()))
    assert_within(found, expected, 0.5 * 2 * largest / 32767)
    assert relative_error(found, expected) < 0.005


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("magnitude", [0.1, 1.0, 4.0, 16.0])
def test_against_the_function_of_the_input(name, magnitude):
    """Oracle: the function itself. Bound: the steepest slope within the input times half a unit of 12 bits."""
    x = draw(4, 50, magnitude=magnitude)
    model = integer_model(unary(TARGETS[name], shape=x.shape), x, input_precision=16)
    slope = {"sigmoid": 0.25, "tanh": 1.0, "exp": float(torch.tensor(magnitude).exp())}[name]
    assert_within(model(x), TARGETS[name](x), slope * 0.51 * magnitude / 2047 + max(slope, 1) * 2 ** -15)


@pytest.mark.parametrize("name", TARGETS)
def test_zeros(name):
    """Calibration saw zeros only: one entry, f(0)."""
    x = torch.zeros(2, 3, dtype=torch.float64)
    model = integer_model(unary(TARGETS[name], shape=x.shape), x)
    assert_within(model(x), TARGETS[name](x), 1e-12)


def test_the_table_covers_what_calibration_saw():
    """A difference of two near values: its integers could be far wider than they are.

    exp over all that they could be would have no resolution left near 1. Bound: 16 bits of the largest value seen,
    and the rounding of the difference's operands to 16 bits.
    """
    def build(e, x):
        near = e.call(aten.add.Tensor, x, e.constant("c", draw(50, magnitude=1e-3, seed=3)))
        return e.call(aten.exp.default, e.call(aten.mul.Scalar, e.call(aten.sub.Tensor, near, x), 1000.0))

    x = draw(4, 50, magnitude=20.0)
    module = graph(build, x.shape)
    model = integer_model(module, x, input_precision=16)
    assert relative_error(model(x), module(x)[0]) < 0.7  # the difference itself has one or two units
    largest = model.node("cvm_lut").meta["mrt"].value_range.maximum / model.scales[0]
    assert largest < 40 * float(module(x)[0].max())


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 4), (2, 3, 4, 5)])
def test_shapes(name, shape):
    x = draw(*shape)
    module = unary(TARGETS[name], shape=shape)
    assert_untouched(module, x)
    model = integer_model(module, x)
    assert operators(model.module) == ["broadcast_add", "cvm_lut"]
    assert relative_error(model(x), TARGETS[name](model.seen(x))) < 0.005


@pytest.mark.parametrize("bits", [2, 6, 8, 14])
def test_input_precision_is_a_setting(bits):
    """The table has an entry for each integer of that precision."""
    x = draw(4, 50)
    model = integer_model(unary(aten.tanh.default, shape=x.shape), x, input_precision=16,
                          operator_precisions={"tanh": bits})
    table = getattr(model.module, model.node("cvm_lut").args[1].target)
    assert table.shape == (2 ** bits - 1, 1)
    assert relative_error(model(x), x.tanh()) < 2 * 2.0 ** -bits + 1e-4


@pytest.mark.parametrize("parameters", [(), (1.0,), (0.5, 2.0), (1.67326, 1.0507), (2.0, 1.0, 0.5)])
@pytest.mark.parametrize("magnitude", [0.1, 1.0, 16.0])
def test_elu(parameters, magnitude):
    """Also SELU and CELU. Oracle: torch's elu of the input. Bound: the steepest slope times half a unit of 12 bits."""
    x = draw(4, 50, magnitude=magnitude)
    model = integer_model(unary(aten.elu.default, *parameters, shape=x.shape), x, input_precision=16)
    alpha, scale, inner = (*parameters, *(1.0,) * (3 - len(parameters)))
    slope = scale * max(1.0, alpha * inner)
    assert_within(model(x), aten.elu.default(x, *parameters), slope * magnitude * (0.51 / 2047 + 2 ** -15))


@pytest.mark.parametrize("name", TARGETS)
def test_operations(name):
    module = unary(TARGETS[name])
    assert apply_pass("calculate_ops", next(n for n in module.graph.nodes if n.op == "call_function")) == 120


def test_elu_is_one_table():
    module = unary(aten.elu.default, 0.7)
    x = draw(2, 3, 4, 5)
    assert_untouched(module, x)
    assert operators(integer_model(module, x).module) == ["broadcast_add", "cvm_lut"]


def test_elu_with_parameters_that_are_not_finite():
    module = unary(aten.elu.default, float("inf"))
    reason = apply_pass("validate", next(n for n in module.graph.nodes if n.op == "call_function"))
    assert reason == "its parameters are (inf, 1.0, 1.0)"


def test_the_precision_of_a_table_is_its_own_where_the_settings_have_none():
    """Oracle: the number of entries."""
    class Softsign(Activation):
        op_name = "softsign"
        input_precision = 6
        function = staticmethod(torch.nn.functional.softsign)

    register_pass("validate", "rewrite")(register_transformer(aten.sign.default)(Softsign))
    try:
        x = draw(4, 50)
        module = unary(aten.sign.default, shape=x.shape)
        for settings, bits in ({}, 6), ({"operator_precisions": {"softsign": 9}}, 9):
            model = integer_model(module, x, input_precision=16, **settings)
            assert getattr(model.module, model.node("cvm_lut").args[1].target).shape == (2 ** bits - 1, 1)
    finally:
        TRANSFORMERS.unregister(aten.sign.default)
