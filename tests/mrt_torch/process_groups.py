"""Groups of processes of torch.distributed for the tests, over gloo.

A module of scenarios is a program that calls ``main(scenarios)``: ``python -m <module> FOLDER WORLD...`` runs a group
of each size, and every process writes what its scenarios found, as JSON, to ``<FOLDER>/<WORLD>/<RANK>.json``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import distributed as dist

from tests.mrt_torch.processes import run_python

Scenarios = Callable[[int, int, Path], Any]  # rank, number of processes, folder of the group

needs_process_groups = pytest.mark.skipif(
    not dist.is_available() or not hasattr(os, "fork"),
    reason="torch was built without distributed, or the system does not fork")


def run_groups(module: ModuleType, folder: Path, worlds: Sequence[int]) -> None:
    """Run the scenarios of a module in groups of several sizes."""
    done = run_python("-m", module.__name__, folder, *worlds)
    assert done.returncode == 0, done.stderr


def found_by(folder: Path, world: int) -> list[Any]:
    """What each process of a group found, by rank."""
    return [json.loads((folder / str(world) / f"{rank}.json").read_text()) for rank in range(world)]


def main(scenarios: Scenarios) -> int:
    """Run the groups at the same time; the number of processes that failed."""
    folder, worlds = Path(sys.argv[1]), [int(world) for world in sys.argv[2:]]
    started = []
    for world in worlds:
        (folder / str(world)).mkdir()
        started += [get_context("fork").Process(target=_member, args=(scenarios, rank, world, folder / str(world)))
                    for rank in range(world)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return sum(process.exitcode != 0 for process in started)


def _member(scenarios: Scenarios, rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world,
                            timeout=timedelta(seconds=60))
    (folder / f"{rank}.json").write_text(json.dumps(scenarios(rank, world, folder)))
    dist.destroy_process_group()
