"""Factors move from layer to layer, exactly, and only where they may."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mrt_torch.calibration.features import AFeature, ALFeature, MMLFeature
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import shape_of, tensor_of
from mrt_torch.graph.facts import source_name
from mrt_torch.passes import prepare
from mrt_torch.passes.channel_scales import LARGEST_FACTOR
from mrt_torch.passes.equalize_channels import rescale_features
from tests.mrt_torch.ops.graphs import aten, draw, graph, operators
from tests.mrt_torch.passes.channel_graphs import (
    assert_equal_in_float,
    conv,
    equalized,
    features_of,
    leaky,
    linear,
    node_named,
    reasons,
)

IMAGE = (2, 3, 8, 8)
DATA = draw(6, *IMAGE[1:], seed=4, magnitude=2.0)


def chain(between, last=None, spread: float = 5.0, **options):
    """conv(3 -> 4), ``between``, and a convolution, or what ``last`` makes."""
    def build(e, x):
        x = between(e, conv(e, x, 4, spread=spread, name="first", **options))
        return conv(e, x, 5, padding=1, seed=2, name="second") if last is None else last(e, x)
    return graph(build, IMAGE)


def relu(e, x):
    return e.call(aten.relu.default, x)


def flat(e, x):
    return e.call(aten.flatten.using_ints, x, 1, -1)


PATHS = {
    "relu": relu,
    "nothing": lambda e, x: x,
    "leaky": leaky,
    "prelu": lambda e, x: e.call(aten.sub.Tensor, relu(e, x), e.call(
        aten.mul.Tensor, relu(e, e.call(aten.neg.default, x)), e.constant("slope", draw(1, 4, 1, 1)))),
    "scaled": lambda e, x: e.call(aten.div.Scalar, e.call(aten.mul.Scalar, relu(e, x), -2.0), 3.0),
    "abs": lambda e, x: e.call(aten.abs.default, x),
    "max pooling": lambda e, x: e.call(aten.max_pool2d.default, relu(e, x), [3, 3], [2, 2], [1, 1], [1, 1], True),
    "average pooling": lambda e, x: e.call(aten.conv2d.default, relu(e, x), e.constant("avg", torch.full(
        (4, 1, 2, 2), 0.25, dtype=torch.float64)), None, [2, 2], [1, 1], [1, 1], 4),
    "offset": lambda e, x: relu(e, e.call(aten.add.Tensor, x, e.constant("offset", draw(4, 1, 1)))),
    "bounds": lambda e, x: e.call(aten.maximum.default, e.constant("low", draw(1, 4, 1, 1) / 9), x),
    "padded": lambda e, x: e.call(aten.constant_pad_nd.default, relu(e, x), [1, 2, 0, 1], 0.0),
    "gated": lambda e, x: e.call(aten.mul.Tensor, relu(e, x), e.call(aten.sigmoid.default, e.constant(
        "gate", draw(1, 1, 6, 6)))),
    "part": lambda e, x: e.call(aten.slice.Tensor, relu(e, x), 1, 1, 3, 1),
    "both signs": lambda e, x: e.call(aten.cat.default, [relu(e, x), relu(e, e.call(aten.neg.default, x))], 1),
    "nearest": lambda e, x: e.call(aten.upsample_nearest2d.default, x, [12, 12]),
    "residual of itself": lambda e, x: e.call(aten.add.Tensor, x, relu(e, x)),
}


@pytest.mark.parametrize("name", PATHS)
def test_operators_that_commute(name):
    """Both rules fire and change no value. Oracle: the graph before."""
    module = chain(PATHS[name])
    features = features_of(module, DATA)
    for arguments, options in (((), {}), ((features,), {}), ((features,), {"exponent": 1.0})):
        result, report, firings = equalized(module, *arguments, **options)
        assert firings == 1, reasons(report)
        assert_equal_in_float(module, result)
        assert operators(result) == operators(module)


@pytest.mark.parametrize("between", [flat, lambda e, x: flat(e, e.call(aten.mean.dim, x, [2, 3], True)),
                                     lambda e, x: e.call(aten.amax.default, x, [3, 2], False),
                                     lambda e, x: e.call(aten.reshape.default, x, [-1, 4 * 36])])
def test_channels_become_inputs_of_a_dense_layer(between):
    """Each channel is H * W consecutive inputs, and then one again. Oracle: the graph before, and its features."""
    def last(e, x):
        return linear(e, relu(e, linear(e, x, 6, seed=3, name="hidden")), 2, name="head")

    module = chain(lambda e, x: between(e, relu(e, x)), last)
    features = features_of(module, DATA)
    result, report, firings = equalized(module, features, exponent=0.5)
    assert firings == 2
    assert_equal_in_float(module, result)
    assert_same_features(rescale_features(features, report.scales), features_of(result, DATA))


@pytest.mark.parametrize("options", [{"kernel": 1}, {"kernel": 3, "stride": 2}, {"kernel": 5, "padding": 2},
                                     {"kernel": 3, "bias": False}])
@pytest.mark.parametrize("groups", [(1, 4), (1, 2), (3, 1)])
def test_kernels_strides_paddings_and_groups(options, groups):
    """Grouped and depthwise layers on either side. Oracle: the graph before."""
    def build(e, x):
        x = relu(e, conv(e, x, 12, groups=groups[0], spread=4.0, **options))
        return conv(e, x, 8, groups=groups[1], padding=1, stride=2, seed=2)

    module = graph(build, (2, 3, 9, 9))
    features = features_of(module, draw(4, 3, 9, 9, seed=3))
    for arguments in ((), (features,)):
        result, _, firings = equalized(module, *arguments)
        assert firings == 1
        assert_equal_in_float(module, result)


def separable(e, x):
    """Pointwise and depthwise layers in turns, as in a MobileNet."""
    for index, stride in enumerate((1, 2, 1)):
        x = leaky(e, conv(e, x, 8, kernel=1, seed=10 * index + 1, spread=3.0, name=f"pointwise{index}"))
        x = leaky(e, conv(e, x, 8, stride=stride, padding=1, groups=8, seed=10 * index + 2, spread=3.0,
                          name=f"depthwise{index}"))
    return linear(e, flat(e, e.call(aten.mean.dim, x, [2, 3], True)), 3, name="head")


def test_weights_on_both_sides_become_alike():
    """Data-free rule on a chain: r / w is one number for all channels of a path. Oracle: the weights read."""
    module = graph(separable, IMAGE)
    result, _, firings = equalized(module)
    assert firings == 6
    assert_equal_in_float(module, result)

    def weight(name):
        return tensor_of(result, node_named(result, name).args[1]).abs()
    for index in range(3):
        ratio = weight(f"pointwise{index}").flatten(1).amax(1) / weight(f"depthwise{index}").flatten(1).amax(1)
        assert float(ratio.max() / ratio.min()) - 1 < 1e-3  # sweeps end at factors of 1e-5, over two layers
    ratio = weight("depthwise2").flatten(1).amax(1) / weight("head").amax(0)
    assert float(ratio.max() / ratio.min()) - 1 < 1e-3


def test_ranges_become_equal():
    """Exponent 1: each channel that a layer reads has the largest range there was. Oracle: calibration."""
    module = graph(separable, IMAGE)
    features = features_of(module, DATA)
    result, _, _ = equalized(module, features, exponent=1.0)
    after = features_of(result, DATA)
    for layer in (node for node in result.graph.nodes if node.target is aten.conv2d.default):
        if layer.args[0].op == "placeholder":
            continue
        name = layer.args[0].name
        largest = torch.tensor(after[name].get()).abs().amax(0)
        assert float((largest / features[name].get_threshold() - 1).abs().max()) < 1e-9


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_channel_takes_up_its_share_of_the_range(share):
    """Raised channels end at the share, the others and the tensor's range stay. Oracle: calibration."""
    module = chain(leaky)
    features = features_of(module, DATA)
    result, report, _ = equalized(module, features, share=share)
    name = node_named(result, "second").args[0].name
    before, after = (torch.tensor(found[name].get(), dtype=torch.float64)
                     for found in (features, features_of(result, DATA)))
    torch.testing.assert_close(torch.stack([after[0].min(), after[1].max()]),
                               torch.stack([before[0].min(), before[1].max()]))
    reach = torch.maximum(before[0] / before[0].min(), before[1] / before[1].max())
    found = torch.maximum(after[0] / before[0].min(), after[1] / before[1].max())
    torch.testing.assert_close(found, reach.clamp(min=share))
    torch.testing.assert_close(report.scales[name], (reach / share).clamp(max=1.0))


