"""Several real processes, over gloo; see ``process_worker``. Oracle: the same evaluation in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrt_torch.data.accuracy import ClassificationAccuracy
from mrt_torch.evaluation.tally import AdditiveMetric
from tests.mrt_torch.evaluation import process_worker
from tests.mrt_torch.evaluation.judged import labels, scores
from tests.mrt_torch.evaluation.process_worker import BATCH, ROWS, Averaged, Means, Watched
from tests.mrt_torch.process_groups import found_by, needs_process_groups, run_groups

WORLDS = [2, 3]



@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where both groups of processes wrote what they found."""
    folder = tmp_path_factory.mktemp("processes")
    run_groups(process_worker, folder, WORLDS)
    return folder


@pytest.fixture(params=WORLDS, ids="{} processes".format)
def found(request, folder) -> list[dict]:
    """What each process of a group found, by rank."""
    return found_by(folder, request.param)


def rows_of(batches: range) -> list[int]:
    return [row for batch in batches for row in range(batch * BATCH, min((batch + 1) * BATCH, ROWS))]


@needs_process_groups
@pytest.mark.parametrize(("case", "batches"), [
    ("shared", None), ("streamed", None), ("shared again", None), ("one batch", 1), ("five batches", 5)])
def test_every_process_has_the_report_of_one(found, case, batches):
    """Each reads its share of the batches only, but for a data set that makes its batches itself.

    Tolerance of the ratio: float64 sums in another order.
    """
    numbers = range(-(-ROWS // BATCH))[:batches]
    alone = process_worker.found(Watched(), batches)
    ratio = alone["models"]["coarse"].pop("signal_to_noise_db")
    for rank, process in enumerate(found):
        report = process[case]
        assert report.pop("read") == rows_of(numbers if case == "streamed" else numbers[rank::len(found)])
        assert report["models"]["coarse"].pop("signal_to_noise_db") == pytest.approx(ratio, rel=1e-12)
        assert report["examples"] == alone["examples"] and report["models"] == alone["models"]


@needs_process_groups
def test_metrics_that_cannot_be_added_up_see_the_whole(found):
    alone = process_worker.found(Averaged())
    for process in found:
        assert process["averaged"] == {**alone, "models": {
            name: {**figures, "text": process["averaged"]["models"][name]["text"]}
            for name, figures in alone["models"].items()}}  # the text names a place in memory


@needs_process_groups
def test_all_processes_raise_where_one_fails(found):
    """Batch 1 is that of process 1."""
    for rank, process in enumerate(found):
        error = process["NaN"]
        if rank == 1:
            assert error["class"] == "InvalidArgumentError" and error["where"] == "model 'spoilt', batch 1"
        else:
            assert error["class"] == "MRTError" and error["where"] == f"process 1 of {len(found)}"
            assert "NaN where: model 'spoilt', batch 1" in error["why"]
        assert error["remedy"]


@needs_process_groups
def test_any_error_of_one_process_stops_all(found):
    errors = [process["a model breaks"] for process in found]
    assert errors[0]["class"] == "ZeroDivisionError"
    assert all(error["class"] == "MRTError" and error["why"] == "ZeroDivisionError: mine" for error in errors[1:])


@needs_process_groups
@pytest.mark.parametrize(("case", "words"), [("different models", "different models"), ("no data", "no examples")])
def test_what_several_processes_refuse(found, case, words):
    for process in found:
        assert words in process[case]["what"] and process[case]["remedy"]


def test_counts_of_parts_add_up():
    """Oracle: a metric that saw the whole."""
    whole, parts = ClassificationAccuracy((1, 2)), [ClassificationAccuracy((1, 2)) for _ in range(2)]
    whole.update(scores(), labels())
    for part, rows in zip(parts, (slice(0, 3), slice(3, 10)), strict=True):
        part.update(scores()[rows], labels()[rows])
    together = ClassificationAccuracy((1, 2))
    together.load_counts({name: count + parts[1].counts()[name] for name, count in parts[0].counts().items()})
    assert together.values() == whole.values() and together.counts()["seen"] == 10
    assert isinstance(whole, AdditiveMetric) and not isinstance(Means(), AdditiveMetric)
