"""Detectors of gluoncv at full size, split at the keys of the original's configurations, quantized and merged again.

Seeded weights and pictures, gluoncv needed. Columns: the rows that the merged integer model detects; how far its sorted
scores are from those of the float top on the same base; how many of that one's rows, and of the 50 best of the whole
float model, have a counterpart of the same class with an overlap above 0.75. Below, the integers of every engine
against those of the integer graph.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from mrt_torch import Model
from mrt_torch.verification import legal_inputs, verify_model
from tests.benchmarks import gluoncv_export
from tests.benchmarks.gluoncv_export import pictures
from tests.end_to_end.detectors import CALIBRATION, CASES, Case, overlap

SIZES = {"ssd_512_mobilenet1.0_voc": 512, "yolo3_mobilenet1.0_voc": 416}
BEST, OVERLAP = 50, 0.75


def row(case: Case, folder: Path) -> tuple[list[str], list[str]]:
    """Cells of a detector, and what its engines gave."""
    size = SIZES[case.network]
    stem, shape = folder / "net", (1, 3, size, size)
    subprocess.run([sys.executable, gluoncv_export.__file__, "gluoncv", case.network, str(size), stem], check=True)
    begin = time.perf_counter()
    model = Model.load(f"{stem}-symbol.json", f"{stem}-0000.params")
    base, top = model.split(case.keys, shape)
    base.prepare(shape)
    mrt = base.get_mrt()
    mrt.set_data(torch.from_numpy(pictures(CALIBRATION, size, seed=1)))
    mrt.calibrate()
    if case.output_precision is not None:
        mrt.set_output_prec(case.output_precision)
    merger = Model.merger(mrt.quantize(), top, mrt.get_maps())
    merged, in_float = merger.merge_integers(case.attribute_deps, case.oscale_maps), merger.merge()
    seconds = time.perf_counter() - begin
    data = torch.from_numpy(pictures(1, size, seed=2))
    seen, near, whole = ([output[0] for output in each(data)] for each in
                         (merged, in_float, model.with_input_shape(shape)))
    report = verify_model(merged, legal_inputs(merged, data))
    cells = [case.network, str(size), str(case.output_precision or "as it is"), f"{seconds:.0f}",
             str(int((seen[0] >= 0).sum())), f"{float((seen[1] - near[1]).abs().max()):.1e}",
             matched(seen, near, len(near[0])), matched(seen, whole, BEST)]
    return cells, [f"{case.network}, {case.output_precision}: {way.title}: {_outcome(way)}" for way in report.results]


def matched(seen: list[torch.Tensor], wanted: list[torch.Tensor], count: int) -> str:
    """How many of the best detections ``wanted`` have a counterpart."""
    best = wanted[1][:, 0].argsort(descending=True)[:count]
    best = best[wanted[0][best, 0] >= 0]
    alike = (overlap(wanted[2][best], seen[2]) > OVERLAP) & (wanted[0][best] == seen[0][:, 0][None])
    return f"{int(alike.any(1).sum())} of {len(best)}"


def _outcome(way) -> str:
    if way.not_installed:
        return "not installed"
    return way.refused or ("identical" if way.differing == 0 else f"{way.differing} differ")


def run(console: Console, names: list[str]) -> None:
    """Print the table."""
    table = Table(title="detectors, split, quantized and merged in integers")
    for column in ("network", "size", "output bits", "split to merge, s", "detections", "scores off by",
                   "of the float top", "of the float model"):
        table.add_column(column, justify="left" if column == "network" else "right")
    engines: list[str] = []
    for case in CASES.values():
        if not names or any(name in case.network for name in names):
            with tempfile.TemporaryDirectory() as folder:
                cells, lines = row(case, Path(folder))
            table.add_row(*cells)
            engines += lines
    console.print(table)
    for line in engines:
        console.print(line)