@pytest.mark.parametrize("options", [{}, {"share": 0.25}, {"exponent": 0.0}, {"exponent": 0.5}, {"exponent": 1.0},
                                     None])
def test_the_fixed_point_is_reached_at_once(options):
    """What was equalized is left alone. Oracle: no firing."""
    module = graph(separable, IMAGE)
    features = features_of(module, DATA)
    arguments = () if options is None else (features,)
    result, report, firings = equalized(module, *arguments, **options or {})
    arguments = () if options is None else (rescale_features(features, report.scales),)
    assert firings == 6
    assert equalized(result, *arguments, **options or {})[2] == 0


def assert_same_features(found, expected, tolerance: float = 1e-9):
    assert found.keys() == expected.keys()
    for name, feature in found.items():
        bound = tolerance * max(expected[name].get_threshold(), 1e-9)
        assert float((torch.tensor(feature.get()) - torch.tensor(expected[name].get())).abs().max()) <= bound, name


def test_names_stay_and_features_follow():
    """Oracle: calibration of the equalized graph, by the same names."""
    module = graph(separable, IMAGE)
    features = features_of(module, DATA)
    result, report, _ = equalized(module, features)
    assert {node.name for node in result.graph.nodes} == {node.name for node in module.graph.nodes}
    assert {source_name(node) for node in result.graph.nodes} == {source_name(node) for node in module.graph.nodes}
    assert_same_features(rescale_features(features, report.scales), features_of(result, DATA))


