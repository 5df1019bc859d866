"""Pooling. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import nn

from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import Function, assert_equal, check, inputs

MAX, AVERAGE = "max_pool2d.default", "avg_pool2d.default"
IMAGE = (4, 8, 6)
CASES = {
    "max": (nn.MaxPool2d(2), [MAX]),
    "max, everything": (nn.MaxPool2d((3, 2), stride=(2, 1), padding=1, ceil_mode=True), [MAX]),
    "max with indices unread": (Function(lambda m, x: F.max_pool2d_with_indices(x, 3, 2, 1)[0]), [MAX]),
    "average": (nn.AvgPool2d(2), [AVERAGE]),
    "average, everything": (nn.AvgPool2d((3, 2), stride=(2, 1), padding=(1, 0), ceil_mode=True,
                                         count_include_pad=False, divisor_override=5), [AVERAGE]),
    "adaptive average": (nn.AdaptiveAvgPool2d(1), ["adaptive_avg_pool2d.default"]),
    "adaptive average, sizes": (nn.AdaptiveAvgPool2d((4, None)), ["adaptive_avg_pool2d.default"]),
    "adaptive max to one": (nn.AdaptiveMaxPool2d(1), ["amax.default"]),
    "adaptive max, equal windows": (nn.AdaptiveMaxPool2d((4, 3)), [MAX]),
    "adaptive max, unequal windows": (nn.AdaptiveMaxPool2d((3, 1)),
                                      ["slice.Tensor"] * 3 + ["amax.default"] * 3 + ["cat.default", "amax.default"]),
    "adaptive average, unequal windows": (nn.AdaptiveAvgPool2d((3, 4)), ["adaptive_avg_pool2d.default"]),
    "dilated": (nn.MaxPool2d(2, stride=1, dilation=(2, 3), return_indices=False), [MAX]),
}


@pytest.mark.parametrize("name", CASES)
def test_pooling(name):
    """Every form fires and gives the module's values, also after prepare."""
    module, targets = CASES[name]
    graph = check(module, IMAGE, targets=targets)
    assert_equal(prepare(graph), module, inputs([IMAGE], 5))


ROWS = {
    "max": (nn.MaxPool1d(3, 2, padding=1), ["unsqueeze.default", MAX, "squeeze.dims"]),
    "average": (nn.AvgPool1d(2, ceil_mode=True), ["unsqueeze.default", AVERAGE, "squeeze.dims"]),
    "adaptive": (nn.AdaptiveAvgPool1d(1), ["mean.dim"]),
    "adaptive, sizes": (nn.AdaptiveAvgPool1d(2), ["unsqueeze.default", "adaptive_avg_pool2d.default", "squeeze.dims"]),
    "adaptive max": (nn.AdaptiveMaxPool1d(1), ["amax.default"]),
    "adaptive max, sizes": (nn.AdaptiveMaxPool1d(4), ["unsqueeze.default", MAX, "squeeze.dims"]),
    "adaptive max, unequal": (nn.AdaptiveMaxPool1d(3), ["slice.Tensor"] * 3 + ["amax.default"] * 3 + ["cat.default"]),
}


@pytest.mark.parametrize("name", ROWS)
def test_one_row(name):
    """1-D pooling is 2-D pooling over one row."""
    module, targets = ROWS[name]
    check(module, (4, 8), targets=targets)


VOLUMES = {
    "max": (nn.MaxPool3d((2, 3, 2), stride=2, padding=1, ceil_mode=True), ["max_pool3d.default"]),
    "average": (nn.AvgPool3d(2, stride=(1, 2, 2), padding=1, count_include_pad=False), ["avg_pool3d.default"]),
    "adaptive": (nn.AdaptiveAvgPool3d(1), ["mean.dim"]),
    "adaptive, sizes": (nn.AdaptiveAvgPool3d((2, 2, 4)), ["avg_pool3d.default"]),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes(name):
    """3-D pooling passes prepare as 2-D pooling, axis after axis."""
    module, targets = VOLUMES[name]
    graph = check(module, (3, 4, 6, 8), targets=targets)
    assert_equal(prepare(graph), module, inputs([(3, 4, 6, 8)], 5))


NEAR_MISSES = {
    "indices are read": (lambda m, x: F.max_pool2d(x, 2, return_indices=True), "aten.max_pool2d_with_indices.default"),
    "indices of unequal windows": (lambda m, x: F.adaptive_max_pool2d(x, (3, 4), return_indices=True),
                                   "aten.adaptive_max_pool2d.default"),
    "indices of one": (lambda m, x: F.adaptive_max_pool2d(x, 1, return_indices=True),
                       "aten.adaptive_max_pool2d.default"),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_without_canonical_form(name):
    """The operator is kept, with all its outputs."""
    function, kept = NEAR_MISSES[name]
    graph = check(Function(function), IMAGE)
    assert kept in [str(node.target) for node in graph.graph.nodes]
