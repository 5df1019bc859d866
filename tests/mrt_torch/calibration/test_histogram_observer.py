"""Oracle: the histogram of all values at once (see test_histogram), and Python's min and max."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration import Histogram, HistogramObserver, MMFeature, MMLFeature
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from tests.mrt_torch.calibration.observing import observe, partitions, statistics

SETTINGS = st.sampled_from([{}, {"by_channel": True}, {"extremes_by_channel": True}, {"bins": 16, "by_channel": True}])


@settings(deadline=None, max_examples=40)
@given(partitions(), SETTINGS)
def test_any_order_and_partition_gives_the_same_bytes(data, kwargs):
    tensor, batches = data
    whole, parts = (observe(HistogramObserver(**kwargs), fed) for fed in ([tensor], batches))
    assert statistics(whole) == statistics(parts)
    channels = [tensor[:, channel].flatten().tolist() for channel in range(3)]
    by_channel = MMLFeature(list(map(min, channels)), list(map(max, channels)))
    if kwargs.get("by_channel") or kwargs.get("extremes_by_channel"):
        assert parts.feature() == by_channel
    else:
        assert parts.feature() == MMFeature(*by_channel.get_range())
    assert int(parts.histogram.counts.sum()) == tensor.numel()


@settings(deadline=None, max_examples=40)
@given(partitions(), SETTINGS, st.integers(0, 6))
def test_any_merge_gives_the_same_bytes(data, kwargs, cut):
    tensor, batches = data
    left, right = (observe(HistogramObserver(**kwargs), part) for part in (batches[:cut], batches[cut:]))
    one, other = copy.deepcopy(left), copy.deepcopy(right)
    one.merge(right)
    other.merge(left)
    assert statistics(one) == statistics(other) == statistics(observe(HistogramObserver(**kwargs), [tensor]))


@settings(deadline=None, max_examples=25)
@given(partitions(channels=4), st.sampled_from([1, 2, 4]))
def test_groups_of_channels(data, groups):
    tensor, batches = data
    counts, widths = observe(HistogramObserver(bins=32, by_channel=True), batches).grouped(groups)
    for group, part in enumerate(tensor.split(4 // groups, dim=1)):
        alone = Histogram.of(part, part.abs().amax().reshape(1), 32, True)
        assert torch.equal(counts[group], alone.counts[0]) and widths[group] == alone.widths[0]


def test_extremes_of_groups():
    tensor = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0))
    _, minima, maxima = observe(HistogramObserver(by_channel=True), [tensor]).groups(3)
    assert minima.tolist() == [float(part.min()) for part in tensor.split(2, dim=1)]
    assert maxima.tolist() == [float(part.max()) for part in tensor.split(2, dim=1)]


@pytest.mark.parametrize("groups", [0, 4, 12])
def test_groups_that_do_not_divide_the_channels(groups):
    with pytest.raises(InvalidArgumentError, match="do not divide"):
        observe(HistogramObserver(by_channel=True), [torch.ones(2, 6)]).grouped(groups)
    with pytest.raises(InvalidArgumentError, match="do not divide"):
        observe(HistogramObserver(extremes_by_channel=True), [torch.ones(2, 6)]).grouped(2)


def test_the_memory_stays_the_same():
    observer = HistogramObserver(by_channel=True)
    sizes = set()
    for index in range(5):
        observe(observer, [torch.randn(3, 4, 6) * 10 ** index])
        sizes.add(sum(buffer.numel() for buffer in observer.buffers()))
    assert len(sizes) == 1


def test_an_unsigned_histogram_refuses_negative_values():
    assert observe(HistogramObserver(signed=False), [torch.rand(3, 4)]).grouped(1)[0].shape == (1, 1024)
    observer = observe(HistogramObserver(signed=False), [torch.rand(3, 4), torch.tensor([[-1.0]])])
    for ask in (observer.feature, lambda: observer.grouped(1)):
        with pytest.raises(CalibrationError, match="below zero"):
            ask()


def test_a_tensor_without_channels_is_one_channel():
    assert observe(HistogramObserver(by_channel=True), [torch.ones(7)]).grouped(1)[0].sum() == 7


@pytest.mark.parametrize("value", [0.0, -4.0])
def test_a_constant_tensor(value):
    observer = observe(HistogramObserver(), [torch.full((2, 3), value)])
    assert observer.feature() == MMFeature(value, value)
    assert observer.grouped(1)[0].max() == 6


def test_a_batch_counts_when_it_is_committed():
    observer = HistogramObserver()
    observer(torch.ones(4))
    observer(torch.full((2,), 100.0))
    observer.discard()
    observer(torch.ones(3))
    observer(torch.full((2,), 2.0))
    observer.commit()
    assert statistics(observer) == statistics(observe(HistogramObserver(), [torch.tensor([1.0, 1, 1, 2, 2])]))


def test_nothing_seen_and_what_is_not_finite():
    for ask in (HistogramObserver().feature, lambda: HistogramObserver().grouped(1)):
        with pytest.raises(CalibrationError, match="saw nothing"):
            ask()
    for bad in (float("nan"), float("inf"), float("-inf")):
        observer = HistogramObserver()
        observer(torch.tensor([1.0, bad]))
        assert not torch.isfinite(observer.pending)
        observer.commit()
        with pytest.raises(CalibrationError, match="not finite"):
            observer.feature()


def test_the_state_goes_to_another_observer():
    first = observe(HistogramObserver(by_channel=True), [torch.randn(2, 3, 4)])
    second = HistogramObserver(by_channel=True)
    second.load_state(first.state())
    assert statistics(second) == statistics(first) and second.feature() == first.feature()
    observe(second, [torch.randn(2, 3, 4) * 9])


@pytest.mark.parametrize("kwargs,what", [({"bins": 8}, "bins"), ({"bins": 100}, "bins"), ({"bins": 64.0}, "bins"),
                                         ({"bins": True}, "bins"),
                                         ({"by_channel": True, "extremes_by_channel": False}, "extremes")])
def test_settings_are_checked(kwargs, what):
    with pytest.raises(InvalidArgumentError, match=what):
        HistogramObserver(**kwargs)


@pytest.mark.parametrize("kwargs", [{"bins": 64}, {"signed": False}])
def test_histograms_of_different_bins_do_not_merge(kwargs):
    with pytest.raises(InvalidArgumentError, match="different bins"):
        HistogramObserver().merge(HistogramObserver(**kwargs))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kwargs", [{}, {"by_channel": True}])
def test_on_a_gpu(kwargs):
    batches = [torch.randn(4, 3, 50, generator=torch.Generator().manual_seed(seed)) * 5 ** seed for seed in range(3)]
    on_gpu = observe(HistogramObserver(**kwargs).cuda(), [batch.cuda() for batch in batches])
    assert on_gpu.counts.is_cuda
    assert statistics(on_gpu) == statistics(observe(HistogramObserver(**kwargs), batches))