def test_features_of_channels_follow_and_those_of_tensors_are_refused():
    scales = {"a": torch.tensor([2.0, 0.5])}
    found = rescale_features({"a": ALFeature([4.0, 1.0]), "b": AFeature(3.0)}, scales)
    assert (found["a"].get(), found["b"].get()) == ((2.0, 2.0), 3.0)
    for feature in (AFeature(4.0), MMLFeature([0.0], [1.0])):
        with pytest.raises(InvalidArgumentError, match="cannot follow"):
            rescale_features({"a": feature}, scales)


def test_several_consumers_are_all_scaled():
    """Two branches, one of them through a pooling. Oracle: the graph before."""
    def last(e, x):
        left = conv(e, x, 2, seed=2)
        right = conv(e, e.call(aten.max_pool2d.default, x, [2, 2], [1, 1], [0, 0], [1, 1], False), 3, kernel=2, seed=3)
        return left, right

    module = chain(relu, last)
    result, _, firings = equalized(module, features_of(module, DATA))
    assert firings == 1
    assert_equal_in_float(module, result)


def test_each_part_of_a_concatenation_has_factors_of_its_own():
    """As in a SqueezeNet; the input itself, a third part, stays. Oracles: the graph before, and its features."""
    def build(e, x):
        parts = [relu(e, conv(e, x, 4, padding=1, spread=3.0, seed=seed)) for seed in (1, 2)]
        return conv(e, relu(e, e.call(aten.cat.default, [parts[0], x, parts[1]], 1)), 5, seed=3)

    module = graph(build, IMAGE)
    features = features_of(module, DATA)
    for options in ({}, {"exponent": 1.0}):
        result, report, firings = equalized(module, features, **options)
        assert firings == 2
        assert_equal_in_float(module, result)
        assert_same_features(rescale_features(features, report.scales), features_of(result, DATA))


