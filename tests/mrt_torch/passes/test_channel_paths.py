"""Which channels reach which positions of which nodes."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.passes.channel_paths import FOREIGN, find_channel_paths, keeps_channels
from tests.mrt_torch.ops.graphs import aten, draw, graph
from tests.mrt_torch.passes.channel_graphs import conv, linear

IMAGE = (2, 3, 4, 4)


def owners_of(build, shape=IMAGE):
    """Owners of what the last layer reads, by the first layer's path, as a list."""
    module = graph(build, shape)
    paths, declined = find_channel_paths(module)
    assert paths, declined
    return paths[0].owners[paths[0].consumers[-1].args[0]].tolist()


def test_flattening_repeats_every_channel():
    """Oracle: channels stand before rows and columns, as in NCHW."""
    def build(e, x):
        x = e.call(aten.flatten.using_ints, conv(e, x, 2, padding=1), 1, -1)
        return linear(e, x, 2)
    assert owners_of(build) == [0] * 16 + [1] * 16


def test_concatenation_and_slices_shift_channels():
    def build(e, x):
        x = e.call(aten.cat.default, [x, conv(e, x, 4, padding=1)], 1)
        return conv(e, e.call(aten.slice.Tensor, x, 1, 1, 7, 2), 2, seed=2)
    assert owners_of(build) == [FOREIGN, 0, 2]


def test_a_part_without_any_channel_is_off_the_path():
    """Its sigmoid does not count."""
    def build(e, x):
        both = e.call(aten.cat.default, [x, conv(e, x, 4, padding=1)], 1)
        part = e.call(aten.sigmoid.default, e.call(aten.slice.Tensor, both, 1, 0, 3, 1))
        return conv(e, e.call(aten.slice.Tensor, both, 1, 3, 7, 1), 2, seed=2), part
    assert owners_of(build) == [0, 1, 2, 3]


def test_values_are_expanded_by_owner():
    def build(e, x):
        x = e.call(aten.cat.default, [x, conv(e, x, 2, padding=1)], 1)
        return conv(e, x, 2, seed=2)
    module = graph(build, IMAGE)
    (path, *_), _ = find_channel_paths(module)
    node = path.consumers[0].args[0]
    assert path.expand(node, torch.tensor([5.0, 7.0]), 1.0).tolist() == [1.0, 1.0, 1.0, 5.0, 7.0]


@pytest.mark.parametrize(("kernels", "bias", "expected"), [
    (torch.ones(3, 1, 2, 2), None, True), (torch.arange(3.0).reshape(3, 1, 1, 1), None, False),
    (torch.ones(3, 1, 2, 2), torch.ones(3), False), (torch.ones(6, 1, 2, 2), None, False)])
def test_average_pooling_as_a_convolution(kernels, bias, expected):
    """Near misses: kernels that differ, a bias, two outputs for each input."""
    def build(e, x):
        offset = None if bias is None else e.constant("b", bias.to(torch.float64))
        return e.call(aten.conv2d.default, x, e.constant("w", kernels.to(torch.float64)), offset, [1, 1], [0, 0],
                      [1, 1], 3)
    module = graph(build, IMAGE)
    assert keeps_channels(module, next(n for n in module.graph.nodes if n.op == "call_function")) is expected


def test_a_batch_on_another_axis_ends_a_path():
    """Time-major data: axis 1 is the batch, and has no channels."""
    def build(e, x):
        x = e.call(aten.permute.default, conv(e, x, 4, padding=1), [1, 0, 2, 3])
        return e.call(aten.linear.default, x, e.constant("w", draw(2, 4)), None)
    paths, declined = find_channel_paths(graph(build, IMAGE))
    assert not paths and "another axis" in next(iter(declined.values()))


def test_a_dense_layer_of_three_axes_is_no_layer_of_a_path():
    """Its channels are on the last axis."""
    def build(e, x):
        x = e.call(aten.linear.default, x, e.constant("w", draw(5, 3)), None)
        return e.call(aten.linear.default, x, e.constant("v", draw(2, 5)), None)
    paths, declined = find_channel_paths(graph(build, (2, 4, 3)))
    assert not paths and len(declined) == 2
