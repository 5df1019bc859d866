"""Oracle: Python's min and max over the values of each channel."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration import (
    AbsmaxObserver,
    ALFeature,
    ChannelAbsmaxObserver,
    ChannelMinMaxObserver,
    MinMaxObserver,
    MMFeature,
    MMLFeature,
)
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from tests.mrt_torch.calibration.observing import observe, partitions, statistics

KINDS = [MinMaxObserver, ChannelMinMaxObserver, ChannelAbsmaxObserver]


def expected(kind, tensor):
    channels = [tensor[:, channel].flatten().tolist() for channel in range(tensor.shape[1])]
    if kind is MinMaxObserver:
        return MMFeature(min(map(min, channels)), max(map(max, channels)))
    if kind is ChannelMinMaxObserver:
        return MMLFeature(list(map(min, channels)), list(map(max, channels)))
    return ALFeature([max(map(abs, channel)) for channel in channels])


@settings(deadline=None, max_examples=50)
@given(partitions(), st.sampled_from(KINDS))
def test_features_are_exact_for_any_order_and_partition(data, kind):
    tensor, batches = data
    whole, parts = observe(kind(), [tensor]), observe(kind(), batches)
    assert whole.feature() == parts.feature() == expected(kind, tensor)
    assert statistics(whole) == statistics(parts)
    assert whole.result() == whole.feature().get_threshold()


@settings(deadline=None, max_examples=50)
@given(partitions(), st.sampled_from(KINDS), st.integers(0, 6))
def test_merging_counts_what_either_has_seen(data, kind, cut):
    tensor, batches = data
    left, right = observe(kind(), batches[:cut]), observe(kind(), batches[cut:])
    one, other = copy.deepcopy(left), copy.deepcopy(right)
    one.merge(right)
    other.merge(left)
    assert statistics(one) == statistics(other) == statistics(observe(kind(), [tensor]))
    assert int(one.observations) == len(batches)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6)])
def test_every_rank(shape):
    """A tensor without an axis 1 is one channel."""
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    seen = observe(ChannelMinMaxObserver(), [tensor]).feature()
    rows = tensor.movedim(1, 0).flatten(1) if len(shape) > 1 else tensor.reshape(1, -1)
    assert seen == MMLFeature(rows.amin(1).tolist(), rows.amax(1).tolist())
    assert observe(MinMaxObserver(), [tensor]).feature() == MMFeature(float(tensor.min()), float(tensor.max()))


@pytest.mark.parametrize("layout", [lambda t: t.to(memory_format=torch.channels_last), lambda t: t.movedim(1, 3),
                                    lambda t: t[:, ::2], lambda t: t.expand(4, 6, 5, 5), lambda t: t.half(),
                                    lambda t: t.double()], ids=range(6))
def test_every_layout_and_type(layout):
    tensor = layout(torch.randn(1, 6, 5, 5, generator=torch.Generator().manual_seed(0)))
    assert observe(ChannelMinMaxObserver(), [tensor]).feature() == expected(ChannelMinMaxObserver, tensor.float())


@pytest.mark.parametrize("tensor,range_", [
    (torch.tensor([[True, False]]), (0.0, 1.0)), (torch.tensor([[-128, 3]], dtype=torch.int8), (-128.0, 3.0)),
    (torch.tensor([[255, 3]], dtype=torch.uint8), (3.0, 255.0))])
def test_whole_numbers_and_truth_values_are_floats(tensor, range_):
    assert observe(MinMaxObserver(), [tensor]).feature().get_range() == range_


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, -3.0, 5.0])
def test_a_constant_tensor(kind, value):
    feature = observe(kind(), [torch.full((2, 3, 4), value)]).feature()
    assert feature.get_threshold() == abs(value)
    if kind is not ChannelAbsmaxObserver:
        assert feature.get_range() == (value, value)


@pytest.mark.parametrize("kind", [*KINDS, AbsmaxObserver])
def test_one_that_saw_nothing_has_no_feature(kind):
    observer = observe(kind(), [torch.empty(0, 3)])
    with pytest.raises(CalibrationError, match="saw nothing"):
        observer.feature()
    other = kind()
    other.merge(observer)
    with pytest.raises(CalibrationError, match="saw nothing"):
        other.feature()


@pytest.mark.parametrize("kind", [*KINDS, AbsmaxObserver])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("position", range(4))
def test_a_value_that_is_not_finite_shows_at_once_and_stays(kind, bad, position):
    tensor = torch.ones(1, 2, 2)
    tensor.view(-1)[position] = bad
    observer = kind()
    observer(tensor)
    assert not torch.isfinite(observer.pending)
    observer.commit()
    observe(observer, [torch.ones(1, 2, 2)])
    with pytest.raises(CalibrationError, match="not finite"):
        observer.feature()


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_counts_when_it_is_committed(kind):
    observer = observe(kind(), [torch.ones(1, 2)])
    observer(torch.full((1, 2), 7.0))
    observer.discard()
    observer.commit()
    assert observer.feature().get_threshold() == 1
    observer(torch.full((1, 2), 7.0))
    observer(torch.full((1, 2), -9.0))
    observer.commit()
    assert observer.feature().get_threshold() == 9
    assert (observer.pending, observer.pending_minima.numel()) == (0, 0)


@pytest.mark.parametrize("kind", [*KINDS, AbsmaxObserver])
def test_the_state_goes_to_another_observer(kind):
    first = observe(kind(), [torch.randn(2, 3, 4)])
    first(torch.full((2, 3, 4), 100.0))  # pending: no part of it
    second = kind()
    second.load_state(first.state())
    assert statistics(second) == statistics(first) and int(second.observations) == 2
    first.state()["threshold"].fill_(7)
    assert statistics(second) == statistics(first)


@pytest.mark.parametrize("state", [{}, MinMaxObserver().state() | {"more": torch.zeros(())},
                                   MinMaxObserver().state() | {"minima": torch.zeros(())},
                                   MinMaxObserver().state() | {"maxima": torch.zeros(2, dtype=torch.float64)}],
                         ids=["nothing", "more", "another rank", "another type"])
def test_a_state_of_another_kind_is_refused(state):
    with pytest.raises(InvalidArgumentError, match="another kind"):
        MinMaxObserver().load_state(state)


def test_observers_of_different_classes_do_not_merge():
    with pytest.raises(InvalidArgumentError, match="MinMaxObserver and ChannelMinMaxObserver"):
        MinMaxObserver().merge(ChannelMinMaxObserver())


@pytest.mark.parametrize("shape", [(3, 50, 4, 4), (2, 3, 20, 20), (300, 2)])
def test_extremes_of_many_values_and_of_short_rows(shape):
    """On both sides of the number of values at which torch is asked in another order; NaN shows in either."""
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert observe(ChannelMinMaxObserver(), [tensor]).feature() == expected(ChannelMinMaxObserver, tensor)
    tensor.view(-1)[7] = float("nan")
    observer = ChannelMinMaxObserver()
    observer(tensor)
    assert observer.pending.isnan()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu(kind):
    tensor = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    on_gpu = observe(kind().cuda(), [tensor.cuda()])
    assert on_gpu.minima.is_cuda
    assert statistics(on_gpu) == statistics(observe(kind(), [tensor]))
