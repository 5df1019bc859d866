"""Interpolation. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import nn

from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import Function, assert_equal, check, inputs

IMAGE, LINE = (3, 6, 8), (3, 9)
NEAREST, BILINEAR = "upsample_nearest2d.default", "upsample_bilinear2d.default"
CASES = {
    "nearest": (nn.Upsample(scale_factor=2), IMAGE, NEAREST, [None, None]),
    "nearest, size": (nn.Upsample((9, 8)), IMAGE, NEAREST, [None, None]),
    "nearest, odd factors": (nn.Upsample(scale_factor=(1.4, 0.7)), IMAGE, NEAREST, [1.4, 0.7]),
    "nearest, recomputed": (Function(lambda m, x: F.interpolate(x, scale_factor=1.4, recompute_scale_factor=True)),
                            IMAGE, NEAREST, [None, None]),
    "nearest exact": (nn.Upsample((9, 5), mode="nearest-exact"), IMAGE, "_upsample_nearest_exact2d.default",
                      [None, None]),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE, BILINEAR, [False, None, None]),
    "bilinear, corners": (nn.Upsample(scale_factor=1.7, mode="bilinear", align_corners=True), IMAGE, BILINEAR,
                          [True, None, None]),
    "bilinear, odd factors": (nn.Upsample(scale_factor=(1.7, 2.0), mode="bilinear"), IMAGE, BILINEAR,
                              [False, 1.7, None]),
    "bilinear layer": (nn.UpsamplingBilinear2d(size=(7, 5)), IMAGE, BILINEAR, [True, None, None]),
    "bicubic": (nn.Upsample((9, 5), mode="bicubic"), IMAGE, "upsample_bicubic2d.default", [False, None, None]),
    "smoothed": (Function(lambda m, x: F.interpolate(x, (3, 5), mode="bilinear", antialias=True)), IMAGE,
                 "_upsample_bilinear2d_aa.default", [False, None, None]),
    "area": (Function(lambda m, x: F.interpolate(x, (4, 3), mode="area")), IMAGE, "adaptive_avg_pool2d.default", None),
    "nearest of a line": (nn.Upsample(scale_factor=3), LINE, NEAREST, [None, None]),
    "linear of a line": (nn.Upsample(14, mode="linear"), LINE, BILINEAR, [False, None, None]),
    "linear of a line, odd factor": (nn.Upsample(scale_factor=1.6, mode="linear"), LINE, BILINEAR, [False, None, 1.6]),
}


@pytest.mark.parametrize("name", CASES)
def test_interpolation(name):
    """Sizes are given; scales only where they are not what the sizes say. Also the values after prepare."""
    module, shape, target, options = CASES[name]
    graph = check(module, shape)
    node = next(node for node in graph.graph.nodes if str(node.target) == f"aten.{target}")
    assert options is None or list(node.args[2:]) == options
    assert_equal(prepare(graph), module, inputs([shape], 5))
