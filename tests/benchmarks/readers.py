"""Reading a checkpoint against numpy reading the same bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bridges.mxnet.params_file import read_params, write_params
from tests.benchmarks.timing import interleaved, verdict

MEGABYTES, ARRAYS, ROUNDS, BOUND = 50, 60, 25, 3.0


def run(console: Console, names: list[str]) -> None:
    """Print the table."""
    random = np.random.default_rng(0)
    arrays = {f"arg:layer{i}_weight": random.standard_normal((MEGABYTES * 250_000 // ARRAYS,), dtype=np.float32)
              for i in range(ARRAYS)}
    table = Table(title=f"a checkpoint of {MEGABYTES} MB in {ARRAYS} arrays")
    for column in ("reader", "milliseconds", "numpy, the same bytes", "ratio", "bound", ""):
        table.add_column(column, justify="left" if column == "reader" else "right")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net-0000.params"
        write_params(path, arrays)
        seconds = interleaved({"ours": lambda: read_params(path), "numpy": lambda: np.fromfile(path, np.uint8)}, ROUNDS)
    ratio = seconds["ours"] / seconds["numpy"]
    table.add_row("MXNet .params", f"{1000 * seconds['ours']:.1f}", f"{1000 * seconds['numpy']:.1f}", f"{ratio:.2f}",
                  *verdict(ratio, BOUND))
    console.print(table)
