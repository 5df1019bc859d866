"""UniformAffine activations. Oracle: float64 on the input that the integers see."""

from __future__ import annotations

import pytest
import torch

from mrt_torch import MMFeature
from mrt_torch.graph.facts import facts_of
from mrt_torch.passes import prepare
from mrt_torch.quantization.calibrated import Calibrated
from tests.mrt_torch.ops.graphs import calibrated_of, draw, graph, integer_model, operators

aten = torch.ops.aten
AFFINE = {"quant_type": "UniformAffine"}
FRACTION = 2.0 ** -11  # of a value: fractions of 12 bits, and scales that differ by as much


def square(e, x, name):
    """x * x, of 30 bits and never below zero."""
    return e.call(aten.mul.Tensor, x, x, name=name)


def negated(e, x, name):
    """-x, which is never above zero."""
    return e.call(aten.neg.default, x, name=name)


def both(e, x):
    return square(e, x, "a"), negated(e, square(e, e.call(aten.add.Scalar, x, 0.25), "b0"), "b")


BINARY = {
    "add": (lambda e, a, b: e.call(aten.add.Tensor, a, b), torch.add, 1),
    "sub": (lambda e, a, b: e.call(aten.sub.Tensor, a, b), torch.sub, 1),
    "maximum": (lambda e, a, b: e.call(aten.maximum.default, a, b), torch.maximum, 2),
    "concat": (lambda e, a, b: e.call(aten.cat.default, [a, b], 1), lambda a, b: torch.cat([a, b], 1), 1),
}


@pytest.mark.parametrize("configured", [("a",), ("b",), ("a", "b")])
@pytest.mark.parametrize("name", BINARY)
def test_operators_of_two_tensors(name, configured):
    """Half a unit for each operand at a scale of 65534 / range, and FRACTION; at most one constant more for each."""
    build, reference, constants = BINARY[name]
    data = draw(3, 4, 5)
    module = graph(lambda e, x: build(e, *both(e, x)), data.shape)
    model = integer_model(module, data, input_precision=12, configuration={node: AFFINE for node in configured})
    plain = integer_model(module, data, input_precision=12)
    seen = model.seen(data)
    first, second = seen ** 2, -(seen + 0.25) ** 2
    expected = reference(first, second)
    error = (model(data) - expected).abs().max()
    assert float(error) <= 1.01 / model.scales[0] + 2 * FRACTION * float(second.abs().max())
    added = operators(model.module).count("broadcast_add") - operators(plain.module).count("broadcast_add")
    assert 0 <= added <= min(constants, len(configured))
    if len(configured) == 2:
        assert added == (constants if name != "add" else added)
        assert model.scales[0] >= 1.9 * plain.scales[0]


@pytest.mark.parametrize("configured", [("a",), ("b",), ("a", "b")])
def test_a_product_of_affine_factors(configured):
    """Half a unit of each factor times the other, and FRACTION; the product has 31 bits at most."""
    data = draw(3, 4, 5)
    module = graph(lambda e, x: e.call(aten.mul.Tensor, *both(e, x), name="product"), data.shape)
    model = integer_model(module, data, input_precision=12, configuration={node: AFFINE for node in configured})
    seen = model.seen(data)
    first, second = seen ** 2, -(seen + 0.25) ** 2
    expected = first * second
    bound = 0.51 * (1 / 32767 + 1 / 16383) * float(first.max()) * float(second.abs().max())
    assert float((model(data) - expected).abs().max()) <= bound + 2 * FRACTION * float(expected.abs().max())
    assert facts_of(model.node("broadcast_mul", -1)).value_range.precision <= 31


