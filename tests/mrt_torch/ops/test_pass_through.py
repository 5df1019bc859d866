"""Operators that leave each channel its own scale. Oracle: the operator on the integers, and on one scale."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.passes import prepare, quantize
from mrt_torch.quantization import QuantizationSettings, Quantized
from mrt_torch.quantization.channels import ChannelQuantized
from tests.mrt_torch.ops.graphs import assert_within, aten, calibrated_of, draw, graph, integer_model, operators

X = draw(2, 3, 9, 8, seed=3)
FACTORS = torch.tensor([1.0, 30.0, 0.02, 4.0], dtype=torch.float64)

# operator, its arguments, and what it does to integers and to scales
OPERATORS = {
    "relu": (aten.relu.default, (), torch.relu, 1.0),
    "negative": (aten.neg.default, (), torch.neg, 1.0),
    "times 2.5": (aten.mul.Scalar, (2.5,), lambda t: t, 0.4),
    "times -0.1": (aten.mul.Scalar, (-0.1,), torch.neg, 10.0),
    "times 0": (aten.mul.Scalar, (0.0,), torch.zeros_like, None),
    "max pool": (aten.max_pool2d.default, ([3, 2], [2, 2], [1, 0], [1, 1], False),
                 lambda t: torch.nn.functional.max_pool2d(t, (3, 2), (2, 2), (1, 0)), 1.0),
    "max pool, rounded up on one axis": (
        aten.max_pool2d.default, ([3, 3], [2, 2], [0, 0], [1, 1], True),
        lambda t: torch.nn.functional.max_pool2d(t, 3, 2, ceil_mode=True), 1.0),
    "dilated max pool": (aten.max_pool2d.default, ([2, 2], [1, 1], [1, 1], [2, 2], False),
                         lambda t: torch.nn.functional.max_pool2d(t, 2, 1, 1, 2), 1.0),
}


def convolved(e, x):
    weight = draw(4, 3, 2, 2, seed=1) * FACTORS.reshape(-1, 1, 1, 1)
    return e.call(aten.conv2d.default, x, e.constant("w", weight), e.constant("b", draw(4, seed=2)), name="conv")


def network(name):
    target, arguments, *_ = OPERATORS[name]
    return graph(lambda e, x: e.call(target, convolved(e, x), *arguments, name="op"), X.shape)


@pytest.mark.parametrize("name", OPERATORS)
def test_integers_pass_with_their_scales(name):
    """The operator reads the convolution itself; scales of all channels follow a factor. Exact."""
    _, _, on_integers, change = OPERATORS[name]
    prepared, held = prepare(network(name)), {}
    quantize(prepared, calibrated_of(prepared, X), QuantizationSettings(), values=held)
    assert isinstance(held["conv"], ChannelQuantized) and isinstance(held["op"], ChannelQuantized)
    if change is not None:
        assert torch.allclose(held["op"].scales, held["conv"].scales * change, rtol=1e-14)
    values = integer_model(network(name), X).values(X)
    assert torch.equal(values[held["op"].node.name].double(), on_integers(values["conv"].double()))


@pytest.mark.parametrize("name", OPERATORS)
def test_as_at_one_scale(name):
    """Oracle: the operator on the convolution's own 16 bits at one scale. Both lose what that scale loses, once of the
    convolution's range, times the factor, and once of the result's; 3 times as much where channels have few integers.
    """
    target, arguments, *_ = OPERATORS[name]
    first, whole = integer_model(graph(convolved, X.shape), X), integer_model(network(name), X)
    factor = abs(arguments[0]) if target is aten.mul.Scalar else 1.0
    assert_within(whole(X), target(first(X), *arguments), 3 * (first.output_error * factor + whole.output_error))


def test_a_chain_needs_no_rescaling_between():
    """Convolution, relu, pooling, a factor, a sign; then one rescaling into the 8 bits of the next convolution."""
    def build(e, x):
        y = e.call(aten.relu.default, convolved(e, x))
        y = e.call(aten.max_pool2d.default, y, [2, 2], [2, 2], [0, 0], [1, 1], False)
        y = e.call(aten.neg.default, e.call(aten.mul.Scalar, y, 0.5))
        return e.call(aten.conv2d.default, y, e.constant("v", torch.ones(1, 4, 1, 1, dtype=torch.float64)), None)

    model = integer_model(graph(build, X.shape), X)
    assert operators(model.module)[:4] == ["conv2d", "relu", "max_pool2d", "negative"]
    assert operators(model.module).count("broadcast_mul") == 1 and operators(model.module)[-1] == "conv2d"


@pytest.mark.parametrize("target, arguments", [
    (aten.tanh.default, ()), (aten.abs.default, ()), (aten.clamp.default, (-0.5, 0.7)), (aten.mean.dim, ([2, 3], True)),
    (aten.add.Scalar, (0.25,)), (aten.reshape.default, ([-1, 8 * 7 * 4],)), (aten.permute.default, ([0, 2, 3, 1],)),
    (aten.slice.Tensor, (1, 1, 3, 1)), (aten.softmax.int, (1,)), (aten.cat.default, ())])
def test_others_read_one_scale(target, arguments):
    """Oracle: float64. Bound: what one scale of 16 bits loses, 3 times as much for unequal channels, and 1 % of the
    range for what the operators lose themselves; weights are whole 8-bit numbers of each channel, which lose nothing.
    """
    weight = (draw(4, 3, 2, 2, seed=1) * 127).round() / 127
    weight[:, 0, 0, 0] = 1.0

    def build(e, x):
        y = e.call(aten.conv2d.default, x, e.constant("w", weight * FACTORS.reshape(-1, 1, 1, 1)), None)
        return e.call(target, [y, y], 1) if target is aten.cat.default else e.call(target, y, *arguments)

    module = graph(build, X.shape)
    model = integer_model(module, X)
    expected = module(model.seen(X))[0]
    steep = 1.0 if target is not aten.softmax.int else 0.5
    convolution = float(torch.nn.functional.conv2d(model.seen(X), weight * FACTORS.reshape(-1, 1, 1, 1)).abs().max())
    bound = 3 * steep * convolution * (2.0 ** -16 + 2.0 ** -12) + 0.01 * float(expected.abs().max())
    assert_within(model(X), expected, bound)


def test_a_plain_tensor_passes_as_it_is():
    """Where all channels have one scale there is nothing to keep apart."""
    prepared, held = prepare(graph(lambda e, x: e.call(aten.relu.default, x, name="op"), X.shape)), {}
    quantize(prepared, calibrated_of(prepared, X), QuantizationSettings(), values=held)
    assert isinstance(held["op"], Quantized) and held["op"].scale == held["data"].scale
