"""Factors are chosen by what they do to layers that new data runs through."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import tensor_of
from mrt_torch.passes.channel_paths import find_channel_paths
from mrt_torch.passes.channel_scale_choice import CHOICES, FREE, choose_scales
from tests.mrt_torch.ops.graphs import aten, graph
from tests.mrt_torch.passes.channel_graphs import assert_equal_in_float, conv, equalized, features_of

IMAGE = (2, 3, 12, 12)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


DATA = normal(24, *IMAGE[1:], seed=1)


def network(scales: torch.Tensor, groups: int = 1):
    """Two layers of 8 channels, whose first one's channels are ``scales`` times as large, undone in the second."""
    def build(e, x):
        column = scales.to(torch.float64)
        x = e.call(aten.conv2d.default, x, e.constant("w1", normal(8, 3, 3, 3, seed=2) * column.reshape(-1, 1, 1, 1)),
                   e.constant("b1", normal(8, seed=3) * column), name="first")
        weight = normal(6 if groups == 1 else 8, 8 // groups, 3, 3, seed=4)
        weight = weight / (column.reshape(1, -1, 1, 1) if groups == 1 else column.reshape(-1, 1, 1, 1))
        return e.call(aten.conv2d.default, e.call(aten.relu.default, x), e.constant("w2", weight), None, [1, 1],
                      [0, 0], [1, 1], groups, name="second")
    return graph(build, IMAGE)


def relative_error(module, x) -> float:
    """Of the second layer with its operand in 8 bits of the range of 12 examples, on 12 others."""
    (path,), _ = find_channel_paths(module)
    (layer,) = path.consumers
    hidden = torch.nn.functional.relu(torch.nn.functional.conv2d(
        x, tensor_of(module, path.producer.args[1]), tensor_of(module, path.producer.args[2])))
    step = float(hidden[:12].max()) / 254
    rounded = (hidden[12:] / step).round().clamp(0, 254) * step
    weight = tensor_of(module, layer.args[1])
    expected, found = (torch.nn.functional.conv2d(value, weight) for value in (hidden[12:], rounded))
    return float((found - expected).norm() / expected.norm())


def test_unequal_channels_are_made_alike():
    """Half of them 100 times as large: the error falls to that of the plain network. Oracle: rounding by hand."""
    plain, unequal = network(torch.ones(8)), network(torch.tensor([1.0, 100.0]).repeat(4))
    result, _, firings = equalized(unequal, features_of(unequal, DATA), sample=DATA)
    assert firings == 1
    assert_equal_in_float(unequal, result)
    errors = [relative_error(module, DATA) for module in (plain, unequal, result)]
    assert errors[1] > 20 * errors[0] and errors[2] < 1.5 * errors[0]


def test_equal_channels_are_left():
    """A near miss: what is gained is less than a tenth."""
    module = network(torch.ones(8))
    paths, _ = find_channel_paths(module)
    assert choose_scales(module, paths, DATA, weight_bits=8) == [None]


def test_a_depthwise_layer_absorbs_any_factor():
    module = network(torch.ones(8), groups=8)
    paths, _ = find_channel_paths(module)
    assert choose_scales(module, paths, DATA, weight_bits=8) == [FREE]


def test_the_choice_is_one_of_the_list_and_the_same_again():
    module = network(torch.linspace(1, 60, 8))
    paths, _ = find_channel_paths(module)
    first = choose_scales(module, paths, DATA, weight_bits=4)
    assert first == choose_scales(module, paths, DATA, weight_bits=4) and first[0] in CHOICES


def test_channels_of_a_concatenation_and_of_a_dense_layer():
    """Several paths into one layer, and a flattened one. Oracle: the graph before."""
    def build(e, x):
        parts = [e.call(aten.relu.default, conv(e, x, 4, seed=seed, spread=8.0)) for seed in (1, 2)]
        x = conv(e, e.call(aten.cat.default, parts, 1), 4, stride=3, seed=3, spread=8.0)
        x = e.call(aten.flatten.using_ints, e.call(aten.relu.default, x), 1, -1)
        return e.call(aten.linear.default, x, e.constant("w", normal(3, x.meta["val"].shape[1], seed=5)), None)

    module = graph(build, IMAGE)
    result, _, firings = equalized(module, features_of(module, DATA), sample=DATA)
    assert firings
    assert_equal_in_float(module, result)


def test_few_examples_are_refused():
    module = network(torch.ones(8))
    with pytest.raises(InvalidArgumentError, match="8 examples"):
        equalized(module, features_of(module, DATA), sample=DATA[:7])
