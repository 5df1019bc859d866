"""Oracle: data * scale in float64 numpy, rounded half away from zero by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mrt_torch import load_real_data, load_sim_data
from mrt_torch.errors import InvalidArgumentError

EXTENSION = {"data": {"scale": 12.7, "target_bit": 8}}
ARRAYS = arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, max_side=4), elements=st.floats(-1e4, 1e4, width=32))


@settings(deadline=None, max_examples=60)
@given(ARRAYS)
def test_values(data):
    scaled = data.astype(np.float64) * 12.7
    simulated, real = load_sim_data(data, "data", EXTENSION), load_real_data(data, "data", EXTENSION)
    assert simulated.dtype is torch.float64 and np.array_equal(simulated.numpy(), scaled)
    rounded = np.where(np.abs(scaled - np.trunc(scaled)) >= 0.5, np.trunc(scaled) + np.sign(scaled), np.trunc(scaled))
    assert real.dtype is torch.int32 and np.array_equal(real.numpy(), np.clip(rounded, -127, 127))


def test_ties_and_clamps():
    extension = {"data": {"scale": 0.5, "target_bit": 3}}
    data = torch.tensor([1.0, -1.0, 3.0, 5.0, -99.0, 99.0, float("inf")])
    assert load_real_data(data, "data", extension).tolist() == [1, -1, 2, 3, -3, 3, 3]


def test_every_form_of_data(mxnet):
    data = np.array([[1.0, -2.0]], np.float64)
    data.flags.writeable = False
    for form in (data, torch.tensor(data.copy()), mxnet.nd.array(data).astype("float64"), data.astype(np.int8)):
        assert load_real_data(form, "data", EXTENSION).tolist() == [[13, -25]]


@pytest.mark.parametrize("load", [load_sim_data, load_real_data])
@pytest.mark.parametrize("extension", [{}, {"image": {"scale": 1, "target_bit": 8}}, {"data": {"scale": 1}}], ids=repr)
def test_an_extension_without_the_input(load, extension):
    with pytest.raises(InvalidArgumentError, match="'data'"):
        load(torch.zeros(1), "data", extension)


@pytest.mark.parametrize("data", [[1.0], "text", None, np.array(["a"]), torch.tensor([float("nan")])], ids=repr)
def test_what_is_no_data(data):
    with pytest.raises(InvalidArgumentError):
        load_real_data(data, "data", EXTENSION)
