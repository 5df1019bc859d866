"""Several real processes, over gloo; see ``process_worker``. Oracle: the same calibration in this process, as bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mrt_torch.calibration import Calibrator
from mrt_torch.calibration.distributed import sum_across_processes
from mrt_torch.calibration.moving_average import MovingAverageObserver
from mrt_torch.calibration.processes import is_distributed, torchrun_group
from mrt_torch.calibration.run import run_calibration
from mrt_torch.errors import InvalidArgumentError
from tests.mrt_torch.calibration import process_worker
from tests.mrt_torch.calibration.process_worker import BATCHES, CPU, MODULES, OBSERVERS
from tests.mrt_torch.process_groups import found_by, needs_process_groups, run_groups
from tests.mrt_torch.processes import run_python

WORLDS = [2, 3]

pytestmark = needs_process_groups


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


@pytest.fixture(scope="module")
def alone() -> dict[str, dict]:
    """The calibrations of one process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes: sums of floats depend on it
    try:
        found = {name: process_worker.calibrated(BATCHES, observer) for name, observer in OBSERVERS.items()}
        return {**found, "one batch": process_worker.calibrated(BATCHES[0])}
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", OBSERVERS)
def test_every_process_has_the_features_of_one(found, alone, name):
    """Maxima, extremes, histograms and the sample; 7 batches are no equal shares."""
    assert alone[name]["batches"] == len(BATCHES)
    for process in found:
        assert process[name] == alone[name]


@pytest.mark.parametrize("form", ["loader", "generator", "cache", "cache again", "alone"])
def test_every_form_of_data_and_the_cache_give_the_same(found, alone, form):
    for process in found:
        assert process[form] == alone["default"]


def test_states_merged_by_hand(found, alone):
    """``merge_across_processes`` without the rest."""
    for process in found:
        assert process["by hand"] == {key: value for key, value in alone["default"].items() if key != "batches"}


def test_a_process_without_any_batch(found, alone):
    for process in found:
        assert process["one batch"] == alone["one batch"]


@pytest.mark.parametrize("index", [0, 1])
def test_all_processes_raise_where_one_meets_a_value_that_is_not_finite(found, index):
    """The process of the batch names it; the others name the process, and repeat its error."""
    for rank, process in enumerate(found):
        error = process[f"NaN in batch {index}"]
        assert error["class"] == "CalibrationError"
        if rank == index:
            assert error["where"] == f"the data itself, batch {index}"
        else:
            assert error["what"] == "another process failed" and error["where"] == f"process {index} of {len(found)}"
            assert f"not finite; the data itself, batch {index}" in error["why"]
        assert error["remedy"]


def test_any_error_of_one_process_stops_all(found):
    """One that is not the library's."""
    errors = [process["a loader of one process breaks"] for process in found]
    assert errors[0]["class"] == "ZeroDivisionError"
    for error in errors[1:]:
        assert error["class"] == "CalibrationError" and error["why"] == "ZeroDivisionError: mine"


@pytest.mark.parametrize(("case", "words"), [
    ("no data", "there is no calibration data"), ("no data at all", "saw NoneType"),
    ("moving average", "node 'data', MovingAverageObserver"), ("merged moving average", "order of the batches"),
    ("order of one's own", "node 'data', Unknown"), ("different settings", "different configurations"),
    ("different models", "different models")])
def test_what_several_processes_refuse(found, case, words):
    for process in found:
        assert process[case]["class"] == "CalibrationError"
        assert words in process[case]["text"]
        assert process[case]["remedy"]


def test_the_processes_go_on_after_errors(found, alone):
    for process in found:
        assert process["in order again"] == alone["absmax"]


def test_sums_and_messages_of_any_length(found):
    for process in found:
        assert process["sums"] == {"correct": sum(range(len(found))), "seen": 10 * len(found)}
        assert process["messages"] == [str(rank) * (1 + 1000 * rank) for rank in range(len(found))]


def test_one_process_is_not_several(monkeypatch):
    assert not is_distributed()
    assert sum_across_processes({"seen": 4}) == {"seen": 4}
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with torchrun_group(CPU) as device:
        assert device == CPU and not is_distributed()
    with pytest.raises(InvalidArgumentError, match="no other process.*\n.*\n.*\n.*torchrun"):
        run_calibration(Calibrator(MODULES[1]), BATCHES, CPU, distributed=True)


def test_one_process_takes_moving_averages():
    assert process_worker.calibrated(BATCHES, MovingAverageObserver)["batches"] == len(BATCHES)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available() or not torch.distributed.is_nccl_available(),
                    reason="no CUDA device, or no NCCL")
def test_messages_pass_through_nccl(tmp_path):
    """A group of one process, which one device is enough for."""
    code = ("import torch.distributed as dist\n"
            "from mrt_torch.calibration.processes import exchange\n"
            f"dist.init_process_group('nccl', init_method='file://{tmp_path}/meeting', rank=0, world_size=1)\n"
            "assert list(exchange(b'message')) == [b'message']\n"
            "dist.destroy_process_group()\n")
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
