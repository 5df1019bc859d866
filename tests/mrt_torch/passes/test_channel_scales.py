"""The rules that factors follow."""

from __future__ import annotations

import torch

from mrt_torch.calibration.features import MMLFeature
from mrt_torch.passes.channel_paths import FOREIGN, find_channel_paths
from mrt_torch.passes.channel_scales import (
    LARGEST_FACTOR,
    PathRanges,
    by_owner,
    largest_by_column,
    scales_from_weights,
)
from tests.mrt_torch.ops.graphs import aten, graph


def two_layers(first: torch.Tensor, second: torch.Tensor, groups: int = 1):
    """A 1x1 convolution, relu and another: the weights' rows and columns are the numbers given."""
    def build(e, x):
        x = e.call(aten.conv2d.default, x, e.constant("w1", first.to(torch.float64)[:, :, None, None]), None)
        return e.call(aten.conv2d.default, e.call(aten.relu.default, x), e.constant(
            "w2", second.to(torch.float64)[:, :, None, None]), None, [1, 1], [0, 0], [1, 1], groups)
    return graph(build, (1, first.shape[1], 2, 2))


FIRST = torch.tensor([[4.0, 1.0], [-0.25, 0.0], [1.0, -1.0]])
SECOND = torch.tensor([[1.0, -4.0, 0.5], [0.0, 1.0, 0.25]])


def path_of(module):
    (path,), _ = find_channel_paths(module)
    return path


def ranges_of(module, lows, highs):
    path = path_of(module)
    return PathRanges(module, path, {path.consumers[0].args[0].name: MMLFeature(lows, highs)})


def test_weights_by_the_formula():
    """s = sqrt(r / w) up to one factor. Oracle: by hand, r = 4, 1/4, 1 and w = 1, 4, 1/2."""
    module = two_layers(FIRST, SECOND)
    (scale,) = scales_from_weights(module, [path_of(module)], 0.5)
    expected = torch.tensor([4.0, 1 / 16, 2.0], dtype=torch.float64).sqrt()
    torch.testing.assert_close(scale / scale[0], expected / expected[0], rtol=1e-4, atol=0)
    torch.testing.assert_close(scale.log().mean(), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-9)


def test_a_factor_has_a_limit():
    module = two_layers(torch.tensor([[1e9], [1e-9]]), torch.ones(1, 2))
    (scale,) = scales_from_weights(module, [path_of(module)], 1.0)
    assert scale.tolist() == [LARGEST_FACTOR, 1 / LARGEST_FACTOR]
    assert ranges_of(module, [0, 0], [1e9, 1.0]).raised(1.0).tolist() == [1.0, 1 / LARGEST_FACTOR]


def test_shares_of_the_range_above_and_below_zero():
    """The range is -4 .. 2: each side by itself. Oracle: by hand."""
    ranges = ranges_of(two_layers(FIRST, SECOND), [-4.0, -1.0, 0.0], [0.0, 0.125, 2.0])
    assert ranges.reach.tolist() == [1.0, 0.25, 1.0]
    assert ranges.raised(0.5).tolist() == [1.0, 0.5, 1.0]


def test_exponents_by_the_formula():
    """Oracle: by hand. Products of weight and range: rows 8, 4, 1 and 0, 1, 1/2, so w = 1/8, 1, 1/4."""
    ranges = ranges_of(two_layers(FIRST, SECOND), [0.0] * 3, [8.0, 1.0, 2.0])
    torch.testing.assert_close(ranges.read, torch.tensor([1 / 8, 1.0, 1 / 4], dtype=torch.float64))
    torch.testing.assert_close(ranges.powered(1.0), torch.tensor([1.0, 1 / 8, 1 / 4], dtype=torch.float64))
    # s = 1 / w = 8, 1, 4: ranges over them 1, 1, 1/2, of which the largest is to be 8.
    torch.testing.assert_close(ranges.powered(0.0), torch.tensor([1.0, 1 / 8, 1 / 2], dtype=torch.float64))


def test_factors_of_the_layer_before_do_not_count():
    """Planted factors p are found again, s = p * s', up to the one that leaves the largest range. Oracle: the rule."""
    planted = torch.tensor([1.0, 50.0, 0.1])
    plain = ranges_of(two_layers(FIRST, SECOND), [0.0] * 3, [8.0, 1.0, 2.0])
    moved = ranges_of(two_layers(FIRST * planted[:, None], SECOND / planted), [0.0] * 3,
                      (torch.tensor([8.0, 1.0, 2.0]) * planted).tolist())
    for exponent in (0.0, 0.5, 1.0):
        ratio = moved.powered(exponent) / planted / plain.powered(exponent)
        torch.testing.assert_close(ratio, ratio[:1].expand(3), rtol=1e-6, atol=0)


def test_columns_of_groups_and_owners():
    """Oracle: by hand."""
    module = two_layers(torch.ones(4, 2), torch.tensor([[1.0, -2.0], [3.0, 4.0]]), groups=2)
    layer = path_of(module).consumers[0]
    assert largest_by_column(module, layer).tolist() == [[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 3.0, 4.0]]
    owners = torch.tensor([1, FOREIGN, 1, 0])
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert by_owner(values, owners, 3, "amax").tolist() == [[4.0, 3.0, 0.0, 2.0]]
    assert by_owner(values, owners, 3, "sum").tolist() == [[4.0, 4.0, 0.0, 2.0]]
    assert by_owner(values, torch.arange(4), 4, "amax").tolist() == [[1.0, 2.0, 3.0, 4.0, 0.0]]


def test_nothing_but_zeros():
    """No range, no factor."""
    ranges = ranges_of(two_layers(FIRST, SECOND), [0.0] * 3, [0.0] * 3)
    assert ranges.raised(0.5).tolist() == ranges.powered(0.5).tolist() == [1.0] * 3
    module = two_layers(FIRST * 0, SECOND)
    assert scales_from_weights(module, [path_of(module)], 0.5)[0].tolist() == [1.0] * 3
