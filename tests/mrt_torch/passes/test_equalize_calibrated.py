"""Equalization of a calibrated graph. Oracles: the float graph, and a calibration of the graph that came out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mrt_torch import Model
from mrt_torch.calibration import MMLFeature
from mrt_torch.passes.equalize_calibrated import equalize_calibrated

DATA = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(1))
FACTOR = 1000.0


class Unequal(nn.Module):
    """Every other channel between two convolutions is a thousand times larger, which the second one undoes."""

    def __init__(self, activation: nn.Module, factor: float, groups: int = 1):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.middle = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=groups)
        self.last, self.activation = nn.Conv2d(8, 5, 1), activation
        with torch.no_grad():
            self.middle.weight[::2] *= factor
            self.middle.bias[::2] *= factor
            self.last.weight[:, ::2] /= factor

    def forward(self, x):
        return self.last(self.activation(self.middle(self.activation(self.first(x)))))


def calibrated(module: nn.Module, data: torch.Tensor = DATA):
    model = Model.from_torch(module.eval(), DATA[:2])
    model.prepare(DATA[:1].shape)
    mrt = model.get_mrt()
    mrt.set_data(list(data.split(8)))
    mrt.calibrate()
    return mrt


def noise(mrt, data: torch.Tensor = DATA) -> float:
    with torch.no_grad():
        exact, found = mrt.model(data), mrt.quantize()(data)
    return float((exact - found).norm() / exact.norm())


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.1)])
@pytest.mark.parametrize("groups", [1, 8])
def test_unequal_channels_cost_little_more_than_equal_ones(activation, groups):
    """Oracle: the same network with equal channels. Without equalization the small channels are lost."""
    plain, unequal = calibrated(Unequal(activation, 1.0, groups)), calibrated(Unequal(activation, FACTOR, groups))
    assert noise(unequal) < 1.5 * noise(plain) + 0.002
    unequal.settings = type(unequal.settings)(recipe=type(unequal.settings.recipe)(equalization=False))
    assert noise(unequal) > 10 * noise(plain)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.1), nn.ReLU6()])
def test_features_follow(activation):
    """The ranges are those that a calibration of the equalized graph finds, within the rounding of its float32."""
    mrt = calibrated(Unequal(activation, FACTOR))
    module, found = equalize_calibrated(mrt.model.module, mrt._calibrated(), 8)
    assert module is not mrt.model.module
    assert torch.allclose(module(DATA)[0], mrt.model(DATA), rtol=1e-4, atol=1e-4)
    again = Model(module, mrt.model.stage, prepared=True).get_mrt()
    again.set_data(DATA)
    again.calibrate()
    assert set(found.features) == set(again.features)
    for name, feature in again.features.items():
        wanted, seen = (torch.tensor(f.get_range()) for f in (feature, found.features[name]))
        assert torch.allclose(seen, wanted, rtol=1e-3, atol=1e-3 * feature.get_threshold())
        if isinstance(feature, MMLFeature):
            wanted, seen = (torch.tensor(f.get_channel_ranges()) for f in (feature, found.features[name]))
            assert torch.allclose(seen, wanted, rtol=1e-3, atol=1e-3 * feature.get_threshold())
    with torch.no_grad():
        assert torch.equal(mrt.quantize()(DATA), mrt.quantize()(DATA))


def test_a_network_of_ordinary_channels_stays_as_it_is():
    mrt = calibrated(Unequal(nn.ReLU(), 1.0))
    assert equalize_calibrated(mrt.model.module, mrt._calibrated(), 8)[0] is mrt.model.module


def test_too_few_examples_change_nothing():
    mrt = calibrated(Unequal(nn.ReLU(), FACTOR), DATA[:4])
    assert equalize_calibrated(mrt.model.module, mrt._calibrated(), 8) == (mrt.model.module, mrt._calibrated())
