"""Calibration over several processes or machines, with torch.distributed.

Every process observes its share of the batches; then each takes in the statistics of all, so that all hold the same
features: those of a single process, byte for byte. That holds as long as the network gives a batch the same floats in
every process: on one kind of device and, on a CPU, one number of threads (torchrun sets OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from torch import distributed as dist

from mrt_torch.calibration.calibrate import Calibrator, batches
from mrt_torch.calibration.processes import exchange, is_distributed
from mrt_torch.calibration.sharing import Batches, shard, unless_empty
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
from mrt_torch.errors import CalibrationError, MRTError


def calibrate_share(calibrator: Calibrator, data: Any, run: Callable[[Batches], int]) -> int:
    """Observe this process's share of ``data`` and take in what the others saw; all processes call it.

    Args:
        calibrator: without statistics, made the same way in every process.
        data: the whole data, the same in every process; see ``shard``.
        run: observes the batches of a share, and returns how many there were.

    Returns:
        The number of batches of all processes.

    Raises:
        CalibrationError: an observer depends on the order of the batches, there is no data, the processes calibrate
            different things, or another one failed: then every process raises, and the statistics are of no use.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    status: dict[str, Any] = {"batches": 0}
    failure = None
    try:
        check_order(calibrator)
        status["model"] = model_digest(calibrator)
        status["configuration"] = digest_of({}, json.dumps(configuration_of(calibrator)))
        share = unless_empty(shard(data, rank, world))
        status["batches"] = run(share) if share else 0
    except Exception as error:  # whatever it is: the other processes wait for this one
        status["failure"], failure = _describe(error), error
    statuses = [json.loads(message) for message in exchange(json.dumps(status).encode())]
    if failure is not None:
        raise failure
    _check(statuses)
    merge_across_processes(calibrator)
    return sum(status["batches"] for status in statuses)


def merge_across_processes(calibrator: Calibrator) -> None:
    """Replace the statistics of this process by those of all; all processes call it, once.

    Every process merges the same states in the order of the ranks, so that all get the same bytes.

    Raises:
        CalibrationError: an observer depends on the order of the batches, or a process is gone.
        InvalidArgumentError: the processes calibrate different things.
    """
    check_order(calibrator)
    for rank, message in enumerate(exchange(pack(state_of(calibrator), {}))):
        state, _ = unpack(message, f"process {rank}")
        merge_state(calibrator, state) if rank else load_state(calibrator, state)


def check_order(calibrator: Calibrator) -> None:
    """Raise where statistics depend on the order of the batches, which several processes do not have.

    Raises:
        CalibrationError: names the node and its observer.
    """
    for name, observer in calibrator.observers.items():
        if observer.depends_on_order:
            raise CalibrationError("several processes cannot calibrate this observer",
                                   where=f"node '{name}', {type(observer).__name__}",
                                   why="what it keeps depends on the order of the batches, and the processes have none",
                                   remedy="calibrate in one process, or take another observer")


def sum_across_processes(counts: Mapping[str, int]) -> dict[str, int]:
    """The sum of each count over all processes, such as the correct and the seen examples of an evaluation.

    All processes call it; where there is one, its counts are the sums.
    """
    if not is_distributed():
        return dict(counts)
    every = [json.loads(message) for message in exchange(json.dumps(dict(counts)).encode())]
    return {name: sum(one[name] for one in every) for name in counts}


def _describe(error: Exception) -> str:
    """An error in one line, without its remedy."""
    parts = (error.what, error.where, error.why) if isinstance(error, MRTError) else (str(error),)
    return f"{type(error).__name__}: {'; '.join(part for part in parts if part)}"


def _check(statuses: list[dict[str, Any]]) -> None:
    """Raise unless every process did the same thing successfully, and one saw data."""
    for rank, status in enumerate(statuses):
        if "failure" in status:
            raise CalibrationError("another process failed", where=f"process {rank} of {len(statuses)}",
                                   why=status["failure"], remedy="see its message, and start all processes again")
        for part in ("model", "configuration"):
            if status[part] != statuses[0][part]:
                raise CalibrationError(f"the processes calibrate with different {part}s",
                                       where=f"processes 0 and {rank} of {len(statuses)}", why="the digests differ",
                                       remedy="load the same model and give the same settings in every process")
    if not any(status["batches"] for status in statuses):
        next(batches([]))  # raises as a single process does
