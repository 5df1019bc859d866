"""Mutated files of every format: each is read and imported, or refused with an error of the library.

Every file is decided by its format and number alone. All are read within a time limit and the memory limit; a crash of
the interpreter itself stops the run and names the file.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch
from rich.console import Console
from rich.table import Table

from tests.hostile.formats import FORMATS
from tests.hostile.outcome import ACCEPTED, ALLOWED_BESIDE_FILE, ALLOWED_PER_BYTE, SECONDS_PER_FILE, try_file

FILES = int(os.environ.get("MUTATED_FILES", 10_000))
CHUNK = 250
TRACED = 10  # every so many files are run under tracemalloc
FAULTS_SHOWN = 20
PROCESSES = min(2, os.cpu_count() or 1)
MEMORY = "/dev/shm"  # a folder in memory, where there is one: no disk is measured


@dataclass
class Tally:
    """Outcomes of many files of one format; ``faults`` are (file number, sample, description)."""

    kinds: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    ratio: float = 0.0
    allocated: int = 0
    faults: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add the outcomes of other files."""
        self.kinds += other.kinds
        self.slowest, self.ratio = max(self.slowest, other.slowest), max(self.ratio, other.ratio)
        self.allocated = max(self.allocated, other.allocated)
        self.faults += other.faults


def try_files(job: tuple[int, int, int]) -> tuple[int, Tally]:
    """The files from ``begin`` to ``end`` of a format given by its position."""
    position, begin, end = job
    torch.set_num_threads(1)
    form, tally = FORMATS[position], Tally()
    with tempfile.TemporaryDirectory(dir=MEMORY if Path(MEMORY).is_dir() else None) as folder:
        for number in range(begin, end):
            sample, mutated = form.draw(Random(f"{form.name} {number}"))
            faulthandler.dump_traceback_later(4 * SECONDS_PER_FILE, exit=True)  # code that no signal interrupts
            outcome = try_file(sample, mutated, Path(folder), trace=number % TRACED == 0)
            faulthandler.cancel_dump_traceback_later()
            tally.add(Tally(Counter([outcome.kind]), outcome.seconds, outcome.ratio, outcome.allocated,
                            [(number, sample.name, outcome.kind)] if outcome.fault else []))
    return position, tally


def run(console: Console, names: list[str]) -> None:
    """Print the table, and what broke the promise; formats whose name contains one of ``names``, or all.

    Raises:
        SystemExit: a file broke the promise.
    """
    begin = time.perf_counter()
    tallies = {position: Tally() for position, form in enumerate(FORMATS)
               if not names or any(name in form.name for name in names)}
    jobs = [(position, start, min(start + CHUNK, FILES)) for position in tallies for start in range(0, FILES, CHUNK)]
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        for position, tally in pool.map(try_files, jobs):
            tallies[position].add(tally)
    console.print(_table(tallies))
    console.print(f"{time.perf_counter() - begin:.0f} s in {PROCESSES} processes")
    faults = {FORMATS[position].name: tally.faults for position, tally in tallies.items() if tally.faults}
    for name, found in faults.items():
        console.print(f"{name}: {len(found)} faults")
        for number, sample, kind in found[:FAULTS_SHOWN]:
            console.print(f"  file {number}, from '{sample}': {kind}", markup=False)
    if faults:
        raise SystemExit(1)


def _table(tallies: dict[int, Tally]) -> Table:
    table = Table(title=f"mutated files: at most {SECONDS_PER_FILE} s and {ALLOWED_PER_BYTE} x the file + "
                        f"{ALLOWED_BESIDE_FILE >> 20} MiB each")
    for column in ("format", "files", "accepted", "refused with", "faults", "slowest, s", "largest allocation, MiB",
                   "of what is allowed"):
        table.add_column(column, justify="left" if column in ("format", "refused with") else "right")
    for position, tally in tallies.items():
        broken = {kind for _, _, kind in tally.faults}
        refused = "\n".join(f"{kind} {count:,}" for kind, count in tally.kinds.most_common()
                            if kind != ACCEPTED and kind not in broken)
        table.add_row(FORMATS[position].name, f"{tally.kinds.total():,}", f"{tally.kinds[ACCEPTED]:,}", refused,
                      str(len(tally.faults)), f"{tally.slowest:.2f}", f"{tally.allocated / 2 ** 20:.1f}",
                      f"{tally.ratio:.1%}", end_section=True)
    return table
