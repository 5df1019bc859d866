"""Every function of one variable: against itself on the integers looked up, and on the input. Bounds: 0.1 % and 1 %."""

from __future__ import annotations

import math

import pytest
import torch

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import TRANSFORMERS, Activation, apply_pass
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.functions import looked_up, table_of
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
    unary,
)

mrt = torch.ops.mrt
MAGNITUDES = [0.01, 0.1, 1.0, 4.0, 10.0, 80.0]
# A target and its arguments.
BOUNDED = {
    "sigmoid": (aten.sigmoid.default,), "tanh": (aten.tanh.default,), "softsign": (mrt.softsign.default,),
    "erf": (aten.erf.default,), "erfc": (aten.erfc.default,), "arctan": (aten.atan.default,),
    "sin": (aten.sin.default,), "cos": (aten.cos.default,), "log_sigmoid": (aten.log_sigmoid.default,),
    "softplus": (aten.softplus.default,), "softplus 3": (aten.softplus.default, 3.0, 15.0),
    "mish": (aten.mish.default,), "silu": (aten.silu.default,), "hardswish": (aten.hardswish.default,),
    "gelu": (aten.gelu.default,), "elu": (aten.elu.default, 0.7), "selu": (aten.elu.default, 1.67326, 1.0507),
    "celu": (aten.elu.default, 2.0, 1.0, 0.5), "smooth_l1": (mrt.smooth_l1.default, 1.0),
    "smooth_l1 3": (mrt.smooth_l1.default, 3.0), "cbrt": (mrt.cbrt.default,), "arcsinh": (aten.asinh.default,),
    "power 3": (aten.pow.Tensor_Scalar, 3.0), "exp": (aten.exp.default,), "expm1": (aten.expm1.default,),
    "sinh": (aten.sinh.default,), "cosh": (aten.cosh.default,),
}
WITHIN_ONE = {"arcsin": (aten.asin.default,), "arccos": (aten.acos.default,), "arctanh": (aten.atanh.default,),
              "log1p": (aten.log1p.default,), "tan": (aten.tan.default,)}


def check(target, arguments, x: torch.Tensor, of_the_input: float = 0.01) -> None:
    """The oracle is the target in float64; the input's rounding may leave its domain, at 0 of the function."""
    model = integer_model(unary(target, *arguments, shape=x.shape), x, input_precision=24)
    assert operators(model.module)[-1] == "cvm_lut"
    assert relative_error(model(x), target(looked_up(model, x), *arguments).nan_to_num(nan=0.0)) < 0.001
    assert relative_error(model(x), target(x, *arguments)) < of_the_input


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_everywhere(name, magnitude):
    target, *arguments = BOUNDED[name]
    check(target, arguments, draw(4, 500, magnitude=magnitude, seed=1))


@pytest.mark.parametrize("name", WITHIN_ONE)
@pytest.mark.parametrize("magnitude", [0.01, 0.1, 0.5, 0.99])
def test_within_one(name, magnitude):
    target, *arguments = WITHIN_ONE[name]
    check(target, arguments, draw(4, 500, magnitude=magnitude, seed=1))


@pytest.mark.parametrize("magnitude", [1.5, 4.0, 80.0])
def test_above_one(magnitude):
    x = (draw(4, 500).abs() * (magnitude - 1) + 1).clamp(max=magnitude)
    check(aten.acosh.default, (), x)


@pytest.mark.parametrize("target", [aten.asin.default, aten.acos.default])
def test_at_the_end_of_the_domain(target):
    """1 may be rounded to more than 1, where nothing is defined. Oracle: the target, sqrt(2 d) within d of 1."""
    x = draw(4, 500)
    for bits in (8, 10, 13):
        model = integer_model(unary(target, shape=x.shape), x, input_precision=24,
                              operator_precisions={TRANSFORMERS[target].op_name: bits})
        assert_within(model(x), target(x), 2.1 * 2 ** (-bits / 2))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_in_both_forms(approximate):
    """The keyword is kept. Oracle: torch."""
    x = draw(4, 500, magnitude=3.0)
    module = graph(lambda e, v: e.call(aten.gelu.default, v, approximate=approximate), x.shape)
    model = integer_model(module, x, input_precision=24)
    expected = torch.nn.functional.gelu(looked_up(model, x), approximate=approximate)
    assert_within(model(x), expected, 3.0 * 2 ** -15)


@pytest.mark.parametrize("target, arguments", [(aten.hardshrink.default, (0.3,)), (aten.threshold.default, (0.2, -0.5)),
                                               (aten.remainder.Scalar, (0.3,))])
@pytest.mark.parametrize("magnitude", [1.0, 4.0])
def test_functions_with_jumps(target, arguments, magnitude):
    """Values of the integers looked up are within 16 bits; the input's rounding may take one across a jump.

    Oracle: the target. Bound of the share of such values: two units of the input for each jump on the way, and 1 %.
    """
    x = draw(4, 500, magnitude=magnitude, seed=1)
    model = integer_model(unary(target, *arguments, shape=x.shape), x, input_precision=24)
    assert_within(model(x), target(looked_up(model, x), *arguments), magnitude * 2 ** -15)
    crossed = ((model(x) - target(x, *arguments)).abs() > 0.02 * magnitude).double().mean()
    assert float(crossed) < 0.02


def test_exact_multiples_have_an_exact_remainder():
    """Integers of scale 1, as indices are. Oracle: Python's %."""
    x = torch.arange(-100, 101, dtype=torch.float64).reshape(3, 67)
    model = integer_model(unary(aten.remainder.Scalar, 7.0, shape=x.shape), x, {"data": 127.0, "remainder_scalar": 6.0})
    assert_within(model(x), x % 7, 6 * 2 ** -16)