@pytest.mark.parametrize("target, reference", [(aten.sum.dim_IntList, torch.sum), (aten.mean.dim, torch.mean)])
def test_a_sum_adds_the_zero_points_once(target, reference):
    """Half a unit of 65534 / range for a term, and FRACTION of the sum. One constant, count * z."""
    data = draw(3, 4, 50)
    module = graph(lambda e, x: e.call(target, square(e, x, "a"), [2], False), data.shape)
    model = integer_model(module, data, input_precision=12, configuration={"a": AFFINE})
    expected = reference(model.seen(data) ** 2, 2)
    count = 50 if target is aten.sum.dim_IntList else 1
    assert operators(model.module)[-2:] == ["sum", "broadcast_add"]
    bound = 0.5 * count / (65534 / float(data.abs().max()) ** 2) * 1.01 + FRACTION * float(expected.max())
    assert float((model(data) - expected).abs().max()) <= bound


@pytest.mark.parametrize("target, reference", [(aten.softmax.int, torch.softmax),
                                               (aten.log_softmax.int, torch.log_softmax)])
def test_a_softmax_drops_the_zero_point(target, reference):
    """softmax(x + c) = softmax(x): the operators are those of symmetric logits. Oracle: float64."""
    data = draw(3, 12, magnitude=2.0)
    module = graph(lambda e, x: e.call(target, e.call(aten.add.Scalar, square(e, x, "a0"), 40.0, name="a"), 1),
                   data.shape)
    model = integer_model(module, data, input_precision=12, configuration={"a": AFFINE}, softmax_lambd=12)
    plain = integer_model(module, data, input_precision=12, softmax_lambd=12)
    assert set(operators(model.module)) <= set(operators(plain.module)) | {"broadcast_sub"}
    expected = reference(model.seen(data) ** 2 + 40, 1)
    scale = float(expected.abs().max())
    assert float((model(data) - expected).abs().max()) <= 0.01 * scale
    assert operators(model.module).count("broadcast_add") <= operators(plain.module).count("broadcast_add")


@pytest.mark.parametrize("build", [
    lambda e, x: e.call(aten.sigmoid.default, square(e, x, "a")),
    lambda e, x: e.call(aten.mul.Tensor, square(e, x, "a"), e.constant("c", draw(1, 4, 1))),
    lambda e, x: e.call(aten.div.Tensor, square(e, x, "a"), e.call(aten.add.Scalar, square(e, x, "d"), 1.0)),
    lambda e, x: e.call(aten.amax.default, square(e, x, "a"), [2], False),
    lambda e, x: e.call(aten.add.Tensor, square(e, x, "a"), e.constant("c", draw(1, 4, 1))),
], ids=["table", "by a constant", "quotient", "max", "with a constant"])
def test_every_operator_stays_right(build):
    """Whatever reads a UniformAffine node or constant gives what it gives by default, to 0.1 % of the largest."""
    data = draw(3, 4, 5)
    module = graph(build, data.shape)
    model = integer_model(module, data, input_precision=12, configuration={"a": AFFINE, "c": AFFINE})
    expected = module(model.seen(data))[0]
    assert float((model(data) - expected).abs().max()) <= 1e-3 * float(expected.abs().max())


@pytest.mark.parametrize("value", [0.0, 0.5, -0.5])
def test_a_tensor_of_one_value(value):
    data = torch.full((3, 4, 5), value, dtype=torch.float64)
    module = graph(lambda e, x: e.call(aten.add.Tensor, square(e, x, "a"), square(e, x, "b")), data.shape)
    model = integer_model(module, data, input_precision=12, configuration={"a": AFFINE, "b": AFFINE})
    assert float((model(data) - 2 * value ** 2).abs().max()) <= 1e-3 * value ** 2


def test_an_affine_range_is_what_was_calibrated():
    """Values beyond it saturate at its ends."""
    data = draw(3, 4, 5)
    module = graph(lambda e, x: e.call(aten.add.Tensor, square(e, x, "a"), square(e, x, "b")), data.shape)
    prepared = prepare(module)
    known = calibrated_of(prepared, data)
    clipped = Calibrated({**known.features, "a": MMFeature(0.0, 0.25), "b": MMFeature(0.0, 0.25)})
    model = integer_model(module, data, clipped, input_precision=12, configuration={"a": AFFINE, "b": AFFINE})
    expected = 2 * (model.seen(data) ** 2).clamp(0, 0.25)
    assert float((model(data) - expected).abs().max()) <= 2 * FRACTION * 0.5
