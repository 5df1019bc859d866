"""The judge of mutated files. Oracle: loaders written here, each of which breaks one promise, or none."""

from __future__ import annotations

import contextlib
import ctypes
import time

import numpy as np
import pytest
import torch

from mrt_torch.errors import InvalidFileError
from tests.hostile import outcome
from tests.hostile.formats import Sample
from tests.hostile.outcome import ACCEPTED, try_file

TOO_MUCH = outcome.ALLOWED_BESIDE_FILE + 16 * 2 ** 20


def judged(load, folder, trace: bool = False):
    return try_file(Sample("x", {"x": b"0123"}, "x", load), b"01", folder, trace)


def refuse(**parts):
    def load(folder):
        raise InvalidFileError("no", **parts)
    return load


def test_a_model_and_a_complete_error_are_no_faults(tmp_path):
    accepted = judged(lambda folder: (folder / "x").read_bytes(), tmp_path)
    assert (accepted.kind, accepted.fault) == (ACCEPTED, False)
    refused = judged(refuse(where="a", why="b", remedy="c"), tmp_path)
    assert (refused.kind, refused.fault) == ("InvalidFileError", False)


@pytest.mark.parametrize("missing", ["where", "why", "remedy"])
def test_an_error_without_a_part_is_a_fault(tmp_path, missing):
    parts = {"where": "a", "why": "b", "remedy": "c"}
    del parts[missing]
    found = judged(refuse(**parts), tmp_path)
    assert found.fault and missing in found.kind


@pytest.mark.parametrize("error", [ValueError, KeyError, RuntimeError, RecursionError, MemoryError, AssertionError])
def test_any_other_exception_is_a_fault(tmp_path, error):
    def load(folder):
        raise error("no")
    found = judged(load, tmp_path)
    assert found.fault and error.__name__ in found.kind


def test_a_hang_is_a_fault_also_behind_a_handler(tmp_path, monkeypatch):
    def load(folder):
        try:
            time.sleep(30)
        except Exception:
            return
    monkeypatch.setattr(outcome, "SECONDS_PER_FILE", 0.2)
    found = judged(load, tmp_path)
    assert found.fault and found.seconds < 5


def test_a_large_tensor_is_a_fault(tmp_path):
    """torch's memory is not Python's: the resident size tells, without tracing.

    What earlier tests freed goes back to the system first: a tensor that fits there would not make the process grow.
    """
    if not outcome._status("VmHWM"):
        pytest.skip("needs the resident size in /proc")
    with contextlib.suppress(AttributeError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)
    assert judged(lambda folder: torch.ones(TOO_MUCH // 4).sum(), tmp_path).fault
    assert not judged(lambda folder: torch.ones(1000).sum(), tmp_path).fault


def test_a_large_array_is_a_fault_even_if_nothing_touches_it(tmp_path):
    found = judged(lambda folder: np.empty(TOO_MUCH, np.uint8).size, tmp_path, trace=True)
    assert found.fault and found.allocated >= TOO_MUCH
