"""Observers of the user. Oracle: numpy on the float activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mrt_torch import Model
from mrt_torch.calibration import Calibrator, Observer
from mrt_torch.errors import CalibrationError, InvalidArgumentError

DATA = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


class Percentile(Observer):
    """The magnitude that 99 % of a batch stay below; the largest of all batches."""

    def measure(self, tensor):
        return torch.quantile(tensor.abs().flatten().float(), 0.99)


class MeanOfBatches(Observer):
    """The mean of the batches' largest magnitudes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("batches", torch.zeros(()))

    def measure(self, tensor):
        return tensor.abs().amax().float()

    def commit(self):
        self.batches = self.batches + 1
        self.threshold = self.threshold + (self.pending - self.threshold) / self.batches
        self.discard()


class Nothing(Observer):
    """Has no statistic."""


@pytest.fixture
def mrt():
    torch.manual_seed(0)
    model = Model.from_torch(nn.Sequential(nn.Linear(6, 4), nn.ReLU()), DATA[:1])
    model.prepare()
    mrt = model.get_mrt()
    mrt.set_data([DATA[:16], DATA[16:]])
    return mrt


def test_an_observer_settles_the_thresholds(mrt):
    thresholds = mrt.calibrate(observer=Percentile)
    halves = [np.quantile(np.abs(half.numpy()), 0.99) for half in (DATA[:16], DATA[16:])]
    assert thresholds["data"] == pytest.approx(max(halves), rel=1e-6)  # quantiles in float32
    assert set(thresholds) == {node.name for node in mrt.model.module.graph.nodes if node.op in (
        "placeholder", "call_function")}
    mrt.quantize()
    assert mrt.get_inputs_ext()["data"]["scale"] == pytest.approx(127 / max(halves), rel=1e-6)


def test_batches_may_accumulate_in_another_way(mrt):
    expected = np.mean([np.abs(half.numpy()).max() for half in (DATA[:16], DATA[16:])])
    assert mrt.calibrate(observer=MeanOfBatches)["data"] == pytest.approx(expected, rel=1e-6)


def test_settings_of_an_observer_are_its_own(mrt):
    """A factory is anything that can be called: here a function that makes one with other settings."""
    class Quantile(Percentile):
        def __init__(self, share):
            super().__init__()
            self.share = share

        def measure(self, tensor):
            return torch.quantile(tensor.abs().flatten().float(), self.share)

    median = np.median(np.abs(DATA.numpy()))
    mrt.set_data(DATA)
    assert mrt.calibrate(observer=lambda: Quantile(0.5))["data"] == pytest.approx(median, rel=1e-6)


def test_a_calibration_that_fails_puts_all_its_buffers_back(mrt):
    """Oracle: the buffers after the first, good run."""
    calibrator = Calibrator(mrt.model.module, observer=MeanOfBatches)
    calibrator.run(DATA, torch.device("cpu"))
    before = {name: (float(o.threshold), float(o.batches)) for name, o in calibrator.observers.items()}
    with pytest.raises(CalibrationError, match="batch 1"):
        calibrator.run([DATA, DATA * float("nan")], torch.device("cpu"))
    assert {name: (float(o.threshold), float(o.batches)) for name, o in calibrator.observers.items()} == before
    assert all(float(o.pending) == 0 for o in calibrator.observers.values())


def test_what_is_no_observer_is_refused(mrt):
    with pytest.raises(InvalidArgumentError, match="saw Identity"):
        mrt.calibrate(observer=nn.Identity)
    with pytest.raises(InvalidArgumentError, match="lambd"):
        mrt.calibrate(observer=Percentile, lambd=3.0)
    with pytest.raises(TypeError, match="Nothing does not define measure"):
        mrt.calibrate(observer=Nothing)
    assert mrt.th_dict == {}
