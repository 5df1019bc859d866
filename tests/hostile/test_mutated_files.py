"""Damaged files of every format: read and imported, or refused with an error of the library.

Oracle: the outcome is a model or an MRTError with a place, a reason and a remedy, within ten seconds and three times
the file plus 64 MiB. ``python -m tests.benchmarks mutations`` runs ten thousand files of each format.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.formats import FORMATS, Format
from tests.hostile.outcome import ACCEPTED, try_file

TRACED = 8  # one of so many files runs under tracemalloc, which slows it down


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mutated")


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_intact_samples_are_accepted(folder, form):
    """Otherwise the mutations would test nothing."""
    for sample in form.samples:
        outcome = try_file(sample, sample.content, folder, trace=False)
        assert outcome.kind == ACCEPTED, sample.name


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2 ** 32 - 1))
def test_a_mutated_file_is_accepted_or_refused(folder, form: Format, seed: int):
    sample, mutated = form.draw(Random(seed))
    outcome = try_file(sample, mutated, folder, trace=seed % TRACED == 0)
    assert not outcome.fault, f"'{sample.name}': {outcome.kind}"


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_mutations_follow_from_the_seed(form):
    """Oracle: the same seed again; and the mutations do change files."""
    drawn = [form.draw(Random(seed)) for seed in range(20)]
    assert [mutated for _, mutated in drawn] == [form.draw(Random(seed))[1] for seed in range(20)]
    assert sum(mutated != sample.content for sample, mutated in drawn) >= 15
