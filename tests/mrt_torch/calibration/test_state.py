"""Oracle: one calibrator that sees everything; and the bytes that were written."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration import AbsmaxObserver, Calibrator
from mrt_torch.calibration.extremes import MinMaxObserver
from mrt_torch.calibration.state import (
    configuration_of,
    digest_of,
    load_state,
    merge_state,
    model_digest,
    pack,
    state_of,
    unpack,
)
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from tests.mrt_torch.calibration.process_worker import BATCHES, CPU, MODULES, OBSERVERS
from tests.mrt_torch.small_models import convolutional

whole = cache(lambda name: pack(state_of(calibrator(BATCHES, OBSERVERS[name])), {}))


def calibrator(batches=(), observer=None, heads: int = 1) -> Calibrator:
    made = Calibrator(MODULES[heads], observer=observer)
    if batches:
        made.run(list(batches), CPU)
    return made


@pytest.mark.parametrize("name", OBSERVERS)
def test_a_state_gives_the_statistics_back(name):
    full, other = calibrator(BATCHES[:2], OBSERVERS[name]), calibrator(BATCHES[2:3], OBSERVERS[name])
    load_state(other, state_of(full))
    assert pack(state_of(other), {}) == pack(state_of(full), {})
    assert other.features() == full.features() and other.operand_features() == full.operand_features()
    other.run(BATCHES[2:], CPU)
    assert pack(state_of(other), {}) == whole(name)


@settings(deadline=None, max_examples=8)
@given(st.permutations(range(len(BATCHES))), st.integers(0, len(BATCHES)), st.integers(0, len(BATCHES)),
       st.sampled_from(list(OBSERVERS)))
def test_merged_states_are_the_state_of_all_in_any_order(order, first, second, name):
    """Also of parts without a batch."""
    cuts = sorted((first, second))
    parts = [calibrator([BATCHES[i] for i in part], OBSERVERS[name])
             for part in (order[:cuts[0]], order[cuts[0]:cuts[1]], order[cuts[1]:])]
    for part in parts[1:]:
        merge_state(parts[0], state_of(part))
    assert pack(state_of(parts[0]), {}) == whole(name)


@pytest.mark.parametrize("use", [load_state, merge_state])
@pytest.mark.parametrize("other", [{"observer": AbsmaxObserver}, {"heads": 2, "observer": MinMaxObserver}, {}],
                         ids=["observer", "graph", "default"])
def test_states_of_others_are_refused(use, other):
    if other.get("heads"):
        state = {f"observer/more{key[8:]}": value for key, value in state_of(calibrator(BATCHES[:1])).items()}
    else:
        state = state_of(calibrator(BATCHES[:1], **other))
    with pytest.raises(InvalidArgumentError) as caught:
        use(calibrator(observer=MinMaxObserver), state)
    assert caught.value.remedy


def test_packed_bytes_are_read_back_and_always_the_same():
    state = state_of(calibrator(BATCHES))
    content = pack(state, {"one": 1, "two": [2.5, None, "text"]})
    assert pack(state_of(calibrator(BATCHES)), {"one": 1, "two": [2.5, None, "text"]}) == content
    again, header = unpack(content, "here")
    assert header == {"one": 1, "two": [2.5, None, "text"]}
    assert list(again) and set(again) == set(state)
    assert all(torch.equal(again[name], state[name]) and again[name].dtype == state[name].dtype for name in state)


def test_truncated_and_changed_bytes_are_refused():
    content = pack({"a": torch.arange(5.0), "b": torch.empty(0, 3)}, {"batches": 3})
    broken = [content[:length] for length in range(len(content))] + [content + b"\0"]
    for place in range(len(content)):
        broken.append(content[:place] + bytes([content[place] ^ 1]) + content[place + 1:])
    for one in broken:
        try:
            state, header = unpack(one, "here")
        except InvalidFileError as error:
            assert error.where == "here" and error.remedy
        else:  # a byte that means nothing, such as a space of the padding
            assert header == {"batches": 3} and pack(state, header) == content


def test_digests_tell_values_types_shapes_and_names_apart():
    zeros = torch.zeros(2, 3)
    digests = [digest_of({"a": tensor}) for tensor in (
        zeros, zeros.int(), zeros.T, zeros.bool(), zeros.to(torch.bfloat16), zeros + 1, zeros[0], zeros[0, 0], -zeros)]
    digests += [digest_of({"b": zeros}), digest_of({}), digest_of({}, "text"), digest_of({"a": zeros}, "text")]
    assert len(set(digests)) == len(digests)
    assert digest_of({"a": zeros.T}) == digest_of({"a": torch.zeros(3, 2)})  # not how it lies in memory


def test_the_digest_of_a_model_follows_its_nodes_and_parameters():
    first = model_digest(calibrator())
    assert model_digest(calibrator(BATCHES, AbsmaxObserver)) == first
    assert model_digest(calibrator(heads=2)) != first
    model = convolutional()
    model.module.conv0_bias[0] += 1e-6
    model.prepare()
    assert model_digest(Calibrator(model.module)) != first


def test_the_configuration_names_classes_and_settings():
    assert configuration_of(calibrator()) == configuration_of(calibrator(BATCHES))
    described = [configuration_of(calibrator(observer=lambda made=made: AbsmaxObserver(made)))["node 'relu0'"]
                 for made in (None, 2.0)]
    assert described[0].endswith("AbsmaxObserver(lambd=None)") and described[1].endswith("AbsmaxObserver(lambd=2.0)")
    assert len({configuration_of(calibrator())[f"node '{name}'"] for name in ("conv0", "pool0")}) == 2
