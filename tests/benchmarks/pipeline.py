"""How prepare, quantize and export grow with the depth of a network."""

from __future__ import annotations

import os
import tempfile
import time

import torch
from rich.console import Console
from rich.table import Table

from mrt_torch import Model
from tests.benchmarks import original
from tests.benchmarks.residual import deep_resnet
from tests.benchmarks.timing import verdict

SHALLOW, DEEP, ROUNDS, BOUND = 12, 48, 5, 5.0
SHAPE = (1, 3, 16, 16)


class Pipeline:
    """A captured residual network and its calibration, which is not timed."""

    def __init__(self, blocks: int):
        self.captured = Model.from_torch(deep_resnet(blocks), torch.zeros(2, *SHAPE[1:]))
        self.data = torch.randn(4, *SHAPE[1:], generator=torch.Generator().manual_seed(0))

    def run(self) -> dict[str, float]:
        """Seconds of each step."""
        seconds, begin = {}, time.perf_counter()

        def lap(step: str) -> None:
            nonlocal begin
            seconds[step] = time.perf_counter() - begin
            begin = time.perf_counter()
        model = Model(self.captured.module, self.captured.stage)
        model.prepare(SHAPE)
        lap("prepare")
        mrt = model.get_mrt()
        mrt.set_data(self.data)
        mrt.calibrate(progress=False)
        begin = time.perf_counter()
        quantized = mrt.quantize()
        lap("quantize")
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            quantized.to_cvm("net", folder, input_shape=SHAPE)
            lap("export")
        return seconds


def _fastest(pipelines: dict[int, Pipeline]) -> dict[int, dict[str, float]]:
    """The round with the least total for each depth, the depths taking turns."""
    rounds: dict[int, list[dict[str, float]]] = {blocks: [] for blocks in pipelines}
    for _ in range(ROUNDS):
        for blocks, pipeline in pipelines.items():
            rounds[blocks].append(pipeline.run())
    return {blocks: min(seconds, key=lambda s: sum(s.values())) for blocks, seconds in rounds.items()}


def run(console: Console, names: list[str]) -> None:
    """Print the table; with ``ORIGINAL_MRT`` set to a checkout of the original, its times too."""
    table = Table(title=f"residual networks of {SHALLOW} and {DEEP} blocks: {DEEP // SHALLOW} times the depth")
    for column in ("step", f"{SHALLOW} blocks, s", f"{DEEP} blocks, s", "ratio", "bound", ""):
        table.add_column(column, justify="left" if column == "step" else "right")
    results = {"": _fastest({blocks: Pipeline(blocks) for blocks in (SHALLOW, DEEP)})}
    if os.environ.get("ORIGINAL_MRT"):
        results["original: "] = {blocks: original.run(deep_resnet(blocks), SHAPE) for blocks in (SHALLOW, DEEP)}
    for label, (shallow, deep) in ((label, list(seconds.values())) for label, seconds in results.items()):
        for step in shallow:
            table.add_row(label + step, f"{shallow[step]:.3f}", f"{deep[step]:.3f}",
                          f"{deep[step] / shallow[step]:.2f}", "", "")
        totals = sum(shallow.values()), sum(deep.values())
        ratio = totals[1] / totals[0]
        table.add_row(label + "together", f"{totals[0]:.3f}", f"{totals[1]:.3f}", f"{ratio:.2f}",
                      *(["", ""] if label else verdict(ratio, BOUND)))
    console.print(table)
