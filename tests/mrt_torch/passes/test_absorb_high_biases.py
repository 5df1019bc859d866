"""What channels always exceed moves into the next bias: exact on data that keeps to the floors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration.features import AFeature
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import shape_of, tensor_of
from mrt_torch.passes.absorb_high_biases import likely_lowest_values, lowest_values, shift_features
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, operators
from tests.mrt_torch.passes.channel_graphs import (
    absorbed,
    conv,
    features_of,
    leaky,
    linear,
    node_named,
    reasons,
)

IMAGE = (2, 3, 8, 8)
DATA = draw(6, *IMAGE[1:], seed=4)
# Every other channel stays well above zero: |W * x| is 27 at most.
HIGH = torch.tensor([40.0, 0.0, 60.0, -50.0], dtype=torch.float64)


def high(e, x, bias=HIGH, kernel: int = 3, name: str = "first"):
    """A convolution whose channels 0 and 2 never come near zero."""
    shape = (len(bias), shape_of(x)[1], kernel, kernel)
    return e.call(aten.conv2d.default, x, e.constant("w0", draw(*shape)), e.constant("b0", bias), name=name)


def relu(e, x):
    return e.call(aten.relu.default, x)


def chain(between, last=None):
    def build(e, x):
        x = between(e, high(e, x))
        return conv(e, x, 5, seed=2, name="second") if last is None else last(e, x)
    return graph(build, IMAGE)


def assert_absorbed(module, firings: int = 1):
    """It fires; the outputs and the shifted features are those of the graph. Returns the new graph."""
    features = features_of(module, DATA)
    result, report, fired = absorbed(module, lowest_values(features))
    assert fired == firings, reasons(report)
    for rows in (1, 3):
        assert_same_values(module, result, DATA[:rows])
    assert operators(result) == operators(module)
    found, expected = shift_features(features, report.shifts), features_of(result, DATA)
    assert found.keys() == expected.keys()
    for name, feature in found.items():
        assert torch.allclose(torch.tensor(feature.get()), torch.tensor(expected[name].get()), atol=1e-9), name
    return result


def product(e, x, constant):
    return e.call(aten.mul.Tensor, x, e.constant("factor", constant))


PASSED = {
    "relu": relu, "leaky": leaky,
    "prelu": lambda e, x: e.call(aten.sub.Tensor, relu(e, x), product(
        e, relu(e, e.call(aten.neg.default, x)), draw(4, 1, 1))),
    "max pooling": lambda e, x: e.call(aten.max_pool2d.default, relu(e, x), [3, 3], [2, 2], [1, 1], [1, 1], True),
    "factors": lambda e, x: e.call(aten.div.Scalar, e.call(aten.mul.Scalar, product(
        e, relu(e, x), draw(1, 4, 1, 1)), -2.0), 3.0),
    "average pooling": lambda e, x: e.call(aten.conv2d.default, relu(e, x), e.constant("avg", torch.full(
        (4, 1, 2, 2), 0.25, dtype=torch.float64)), None, [2, 2], [0, 0], [1, 1], 4),
    "offset": lambda e, x: e.call(aten.add.Tensor, relu(e, x), e.constant("offset", draw(4, 1, 1))),
    "part": lambda e, x: e.call(aten.slice.Tensor, relu(e, x), 1, 1, 3, 1),
    "both signs": lambda e, x: e.call(aten.cat.default, [relu(e, x), relu(e, e.call(aten.neg.default, x))], 1),
    "nearest": lambda e, x: e.call(aten.upsample_nearest2d.default, x, [12, 12]),
    "relu as clamp": lambda e, x: e.call(aten.clamp.default, x, 0.0, None),
}


@pytest.mark.parametrize("name", PASSED)
def test_operators_that_pass_a_shift_on(name):
    """Oracle: the graph before, on the data of the floors."""
    assert_absorbed(chain(PASSED[name]))


@pytest.mark.parametrize("flatten", [
    lambda e, x: e.call(aten.flatten.using_ints, x, 1, -1),
    lambda e, x: e.call(aten.flatten.using_ints, e.call(aten.mean.dim, x, [2, 3], True), 1, -1),
    lambda e, x: e.call(aten.sum.dim_IntList, x, [2, 3], False)])
def test_a_dense_layer_takes_the_shift_of_every_input(flatten):
    """Oracle: the graph before. Both dense layers' features move too, where they stay above zero."""
    assert_absorbed(chain(lambda e, x: flatten(e, relu(e, x)), lambda e, x: linear(e, x, 3)))


def test_floors_are_zero_and_ranges_are_smaller_afterwards():
    """Oracle: calibration; the biases by hand."""
    module = chain(relu)
    features = features_of(module, DATA)
    result = assert_absorbed(module)
    after = features_of(result, DATA)[node_named(result, "second").args[0].name]
    assert max(after.minima[0], after.minima[2]) < 1e-9
    floors = lowest_values(features)["first"].clamp(min=0)
    weight = tensor_of(module, node_named(module, "second").args[1])
    torch.testing.assert_close(tensor_of(result, node_named(result, "first").args[2]), HIGH - floors)
    torch.testing.assert_close(tensor_of(result, node_named(result, "second").args[2]),
                               tensor_of(module, node_named(module, "second").args[2])
                               + (weight * floors.reshape(1, -1, 1, 1)).sum((1, 2, 3)))
    assert absorbed(result, lowest_values(features_of(result, DATA)))[2] == 0


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_layers_without_a_bias(groups):
    """They get one. Oracle: the graph before."""
    assert_absorbed(chain(relu, lambda e, x: conv(e, x, 8, groups=groups, bias=False, stride=2, seed=2)))


