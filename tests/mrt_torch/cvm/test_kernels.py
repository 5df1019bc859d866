"""Every kernel against its definition over Python integers, with attributes at their edges and extreme values."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import OPERATORS, Interval
from tests.mrt_torch.cvm.calls import outputs, run
from tests.mrt_torch.cvm.oracles import ORACLES
from tests.mrt_torch.cvm.sampling import sample_call

NAMES = sorted(row.name for row in OPERATORS)


def check_call(sampled) -> None:
    """Oracle: ``oracles.py``. The values lie in the proven ranges, which fit the inferred precisions."""
    row, call = OPERATORS[sampled.operator], sampled.call()
    tensors = [torch.from_numpy(operand.values.astype(np.int32)) for operand in sampled.operands]
    arrays = [operand.values.astype(object) for operand in sampled.operands]
    results = outputs(run(row.name, *([tensors] if row.takes_list else tensors), **sampled.attributes))
    expected = ORACLES[row.name](*([arrays] if row.takes_list else arrays), **sampled.attributes)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for result, reference, values, precision in zip(results, expected, row.value_ranges(call), row.precisions(call),
                                                    strict=True):
        assert tuple(result.shape) == reference.shape
        assert result.tolist() == reference.tolist()
        assert values.contains(Interval.of_tensor(result)) and values.precision <= precision


def test_every_operator_has_a_definition():
    assert sorted(ORACLES) == NAMES and len([row for row in OPERATORS if not row.composite]) == 37


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2 ** 32))
def test_kernel_is_the_definition(name, seed):
    check_call(sample_call(name, Random(seed)))


# Attributes whose edges the draws must have reached: a generator that never does tests nothing there.
EDGES = {
    "conv2d": lambda a: max(a["strides"]) == 4096 and max(a["padding"]) == 4096,
    "max_pool2d": lambda a: a["ceil_mode"] and len(a["padding"]) == 1, "clip": lambda a: a["a_max"] == 2 ** 31 - 2,
    "cvm_clip": lambda a: a["precision"] in (1, 32), "cvm_right_shift": lambda a: a["shift_bit"] == 32,
    "cvm_left_shift": lambda a: a["shift_bit"] >= 24, "reshape": lambda a: -4 in a["shape"],
    "sum": lambda a: a["exclude"] and a["axis"] and a["keepdims"], "max": lambda a: not a["axis"],
    "expand_dims": lambda a: a["axis"] < 0 and a["num_newaxis"] > 2, "tile": lambda a: a["reps"] == [4096],
    "strided_slice": lambda a: min(a["stride"], default=1) < 0 and len(a["begin"]) < len(a["stride"]),
    "take": lambda a: a["axis"] is None, "get_valid_counts": lambda a: a["score_threshold"] == -2 ** 31,
    "non_max_suppression": lambda a: a["force_suppress"] and a["top_k"] > 0 and a["max_output_size"] > 0,
}


@pytest.mark.parametrize("name", EDGES)
def test_draws_reach_the_edges(name):
    assert any(EDGES[name](sample_call(name, Random(seed)).attributes) for seed in range(2000))
