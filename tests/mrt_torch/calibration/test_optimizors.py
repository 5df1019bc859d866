"""Oracle: each algorithm of mrt-gen section 4 written plainly here, with numpy and Python loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration import (
    AFeature,
    ALFeature,
    HistogramOptimizor,
    HVOptimizor,
    KLDOptimizor,
    MAOptimizor,
    MMFeature,
    MSEOptimizor,
    OutlierRemovalOptimizor,
    PercentileOptimizor,
)
from mrt_torch.calibration.raw_features import raw_feature
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from tests.mrt_torch.calibration.observing import observe, partitions, statistics
from tests.mrt_torch.calibration.plain_divergence import plain_least_divergence

BATCHES = st.lists(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=8), min_size=1, max_size=5)
TYPES = ["UniformSymmetric", "UniformAffine", "GroupConv"]
FROM_HISTOGRAMS = [OutlierRemovalOptimizor, PercentileOptimizor, MSEOptimizor]


def through(optimizor, batches, quant_type, **kwargs):
    """``get_opt`` batch by batch, each with what the one before gave."""
    feature = None
    for batch in batches:
        feature = optimizor.get_opt(raw_feature(batch, quant_type, **kwargs), batch, hist_ft=feature, name="x")
    return feature


def streamed(optimizor, batches, quant_type, **kwargs):
    """The same from statistics of all batches."""
    return optimizor.optimize(observe(optimizor.make_observer(quant_type), batches), quant_type, **kwargs)


def magnitude(batch: list[float], lambd: float | None) -> float:
    values = np.asarray(batch, np.float64)
    absmax, candidate = np.abs(values).max(), abs(values.mean()) + (lambd or 0) * values.std()
    return float(candidate if lambd is not None and candidate < 0.95 * absmax else absmax)


@settings(deadline=None, max_examples=50)
@given(BATCHES, st.sampled_from([None, 0.5, 2.0]))
def test_historical_value(batches, lambd):
    """``lambd`` is of symmetric quantization. Streamed, candidates are rounded to float32: 1e-6; next to the border of
    the rule either side may be taken."""
    tensors = [torch.tensor(batch) for batch in batches]
    optimizor = HVOptimizor(lambd=lambd)
    expected = max(magnitude(batch, lambd) for batch in batches)
    assert through(optimizor, tensors, "UniformSymmetric").get() == pytest.approx(expected, rel=1e-12, abs=1e-30)
    if lambd is None:
        assert streamed(optimizor, tensors, "UniformSymmetric") == AFeature(expected)
    extremes = MMFeature(min(map(min, batches)), max(map(max, batches)))
    assert through(optimizor, tensors, "UniformAffine") == streamed(optimizor, tensors, "UniformAffine") == extremes


def test_historical_value_with_lambd_streamed():
    tensors = [torch.randn(1000, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    expected = max(magnitude(tensor.tolist(), 2.0) for tensor in tensors)
    assert streamed(HVOptimizor(lambd=2.0), tensors, "UniformSymmetric").get() == pytest.approx(expected, rel=1e-6)
    assert through(HVOptimizor(lambd=2.0), tensors, "UniformSymmetric").get() == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=25)
@given(partitions(channels=4), st.sampled_from([None, 1, 2, 4]))
def test_historical_value_of_groups(data, groups):
    """MRT GEN defect: an AbsmaxList's history was compared with itself."""
    tensor, batches = data
    size = 4 // (groups or 4)
    expected = ALFeature([float(part.abs().max()) for part in tensor.split(size, dim=1)])
    assert through(HVOptimizor(), batches, "GroupConv", groups=groups) == expected
    assert streamed(HVOptimizor(), batches, "GroupConv", groups=groups) == expected


@settings(deadline=None, max_examples=50)
@given(BATCHES, st.floats(0.01, 1))
def test_moving_average(batches, c):
    tensors = [torch.tensor(batch) for batch in batches]
    expected = None
    for batch in batches:
        new = np.array([min(batch), max(batch), max(map(abs, batch))])
        expected = new if expected is None else (1 - c) * expected + c * new
    optimizor = MAOptimizor(c=c)
    for found in (through, streamed):
        assert found(optimizor, tensors, "UniformAffine") == MMFeature(*expected[:2])
        assert found(optimizor, tensors, "UniformSymmetric") == AFeature(expected[2])