def test_a_shared_constant_is_copied():
    """Two layers read one weight; only one of them is before the path. Oracles: the graph before, and its tensors."""
    def build(e, x):
        weight, bias = e.constant("w", draw(3, 3, 3, 3) * torch.tensor([1.0, 9.0, 30.0]).reshape(-1, 1, 1, 1)), None
        first = e.call(aten.conv2d.default, x, weight, bias, [1, 1], [1, 1], [1, 1], 1)
        return e.call(aten.conv2d.default, relu(e, first), weight, bias, [1, 1], [1, 1], [1, 1], 1)

    module = graph(build, IMAGE)
    before = module.w.clone()
    result, _, firings = equalized(module, features_of(module, DATA))
    assert firings == 1
    assert torch.equal(module.w, before)
    assert_equal_in_float(module, result)


SIGMOID = aten.sigmoid.default
NEAR_MISSES = {
    "sigmoid": (lambda e, x: e.call(SIGMOID, x), None, "does not commute"),
    "output": (relu, lambda e, x: (conv(e, x, 2, seed=2), x), "output of the graph"),
    "no layer reads it": (relu, lambda e, x: e.call(aten.softmax.int, x, 1), "does not commute"),
    "product with itself": (lambda e, x: e.call(aten.mul.Tensor, x, x), None, "with itself"),
    "quotient": (lambda e, x: e.call(aten.div.Tensor, e.constant("one", draw(1, 4, 1, 1)), x), None, "divides by it"),
    "number added": (lambda e, x: e.call(aten.add.Scalar, x, 1.0), None, "does not commute"),
    "mean over channels": (lambda e, x: e.call(aten.mean.dim, x, [1], True), None, "reduces over channels"),
    "channels moved": (lambda e, x: e.call(aten.permute.default, x, [0, 2, 1, 3]), None, "another axis"),
    "channels mixed": (lambda e, x: e.call(aten.reshape.default, x, [-1, 3, 48, 1]),
                       lambda e, x: conv(e, x, 2, kernel=1, seed=2), "mixes channels"),
    "border of ones": (lambda e, x: e.call(aten.constant_pad_nd.default, x, [1, 1, 1, 1], 1.0), None,
                       "other than zero"),
    "different channels added": (lambda e, x: e.call(aten.add.Tensor, x, e.call(aten.cat.default, [
        e.call(aten.slice.Tensor, x, 1, 1, 4, 1), e.call(aten.slice.Tensor, x, 1, 0, 1, 1)], 1)), None,
        "joins different channels"),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses(name):
    """The first layer is left as it is, with the reason; so its weight stays the same tensor."""
    between, last, reason = NEAR_MISSES[name]
    module = chain(between, last)
    for arguments in ((), (features_of(module, DATA),)):
        result, report, firings = equalized(module, *arguments)
        assert firings == 0
        assert any(reason in found for found in reasons(report)), reasons(report)
        assert result.w1 is module.w1


def test_a_residual_sum_is_a_near_miss():
    def build(e, x):
        x = conv(e, x, 4, padding=1, spread=3.0)
        return conv(e, e.call(aten.add.Tensor, relu(e, x), conv(e, relu(e, x), 4, padding=1, seed=2)), 3, seed=3)

    module = graph(build, IMAGE)
    _, report, firings = equalized(module)
    assert (firings, sum("from elsewhere" in found for found in reasons(report))) == (0, 2)


def test_a_computed_weight_is_a_near_miss():
    """A path that ends as another layer's weight has nowhere to leave its factors."""
    def last(e, x):
        weight = e.call(aten.reshape.default, e.call(aten.slice.Tensor, x, 0, 0, 1, 1), [36, 4])
        return e.call(aten.linear.default, e.constant("rows", draw(2, 4)), weight, None)

    assert equalized(chain(relu, last))[2] == 0


def test_layers_without_a_range_a_channel_are_left():
    module = chain(relu)
    features = features_of(module, DATA)
    name = node_named(module, "second").args[0].name
    for feature in ({}, {name: AFeature(2.0)}, {name: MMLFeature([0.0], [1.0])}):
        found = {key: value for key, value in features.items() if key != name} | feature
        _, report, firings = equalized(module, found)
        assert firings == 0 and any("no range for each channel" in reason for reason in reasons(report))


def clamp(low, high):
    return lambda e, x: e.call(aten.clamp.default, x, low, high, name="clamped")


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0.0, 6.0, ["relu", "neg", "maximum", "neg"]), (-1.0, 1.0, ["maximum", "neg", "maximum", "neg"]),
    (None, 2.0, ["neg", "maximum", "neg"]), (0.5, None, ["maximum"]), (0.0, None, ["relu"])])
