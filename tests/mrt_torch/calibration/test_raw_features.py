"""Oracle: numpy's extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrt_torch.calibration import AFeature, ALFeature, MMFeature
from mrt_torch.calibration.raw_features import raw_feature
from mrt_torch.errors import InvalidArgumentError

DATA = np.random.default_rng(0).normal(size=(4, 6, 2)).astype(np.float32)


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy, lambda a: torch.from_numpy(a).double()])
def test_of_a_tensor(convert):
    data = convert(DATA)
    assert raw_feature(data, "UniformSymmetric") == AFeature(np.abs(DATA).max())
    assert raw_feature(data, "UniformAffine") == MMFeature(DATA.min(), DATA.max())
    assert raw_feature(data, "GroupConv") == ALFeature(np.abs(DATA).max((0, 2)))
    assert raw_feature(data, "GroupConv", groups=3) == ALFeature(np.abs(DATA).reshape(4, 3, 4).max((0, 2)))
    assert raw_feature(data, "GroupConv", groups=2, axis=0) == ALFeature(np.abs(DATA).reshape(2, -1).max(1))


def test_a_vector_is_one_channel_and_the_lowest_integer_is_whole():
    assert raw_feature(torch.tensor([1.0, -3.0]), "GroupConv") == ALFeature([3])
    assert raw_feature(np.array([-128, 3], np.int8), "UniformSymmetric") == AFeature(128)


@pytest.mark.parametrize("data", [np.array([np.nan]), np.array([1, np.inf]), np.empty((0, 3)), "text", None])
@pytest.mark.parametrize("quant_type", ["UniformSymmetric", "UniformAffine", "GroupConv"])
def test_what_has_no_feature(data, quant_type):
    with pytest.raises(InvalidArgumentError):
        raw_feature(data, quant_type)


@pytest.mark.parametrize("kwargs", [{"groups": 4}, {"groups": 0}, {"groups": 7}, {"groups": 1.0}, {"groups": True}])
def test_groups_are_checked(kwargs):
    with pytest.raises(InvalidArgumentError, match="divide"):
        raw_feature(DATA, "GroupConv", **kwargs)
    with pytest.raises(InvalidArgumentError, match="no such quantizer"):
        raw_feature(DATA, "Uniform")
