"""Oracle: the table of buffers in mrt-gen section 2, by hand."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch import SBuffer, SLBuffer, SZBuffer
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.quantization import get_buffer

SCALES = st.floats(1e-30, 1e30)


@pytest.mark.parametrize("buffer,value,serialized", [
    (SBuffer(2), 2.0, ["Scale", 2.0]), (SLBuffer(1, 2.5), (1.0, 2.5), ["ScaleList", 1.0, 2.5]),
    (SLBuffer(3), (3.0,), ["ScaleList", 3.0]), (SZBuffer(2, -3), (2.0, -3.0), ["ScaleZpoint", 2.0, -3.0])])
def test_values(buffer, value, serialized):
    assert buffer.get() == value
    assert buffer.serialize() == serialized
    assert repr(buffer) == f"{type(buffer).__name__}({', '.join(map(repr, serialized[1:]))})"


@settings(deadline=None, max_examples=50)
@given(st.one_of(SCALES.map(SBuffer), st.lists(SCALES, min_size=1).map(lambda s: SLBuffer(*s)),
                 st.tuples(SCALES, st.floats(-1e30, 1e30)).map(lambda t: SZBuffer(*t))))
def test_round_trip_through_json(buffer):
    again = get_buffer(json.loads(json.dumps(buffer.serialize())))
    assert again == buffer and hash(again) == hash(buffer) and type(again) is type(buffer)


@pytest.mark.parametrize("make", [
    lambda: SBuffer(0), lambda: SBuffer(-1), lambda: SBuffer(math.nan), lambda: SBuffer("x"), lambda: SLBuffer(),
    lambda: SLBuffer(1, math.inf), lambda: SZBuffer(1, math.nan), lambda: SZBuffer(0, 1)])
def test_values_are_checked(make):
    with pytest.raises(InvalidArgumentError):
        make()


@pytest.mark.parametrize("serialized", [
    ["Nothing", 1], ["Scale"], ["Scale", 1, 2], ["ScaleZpoint", 1], [], "Scale", None, [["Scale"]], ["Scale", [1]],
    ["ScaleList"]])
def test_what_is_no_serialized_buffer(serialized):
    with pytest.raises(InvalidArgumentError):
        get_buffer(serialized)