def test_a_clamp_has_bounds_for_each_channel(low, high, expected):
    """As of ReLU6; exact, also for values beyond the bounds. Oracle: the graph before."""
    module = chain(clamp(low, high), spread=50.0)
    for arguments in ((), (features_of(module, DATA),)):
        result, report, firings = equalized(module, *arguments)
        assert firings == 1
        assert operators(result) == ["conv2d", *expected, "conv2d"]
        assert_equal_in_float(module, result)
        assert [node.name for node in result.graph.nodes if node.op == "call_function"][-2] == "clamped"
        assert len(report.uncalibrated) == len(expected) - 1
        again = prepare(result)  # the bounds are constants of the path now
        assert equalized(again, *[features_of(again, DATA) for _ in arguments])[2] == 0


def test_bounds_that_no_value_reaches_may_go():
    """ReLU6 below which everything stays becomes a relu, one that is reached keeps its bound. Oracle: the graph
    before, on the calibration data."""
    for high, expected in ((1e4, ["relu"]), (1.0, ["relu", "neg", "maximum", "neg"])):
        module = chain(clamp(0.0, high), spread=50.0)
        result, report, firings = equalized(module, features_of(module, DATA), clamps="unreached")
        assert firings == 1 and operators(result)[1:-1] == expected
        torch.testing.assert_close(result(DATA)[0], module(DATA)[0])
        assert bool(report.uncalibrated) == (high == 1.0)


def test_clamps_may_be_kept():
    module = chain(clamp(0.0, 6.0))
    _, report, firings = equalized(module, clamps="keep")
    assert firings == 0 and any("bounds for all channels" in reason for reason in reasons(report))


def test_channels_that_are_zero_or_that_nothing_reads():
    """They get finite factors, and the others what they get without them. Oracle: the graph before."""
    def build(e, x):
        first = draw(4, 3, 3, 3) * torch.tensor([1.0, 0.0, 20.0, 5.0]).reshape(-1, 1, 1, 1)
        second = draw(5, 4, 3, 3, seed=1) * torch.tensor([1.0, 1.0, 1.0, 0.0]).reshape(1, -1, 1, 1)
        x = e.call(aten.conv2d.default, x, e.constant("w1", first), None)
        return e.call(aten.conv2d.default, relu(e, x), e.constant("w2", second), None)

    module = graph(build, IMAGE)
    features = features_of(module, DATA)
    for arguments, options in (((), {}), ((features,), {}), ((features,), {"exponent": 0.5})):
        result, report, firings = equalized(module, *arguments, **options)
        assert firings == 1 and all(bool(torch.isfinite(scale).all()) for scale in report.scales.values())
        assert_equal_in_float(module, result)