POWERS = [(1, []), (1.0, []), (2, ["mul"]), (0.5, ["sqrt"]), (-0.5, ["rsqrt"]), (-1, ["reciprocal"])]


@pytest.mark.parametrize("exponent, expected", POWERS)
def test_powers_with_an_operator_of_their_own(exponent, expected):
    """Oracle: the power in float64."""
    module, x = unary(aten.pow.Tensor_Scalar, exponent), draw(2, 3, 4, 5).abs() + 0.1
    assert operators(rewritten(module)) == expected
    assert_same_values(module, rewritten(module), x)


@pytest.mark.parametrize("exponent", [0, 3, -2, 1.5, 2.0000001, 0.50001, -1.5])
def test_other_powers_stay(exponent):
    assert_untouched(unary(aten.pow.Tensor_Scalar, exponent), draw(2, 3, 4, 5).abs() + 0.1)


def test_the_reciprocal_of_a_root_is_one_function():
    """Unless something else reads the root. Oracle: 1 / sqrt(x)."""
    def build(e, x, shared):
        root = e.call(aten.sqrt.default, x)
        inverse = e.call(aten.reciprocal.default, root)
        return (inverse, root) if shared else inverse

    x = draw(2, 3, 4, 5).abs() + 0.1
    module = graph(lambda e, v: build(e, v, False), x.shape)
    assert operators(rewritten(module)) == ["rsqrt"]
    assert_same_values(module, rewritten(module), x)
    assert_untouched(graph(lambda e, v: build(e, v, True), x.shape), x)
    assert_untouched(unary(aten.reciprocal.default), x)


def test_power_zero_is_one():
    x = draw(2, 3)
    model = integer_model(unary(aten.pow.Tensor_Scalar, 0, shape=(2, 3)), x)
    assert_within(model(x), torch.ones_like(x), 2 ** -15)


def test_a_square_is_finer_as_a_product_than_as_a_table():
    """Values of an eighth of the threshold, where 16 bits of the square leave 512 units. Oracle: x * x."""
    def square_as_table(e, v):
        return e.call(mrt.composition.default, v, ["aten.mul.Tensor %0 %0"])

    calibration, x = draw(4, 500), draw(4, 500, magnitude=0.125, seed=4)
    product = integer_model(unary(aten.pow.Tensor_Scalar, 2, shape=x.shape), calibration, input_precision=24)
    table = integer_model(graph(square_as_table, x.shape), calibration, input_precision=24,
                          operator_precisions={"composition": 16})
    assert operators(product.module)[-1] == "broadcast_mul"
    errors = [relative_error(model(x), x * x) for model in (product, table)]
    assert errors[0] < 0.0005 and errors[1] > 2 * errors[0]


@pytest.mark.parametrize("threshold, value, expected", [(0.3, 0.3, ["clamp"]), (0.0, 0.0, ["relu"])])
def test_a_threshold_that_is_its_value_is_a_bound(threshold, value, expected):
    """Oracle: torch's threshold."""
    module, x = unary(aten.threshold.default, threshold, value), draw(2, 3, 4, 5)
    assert operators(rewritten(module)) == expected
    assert_same_values(module, rewritten(module), x, tolerance=0)


@pytest.mark.parametrize("target, arguments", [(aten.threshold.default, (0.3, 0.2)), (aten.hardshrink.default, (0.0,)),
                                               (aten.softplus.default, (1.0, 20.0))])
def test_rewrite_leaves_the_others(target, arguments):
    assert_untouched(unary(target, *arguments), draw(2, 3, 4, 5))


REFUSED = [(aten.pow.Tensor_Scalar, (math.inf,), "its number is inf"), (aten.elu.default, (math.nan,), "number is nan"),
           (aten.softplus.default, (0.0,), "its beta is 0"), (mrt.smooth_l1.default, (math.inf,), "its number is inf"),
           (aten.threshold.default, (-math.inf, 0.0), "its number is -inf")]


@pytest.mark.parametrize("target, arguments, reason", REFUSED)
def test_refusals(target, arguments, reason):
    with pytest.raises(UnsupportedOperatorError, match=reason):
        prepare(unary(target, *arguments))


FUNCTIONS = [target for target, transformer in TRANSFORMERS if isinstance(transformer, Activation)]


@pytest.mark.parametrize("target", FUNCTIONS, ids=str)
def test_every_function_says_what_it_is(target):
    """Oracle: the contract of a Transformer."""
    transformer = TRANSFORMERS[target]
    assert transformer.__doc__ and transformer.op_name not in ("none", "Activation")
    assert {"cvm_lut", "broadcast_add"} <= set(transformer.cvm_operators)
    assert all(transformer.has_pass(name) for name in ("validate", "rewrite", "fuse_transpose", "calculate_ops",
                                                       "quantize", "prepare_for_compile", "compile"))


def test_names_are_unique():
    """Precisions are set by name. Oracle: the number of functions."""
    assert len({TRANSFORMERS[target].op_name for target in FUNCTIONS}) == len(FUNCTIONS)


@pytest.mark.parametrize("name", ["silu", "erf"])
def test_operations(name):
    """mrt-core 8: the output elements."""
    module = unary(BOUNDED[name][0])
    assert apply_pass("calculate_ops", next(n for n in module.graph.nodes if n.op == "call_function")) == 120


@pytest.mark.parametrize("name", ["gelu", "softplus"])
def test_zeros(name):
    """One entry, f(0)."""
    x = torch.zeros(2, 3, dtype=torch.float64)
    model = integer_model(unary(*BOUNDED[name], shape=x.shape), x)
    assert len(table_of(model)) == 1
    assert_within(model(x), BOUNDED[name][0](x), 1e-12)
