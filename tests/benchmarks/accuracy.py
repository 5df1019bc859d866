"""Every labelled network, float and quantized in each setting, on its whole evaluation data, beside onnxruntime."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from mrt_torch import MRT, Model
from tests.benchmarks import peers, targets
from tests.benchmarks.datasets import Pictures
from tests.benchmarks.likeness import Likeness, likeness, multiply_accumulates, operand_bits
from tests.benchmarks.networks import LABELLED, UNEQUAL, Network, chosen

BATCH, CALIBRATION_BATCH = 10, 16   # ten pictures of 224x224 stay in the cache: twice as fast as fifty
SETTINGS: dict[str, Callable[[MRT], None]] = {
    "original": lambda mrt: mrt.set_accuracy("original"),
    "default": lambda mrt: None,
    "best": lambda mrt: mrt.set_accuracy("best"),
    "6-bit weights": lambda mrt: mrt.set_weight_precision(6),
    "4-bit weights": lambda mrt: mrt.set_weight_precision(4),
}
COLUMNS = ("settings", "pictures", "top-1 %", "change", "agreement %", "SNR dB", "cosine", "integer nodes",
           "operand bits", "extra MACs %", "seconds")


@dataclass(frozen=True)
class Row:
    """A network in one setting.

    Attributes:
        likeness: to the float network.
        seconds: of calibrating and quantizing.
        nodes: of the integer graph.
        bits: widest operand of its convolutions and dense layers.
        extra: multiply-accumulates that the float network does not have, percent.
    """

    network: str
    settings: str
    pictures: int
    likeness: Likeness
    seconds: float
    nodes: int | None = None
    bits: int | None = None
    extra: float | None = None

    def cells(self) -> list[str]:
        """As in ``COLUMNS``."""
        near = self.likeness
        return [self.settings, str(self.pictures), f"{near.top1:.2f}",
                f"{near.change:+.2f} ± {near.change_error:.2f}", f"{near.agreement:.2f}", f"{near.noise:.2f}",
                f"{near.cosine:.5f}", *("-" if value is None else str(value) for value in (self.nodes, self.bits)),
                "-" if self.extra is None else f"{self.extra:.1f}", f"{self.seconds:.1f}"]


def logits(network: Callable[[torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...]],
           images: torch.Tensor) -> torch.Tensor:
    """The last output of a network for all images: (N, classes) float64."""
    with torch.no_grad():
        batches = [network(batch) for batch in images.split(BATCH)]
    last = [batch if isinstance(batch, torch.Tensor) else batch[-1] for batch in batches]
    return torch.cat(last).flatten(1).to(torch.float64)


def quantized(model: Model, pictures: Pictures, settings: str) -> Model:
    """The integer model of a prepared one."""
    mrt = model.get_mrt()
    SETTINGS[settings](mrt)
    mrt.set_data(list(pictures.calibration.split(CALIBRATION_BATCH)))
    mrt.calibrate(progress=False)
    return mrt.quantize()


def measure(network: Network, subset: int | None) -> Iterator[Row]:
    """The rows of a network; the first is its float form."""
    pictures, model = network.pictures(), network.load_logits()
    images, labels = pictures.evaluation[:subset], pictures.labels[:subset]
    source = model.module
    exact = logits(source, images)
    yield Row(network.name, "float", len(images), likeness(exact, exact, labels), 0.0)
    model.prepare(network.shape)
    cost = multiply_accumulates(model.module)
    for settings in ("default", "best") if network is UNEQUAL else SETTINGS:
        begin = time.perf_counter()
        integer = quantized(model, pictures, settings)
        seconds = time.perf_counter() - begin
        yield Row(network.name, settings, len(images), likeness(exact, logits(integer, images), labels), seconds,
                  sum(node.op == "call_function" for node in integer.module.graph.nodes),
                  operand_bits(integer.module), 100 * multiply_accumulates(integer.module) / cost - 100)
    if not peers.missing():
        peer = peers.OnnxRuntime(source, pictures.calibration)
        for method in peers.METHODS:
            run, seconds = peer.quantized(method)
            yield Row(network.name, peers.label(method), len(images), likeness(exact, logits(run, images), labels),
                      seconds)


def float_row(cells: list[str]) -> list[str]:
    """Cells of the float network, which differs from itself by nothing."""
    return [*cells[:3], *["-"] * (len(cells) - 3)]


def show(console: Console, network: Network, rows: list[Row]) -> None:
    """Print the table of one network."""
    table = Table(title=network.name)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "settings" else "right", no_wrap=True,
                         min_width=16 if column == "settings" else None)
    for row in rows:
        table.add_row(*(float_row(row.cells()) if row.settings == "float" else row.cells()))
    console.print(table)


def run(console: Console, names: list[str], subset: int | None = None, file: Path | None = None) -> None:
    """Print a table for each network and what they say of the targets; write the figures to ``file`` as JSON too.

    Top-1 is of the labels; agreement, signal-to-noise ratio and cosine are of the logits against the float network's.
    Seconds are those of calibrating and quantizing. ``subset`` takes only the first pictures.
    """
    if peers.missing():
        console.print(f"without onnxruntime's rows: not installed: {', '.join(peers.missing())}")
    rows: list[Row] = []
    for network in chosen(names, [*LABELLED, UNEQUAL]):
        found = list(measure(network, subset))
        show(console, network, found)
        rows += found
    verdicts = targets.judge(console, rows, whole=subset is None)
    if file is not None:
        file.write_text(json.dumps({"machine": platform.machine(), "torch": torch.__version__, "subset": subset,
                                    "rows": [_flat(row) for row in rows],
                                    "targets": [dataclasses.asdict(verdict) for verdict in verdicts]}, indent=1) + "\n")


def _flat(row: Row) -> dict[str, object]:
    values = {**dataclasses.asdict(row), **dataclasses.asdict(row.likeness)}
    if row.settings == "float":
        del values["noise"]  # infinite, which JSON cannot say
    return {name: value for name, value in values.items() if name != "likeness" and value is not None}