def test_beyond_the_floor_a_value_counts_as_the_floor():
    """The approximation that is documented. Oracle: the layers by hand."""
    module = graph(lambda e, x: conv(e, relu(e, e.call(aten.conv2d.default, x, e.constant("w", torch.ones(
        1, 1, 1, 1, dtype=torch.float64)), e.constant("b", torch.full((1,), 10.0, dtype=torch.float64)))), 1,
        kernel=1, seed=2), (1, 1, 1, 4))
    name = next(node.name for node in module.graph.nodes if node.target is aten.conv2d.default)
    result, _, _ = absorbed(module, {name: torch.tensor([9.0])})
    x = torch.tensor([-20.0, -3.0, -1.0, 5.0], dtype=torch.float64).reshape(1, 1, 1, 4)
    torch.testing.assert_close(result(x)[0], module(x.clamp(min=-1.0))[0])


NEAR_MISSES = {
    "padded layer": (relu, lambda e, x: conv(e, x, 2, padding=1, seed=2), "pads with zeros"),
    "padded average": (lambda e, x: e.call(aten.conv2d.default, relu(e, x), e.constant("avg", torch.full(
        (4, 1, 2, 2), 0.25, dtype=torch.float64)), None, [2, 2], [1, 1], [1, 1], 4), None, "does not pass on"),
    "border": (lambda e, x: e.call(aten.constant_pad_nd.default, relu(e, x), [1, 1, 1, 1], 0.0), None,
               "does not pass on"),
    "bounded": (lambda e, x: e.call(aten.clamp.default, x, 0.0, 6.0), None, "does not pass on"),
    "absolute value": (lambda e, x: e.call(aten.abs.default, x), None, "does not pass on"),
    "maximum": (lambda e, x: e.call(aten.maximum.default, x, e.constant("low", draw(4, 1, 1))), None,
                "does not pass on"),
    "unknown sign": (lambda e, x: relu(e, e.call(aten.add.Tensor, x, e.constant("offset", draw(4, 1, 1)))), None,
                     "does not pass on"),
    "computed factor": (lambda e, x: e.call(aten.mul.Tensor, x, e.call(aten.sigmoid.default, e.constant(
        "gate", draw(1, 4, 1, 1)))), None, "does not pass on"),
    "output": (relu, lambda e, x: (conv(e, x, 2, seed=2), x), "output of the graph"),
    "sigmoid": (lambda e, x: e.call(aten.sigmoid.default, x), None, "does not commute"),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses(name):
    """The layers are left as they are, with the reason."""
    between, last, reason = NEAR_MISSES[name]
    module = chain(between, last)
    result, report, firings = absorbed(module, lowest_values(features_of(module, DATA)))
    assert firings == 0 and result.b0 is module.b0
    assert any(reason in found for found in reasons(report)), reasons(report)


def test_layers_without_floors_or_high_channels_are_left():
    module = chain(relu)
    for floors, reason in (({}, "no floors"), ({"first": torch.tensor([0.0, -1.0, -3.0, -1e9])}, "above zero")):
        _, report, firings = absorbed(module, floors)
        assert firings == 0 and any(reason in found for found in reasons(report))


@pytest.mark.parametrize("floor", [torch.ones(3), torch.full((4,), float("nan"))])
def test_wrong_floors(floor):
    with pytest.raises(InvalidArgumentError, match="floors"):
        absorbed(chain(relu), {"first": floor})


def test_a_feature_of_the_tensor_cannot_follow():
    with pytest.raises(InvalidArgumentError, match="cannot follow"):
        shift_features({"a": AFeature(4.0)}, {"a": torch.tensor([1.0])})
    assert shift_features({"a": AFeature(4.0)}, {"a": torch.tensor([0.0])})["a"].get() == 4.0


def test_floors_from_moments():
    """Oracle: the formula."""
    found = likely_lowest_values({"a": torch.tensor([5.0, 1.0])}, {"a": torch.tensor([1.0, 2.0])})
    assert found["a"].tolist() == [2.0, -5.0]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), between=st.lists(st.sampled_from(sorted(PASSED.keys() - {"nearest", "offset"})),
                                                   min_size=1, max_size=2))
def test_random_chains(seed, between):
    """Whatever fires is equal on the data of the floors. Oracle: the graph before."""
    def build(e, x):
        x = high(e, x, bias=HIGH * draw(4, seed=seed))
        for name in between:
            x = PASSED[name](e, x) if shape_of(x)[1] == 4 and shape_of(x)[2] in (6, 5) else relu(e, x)
        return conv(e, x, 3, kernel=2, seed=seed)

    module = graph(build, IMAGE)
    result, report, _ = absorbed(module, lowest_values(features_of(module, DATA[:2])))
    assert_same_values(module, result, DATA[:2], tolerance=1e-11)
    found = shift_features(features_of(module, DATA[:2]), report.shifts)
    for name, feature in features_of(result, DATA[:2]).items():
        assert torch.allclose(torch.tensor(found[name].get()), torch.tensor(feature.get()), atol=1e-9)