def test_a_silent_channel_does_not_take_the_bits_of_weights():
    """A channel that calibration never saw, with large weights behind it: they end no larger than the others'."""
    def build(e, x):
        first = draw(3, 3, 3, 3) * torch.tensor([10.0, 0.0, 1.0]).reshape(-1, 1, 1, 1)
        second = draw(5, 3, 3, 3, seed=1) * torch.tensor([0.1, 50.0, 1.0]).reshape(1, -1, 1, 1)
        x = e.call(aten.conv2d.default, x, e.constant("w1", first), None)
        return e.call(aten.conv2d.default, relu(e, x), e.constant("w2", second), None)

    module = graph(build, IMAGE)
    result, _, _ = equalized(module, features_of(module, DATA))
    weight = tensor_of(result, [node for node in result.graph.nodes if node.target is aten.conv2d.default][1].args[1])
    peaks = weight.abs().amax((0, 2, 3))
    assert float(peaks[1]) <= 1.001 * float(peaks[[0, 2]].max())


@pytest.mark.parametrize("options", [{"exponent": 1.5}, {"share": 0.0}, {"clamps": "drop"}, {"clamps": "unreached"},
                                     {"sample": DATA}])
def test_wrong_arguments(options):
    with pytest.raises(InvalidArgumentError):
        equalized(chain(relu), **options)


LAYERS = st.lists(st.tuples(st.sampled_from(["full", "depthwise", "grouped"]), st.sampled_from([1, 3]),
                            st.sampled_from(["relu", "leaky", "clamp", "pool", "nothing", "abs", "scale"])),
                  min_size=2, max_size=5)


@settings(deadline=None, max_examples=40)
@given(layers=LAYERS, exponent=st.sampled_from([None, 0.0, 0.5, 1.0]), with_features=st.booleans(),
       seed=st.integers(0, 1000))
@example(layers=[("depthwise", 3, "pool"), ("grouped", 1, "relu"), ("full", 1, "relu")], exponent=None,
         with_features=True, seed=305)  # the factor of a channel ends at its bound
def test_random_chains(layers, exponent, with_features, seed):
    """Equal in float, features follow, and nothing is left to do. Oracle: the graph before.

    But for channels whose factor is as far from 1 as a factor may be: a second pass would go on there.
    """
    between = {"relu": relu, "leaky": leaky, "clamp": clamp(0.0, 2.0), "nothing": lambda e, x: x,
               "abs": PATHS["abs"], "scale": PATHS["scaled"],
               "pool": lambda e, x: e.call(aten.max_pool2d.default, x, [3, 3], [1, 1], [1, 1], [1, 1], False)}

    def build(e, x):
        for index, (kind, kernel, activation) in enumerate(layers):
            groups = {"full": 1, "depthwise": shape_of(x)[1], "grouped": 2}[kind]
            x = conv(e, x, 4, kernel=kernel, padding=kernel // 2, groups=groups, seed=seed + index, spread=4.0)
            x = between[activation](e, x) if index < len(layers) - 1 else x
        return x

    module = graph(build, (1, 4, 5, 5))
    data = draw(4, 4, 5, 5, seed=seed, magnitude=2.0)
    features = features_of(module, data) if with_features else None
    result, report, _ = equalized(module, features, exponent=exponent)
    assert_equal_in_float(module, result, tolerance=1e-11)
    after = features_of(result, data)
    rescaled = rescale_features(features_of(module, data), report.scales)
    assert_same_features(rescaled, {name: after[name] for name in rescaled})
    assert after.keys() - rescaled.keys() == set(report.uncalibrated)
    ends = torch.tensor([LARGEST_FACTOR, 1 / LARGEST_FACTOR], dtype=torch.float64)
    if not any(bool(torch.isin(scales, ends).any()) for scales in report.scales.values()):
        assert equalized(result, after if with_features else None, exponent=exponent)[2] == 0