def kld_data(name: str) -> torch.Tensor:
    torch.manual_seed(0)
    normal = torch.randn(20000)
    return {"normal": normal, "relu": normal.relu(), "outlier": torch.cat([normal, torch.tensor([30.0])])}[name]


@pytest.mark.parametrize("name", ["normal", "relu", "outlier"])
@pytest.mark.parametrize("bits", [(10, 8), (8, 4)])
def test_divergence(name, bits):
    """Oracle: the histogram of numpy, and the plain loop."""
    data, bins, levels = kld_data(name), 2 ** bits[0] - 1, 2 ** bits[1] - 1
    absmax = float(data.abs().max())
    counts = np.histogram(data.double().numpy(), bins, (-absmax, absmax))[0].astype(float).tolist()
    best = plain_least_divergence(counts, levels, 1e-4)
    optimizor = KLDOptimizor(bucket_bit=bits[0], quant_bit=bits[1])
    expected = (best + 0.5) * 2 * absmax / bins  # the upper edge of the slice
    assert optimizor.get_opt(AFeature(absmax), data).get() == pytest.approx(expected, rel=1e-12)
    assert optimizor.get_opt(absmax, data.numpy(), hist_ft=AFeature(100)) == AFeature(100)


@pytest.mark.parametrize("name", ["normal", "relu", "outlier"])
def test_divergence_streamed(name):
    """Oracle: the plain loop over bins of a power of two, counted in Python; any split of the data gives the same."""
    data = kld_data(name)
    absmax, width = float(data.abs().max()), 2.0
    while absmax < 512 * width / 2:
        width /= 2
    used = int(absmax / width)
    counts = [0.0] * (2 * used + 1)
    for value in data.tolist():
        counts[used + int(value / width)] += 1
    best = plain_least_divergence(counts, 255, 1e-4)
    expected = AFeature(min((best + 1) * width, absmax))
    optimizor = KLDOptimizor(bucket_bit=10)
    assert streamed(optimizor, [data], "UniformSymmetric") == expected
    assert streamed(optimizor, data.flip(0).split(777), "UniformSymmetric") == expected


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_divergence_of_a_constant_tensor(value):
    data = torch.full((50,), value)
    for optimizor in (KLDOptimizor(), KLDOptimizor(bucket_bit=8)):
        assert optimizor.get_opt(AFeature(abs(value)), data) == AFeature(abs(value))
        assert streamed(optimizor, [data], "UniformSymmetric") == AFeature(abs(value))


@pytest.mark.parametrize("kind", FROM_HISTOGRAMS)
def test_ranges_of_one_batch_are_those_of_its_stream(kind):
    torch.manual_seed(0)
    batch = torch.randn(64, 6, 10) * torch.logspace(-1, 1, 6)[:, None]
    for quant_type in TYPES:
        kwargs = {"groups": 3} if quant_type == "GroupConv" else {}
        one = kind().get_opt(raw_feature(batch, quant_type, **kwargs), batch)
        assert one == streamed(kind(), batch.split(7), quant_type, **kwargs)
        assert type(one) is dict(zip(TYPES, (AFeature, MMFeature, ALFeature), strict=True))[quant_type]
        assert one.get_threshold() <= float(batch.abs().max())


@pytest.mark.parametrize("kind", FROM_HISTOGRAMS)
def test_the_history_counts_by_the_widest(kind):
    narrow, wide = torch.rand(500) - 0.5, torch.rand(500) * 4 - 3
    for quant_type in ("UniformSymmetric", "UniformAffine"):
        apart = [kind().get_opt(raw_feature(batch, quant_type), batch).get_range() for batch in (narrow, wide)]
        together = through(kind(), [narrow, wide], quant_type).get_range()
        assert together == (min(low for low, _ in apart), max(high for _, high in apart))


