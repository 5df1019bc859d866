"""Runs a calibration: in one process or several, through a cache or not."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import torch
from torch import distributed as dist

from mrt_torch.calibration.cache import CalibrationCache
from mrt_torch.calibration.calibrate import Calibrator
from mrt_torch.calibration.distributed import calibrate_share
from mrt_torch.calibration.processes import is_distributed
from mrt_torch.errors import InvalidArgumentError


def run_calibration(calibrator: Calibrator, data: Any, device: torch.device, progress: bool | None = None,
                    cache: CalibrationCache | str | os.PathLike[str] | None = None,
                    distributed: bool | None = None) -> int:
    """Observe data; returns the number of batches.

    Args:
        calibrator: without statistics.
        data, device, progress: as in ``Calibrator.run``.
        cache: keeps the statistics while it runs and goes on where an earlier run stopped: a folder or a
            ``CalibrationCache``.
        distributed: whether all processes of the process group of torch.distributed calibrate together, each with
            its share of the data, which all hand over whole; see ``shard``. None does so if there are several.

    Raises:
        CalibrationError: as in ``Calibrator.run``, ``calibrate_share`` and ``CalibrationCache.run``.
        InvalidFileError: the cache is corrupt.
        InvalidArgumentError: several processes are wanted, and there is one.
    """
    together = is_distributed() if distributed is None else distributed
    if together and not is_distributed():
        raise InvalidArgumentError("there is no other process to calibrate with", where="distributed=True",
                                   why="torch.distributed has no process group of several processes",
                                   remedy="start the program with torchrun and call "
                                          "torch.distributed.init_process_group")
    rank, world = (dist.get_rank(), dist.get_world_size()) if together else (0, 1)
    if cache is None:
        run = partial(calibrator.run, device=device, progress=progress, first=rank, step=world)
    else:
        run = partial(CalibrationCache.of(cache).run, calibrator, device=device, progress=progress, rank=rank,
                      world=world)
    return calibrate_share(calibrator, data, run) if together else run(data)
