"""Roots, reciprocals and logarithms of wide nonnegative inputs, whose values span many orders of magnitude."""

from __future__ import annotations

import pytest
import torch

from tests.mrt_torch.ops.functions import looked_up, table_of
from tests.mrt_torch.ops.graphs import assert_within, aten, graph, integer_model, operators, relative_error

rcbrt = torch.ops.mrt.rcbrt.default
# The target, its arguments, and abs(x * f'(x) / f(x)).
ROOTS = {"sqrt": (aten.sqrt.default, (), 0.5), "rsqrt": (aten.rsqrt.default, (), 0.5), "rcbrt": (rcbrt, (), 1 / 3),
         "reciprocal": (aten.reciprocal.default, (), 1.0), "power 0.7": (aten.pow.Tensor_Scalar, (0.7,), 0.7),
         "power -1.5": (aten.pow.Tensor_Scalar, (-1.5,), 1.5)}
LOGARITHMS = {"log": aten.log.default, "log2": aten.log2.default, "log10": aten.log10.default}


def values(orders: int, magnitude: float) -> torch.Tensor:
    """Uniform logarithms over so many powers of ten up to the magnitude."""
    places = torch.rand(4, 250, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    places[0, 0] = 0
    return magnitude * 10 ** (-orders * places)


def behind_a_relu(target, *arguments, shape=(4, 250)):
    return graph(lambda e, v: e.call(target, e.call(aten.relu.default, v), *arguments), shape)


@pytest.mark.parametrize("name", ROOTS)
@pytest.mark.parametrize("magnitude", [0.01, 1.0, 1000.0])
def test_roots_of_wide_inputs(name, magnitude):
    """Oracle: the function of the input. Bound, for every value: e * 2**-9, and e times half a unit of the input.

    Half a unit of 24 bits of the largest result comes on top.
    """
    target, arguments, steepness = ROOTS[name]
    x = values(4, magnitude)
    model = integer_model(behind_a_relu(target, *arguments), x, input_precision=28)
    assert "broadcast_max" in operators(model.module)
    expected = target(x, *arguments)
    unit = magnitude * 2 ** -27
    bound = expected * steepness * 1.02 * (2 ** -9 + 0.5 * unit / x) + 2 * expected.max() * 2 ** -24
    assert_within(model(x), expected, bound)


@pytest.mark.parametrize("name", LOGARITHMS)
def test_logarithms_of_wide_inputs(name):
    """Oracle: the function of the input. Bound: 2**-10 of a natural logarithm, and half a unit of the input."""
    x = values(4, 3.0)
    model = integer_model(behind_a_relu(LOGARITHMS[name]), x, input_precision=28)
    assert "broadcast_max" in operators(model.module)
    natural = float(LOGARITHMS[name](torch.tensor(torch.e, dtype=torch.float64)))
    assert_within(model(x), LOGARITHMS[name](x), natural * (1.02 * 2 ** -10 + 0.5 * 3.0 * 2 ** -27 / x) + 2 ** -15)


@pytest.mark.parametrize("name", [*ROOTS, *LOGARITHMS])
@pytest.mark.parametrize("lowest", [1e-3, 1 / 64])
def test_by_one_table(name, lowest):
    """16 bits set by the user. Oracle: the function of the integers looked up, 0.1 %; and of the input, 1 %, for
    values uniform above a thousandth of the largest.
    """
    target, arguments, _ = ROOTS.get(name, (LOGARITHMS.get(name), (), 0))
    operator = {"power 0.7": "_power_scalar", "power -1.5": "_power_scalar"}.get(name, name)
    x = lowest + (1 - lowest) * values(0, 1.0) * torch.rand(4, 250, generator=torch.Generator().manual_seed(2),
                                                            dtype=torch.float64)
    model = integer_model(behind_a_relu(target, *arguments), x, input_precision=24, operator_precisions={operator: 16})
    assert len(table_of(model)) <= 2 ** 15
    assert relative_error(model(x), target(looked_up(model, x), *arguments)) < 0.001
    assert relative_error(model(x), target(x, *arguments)) < 0.01


@pytest.mark.parametrize("share", [2 ** -8, 2 ** -10])
def test_one_table_is_coarse_next_to_a_pole(share):
    """1 / x by 16 bits at a small share of the threshold. Bound: the stated one, 2**-16 / share."""
    x = torch.full((1, 200), 1.0, dtype=torch.float64)
    x[0, 1:] = share * (1 + torch.rand(199, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    model = integer_model(behind_a_relu(aten.reciprocal.default, shape=(1, 200)), x, input_precision=24,
                          operator_precisions={"reciprocal": 16})
    error = ((model(x) - 1 / x).abs() * x)[0, 1:]
    assert 0.3 * 2 ** -16 / share < float(error.max()) < 1.1 * 2 ** -16 / share + 2 ** -14


@pytest.mark.parametrize("bits, segments", [(12, False), (16, False), (17, True)])
def test_segments_are_for_wide_inputs(bits, segments):
    """Oracle: the operators."""
    x = values(2, 1.0)
    model = integer_model(behind_a_relu(aten.rsqrt.default), x, input_precision=bits)
    assert ("broadcast_max" in operators(model.module)) == segments


def test_signed_inputs_have_one_table():
    """Oracle: 1 / x of the integers looked up."""
    x = values(1, 1.0) * (torch.rand(4, 250, generator=torch.Generator().manual_seed(1)) > 0.5).double().mul(2).sub(1)
    model = integer_model(graph(lambda e, v: e.call(aten.reciprocal.default, v), (4, 250)), x, input_precision=24)
    assert operators(model.module)[-2:] == ["broadcast_add", "cvm_lut"]
    assert relative_error(model(x), 1 / looked_up(model, x)) < 0.001
    assert relative_error(model(x), 1 / x) < 0.01


def test_higher_powers_have_one_table():
    x = values(1, 1.0)
    model = integer_model(behind_a_relu(aten.pow.Tensor_Scalar, 3.0), x, input_precision=24)
    assert operators(model.module)[-1] == "cvm_lut" and "broadcast_max" not in operators(model.module)
    assert relative_error(model(x), x ** 3) < 0.001