@settings(deadline=None, max_examples=25)
@given(partitions(channels=4), st.sampled_from(FROM_HISTOGRAMS), st.sampled_from(TYPES))
def test_streams_do_not_depend_on_order_and_partition(data, kind, quant_type):
    tensor, batches = data
    assert streamed(kind(), batches, quant_type) == streamed(kind(), [tensor], quant_type)


def plain_threshold(values: np.ndarray, steps: int) -> float:
    """Best of 200 symmetric thresholds by the error of integers, value by value."""
    absmax = np.abs(values).max()
    errors = {}
    for share in range(1, 201):
        threshold = absmax * share / 200
        step = threshold / steps
        errors[threshold] = ((np.clip(np.round(values / step), -steps, steps) * step - values) ** 2).mean()
    return min(errors.values())


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", ["normal", "relu", "outlier"])
def test_squared_error_of_a_symmetric_range(name, bits):
    """At most 2 % more than the best of 200 thresholds."""
    data, steps = kld_data(name), 2 ** (bits - 1) - 1
    threshold = streamed(MSEOptimizor(quant_bit=bits), [data], "UniformSymmetric").get()
    values, step = data.double().numpy(), threshold / steps
    error = ((np.clip(np.round(values / step), -steps, steps) * step - values) ** 2).mean()
    assert error <= 1.02 * plain_threshold(values, steps)


def test_percentile_of_magnitudes():
    """Oracle: numpy's quantile of the magnitudes; a bin is 4 / 1024 wide."""
    data = torch.rand(10000, generator=torch.Generator().manual_seed(0)) * 6 - 3
    found = streamed(PercentileOptimizor(percentile=90), [data], "UniformSymmetric").get()
    assert found == pytest.approx(np.quantile(data.abs().numpy(), 0.9), abs=4 / 1024)


@pytest.mark.parametrize("kind", FROM_HISTOGRAMS)
@pytest.mark.parametrize("value", [0.0, 5.0, -5.0])
def test_constant_tensors(kind, value):
    data = torch.full((3, 2, 4), value)
    assert streamed(kind(), [data], "UniformSymmetric") == AFeature(abs(value))
    assert streamed(kind(), [data], "UniformAffine") == MMFeature(value, value)
    assert streamed(kind(), [data], "GroupConv") == ALFeature([abs(value)] * 2)


@pytest.mark.parametrize("kind", [HVOptimizor, MAOptimizor, KLDOptimizor, *FROM_HISTOGRAMS])
def test_nothing_seen_and_what_is_not_finite(kind):
    for quant_type in kind.list_supported_quant_types():
        with pytest.raises(CalibrationError, match="saw nothing"):
            kind().optimize(kind().make_observer(quant_type), quant_type)
        with pytest.raises(CalibrationError, match="not finite"):
            streamed(kind(), [torch.tensor([[1.0, float("nan")]])], quant_type)
        with pytest.raises(InvalidArgumentError):
            kind().get_opt(float("nan"), torch.ones(2))


def test_groups_that_do_not_divide():
    observer = observe(MSEOptimizor().make_observer("GroupConv"), [torch.ones(2, 6)])
    with pytest.raises(InvalidArgumentError, match="divide"):
        MSEOptimizor().optimize(observer, "GroupConv", 4)


def test_observers_of_a_node_that_cannot_be_below_zero():
    from tests.mrt_torch.small_models import prepared
    nodes = {node.name: node for node in prepared().module.graph.nodes}
    assert not PercentileOptimizor().make_observer("UniformAffine", nodes["relu0"]).signed
    assert PercentileOptimizor().make_observer("UniformAffine", nodes["conv0"]).signed
    assert KLDOptimizor().make_observer("UniformSymmetric", nodes["relu0"]).signed


def test_statistics_do_not_depend_on_the_attributes():
    data = [torch.randn(100)]
    first, second = (observe(PercentileOptimizor(percentile=p).make_observer("UniformAffine"), data) for p in (90, 99))
    assert statistics(first) == statistics(second)


def test_the_base_names_what_a_class_lacks():
    class Nothing(HistogramOptimizor):
        name = "test_optimizors.Nothing"

    with pytest.raises(TypeError, match="Nothing does not define choose"):
        Nothing().get_opt(AFeature(1), torch.ones(1))
