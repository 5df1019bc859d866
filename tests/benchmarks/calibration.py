"""What calibration costs beside a plain forward: time in turns in one process, peak memory in processes of their own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import torch
from rich.console import Console
from rich.table import Table

from mrt_torch import Model
from mrt_torch.calibration import Calibrator
from tests.benchmarks.residual import resnet18
from tests.benchmarks.timing import interleaved, verdict

BATCH, ROUNDS = 16, 9
TIME_BOUND, MEMORY_BOUND = 1.35, 1.2


def _network() -> tuple[torch.nn.Module, Model, torch.Tensor]:
    module = resnet18()
    model = Model.from_torch(module, torch.zeros(2, 3, 224, 224))
    model.prepare((1, 3, 224, 224))
    return module, model, torch.randn(BATCH, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def peak_memory(what: str) -> int:
    """Bytes by which the peak of a fresh process grows when it runs ``what``: "module", "prepared" or "calibrate"."""
    command = [sys.executable, "-m", "tests.benchmarks.calibration", what]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _measure_peak(what: str) -> int:
    module, model, images = _network()
    calibrator = Calibrator(model.module)
    actions = {"module": lambda: module(images), "prepared": lambda: model.module(images),
               "calibrate": lambda: calibrator.run([images], torch.device("cpu"), progress=False)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.no_grad():
        for _ in range(3):
            actions[what]()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def run(console: Console, names: list[str]) -> None:
    """Print the table."""
    module, model, images = _network()
    calibrator = Calibrator(model.module)
    with torch.no_grad():
        seconds = interleaved({
            "module": lambda: module(images), "prepared": lambda: model.module(images),
            "calibrate": lambda: calibrator.run([images], torch.device("cpu"), progress=False)}, ROUNDS)
    peaks = {what: peak_memory(what) for what in seconds}
    table = Table(title=f"calibration of every node with absmax, batch {BATCH}, shapes of ResNet-18")
    for column in ("measure", "calibration", "plain forward", "ratio", "bound", ""):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for peer, label in (("module", "the module, eager"), ("prepared", "the prepared graph")):
        ratio = seconds["calibrate"] / seconds[peer]
        table.add_row(f"seconds, against {label}", f"{seconds['calibrate']:.3f}", f"{seconds[peer]:.3f}",
                      f"{ratio:.2f}", *verdict(ratio, TIME_BOUND))
        ratio = peaks["calibrate"] / peaks[peer]
        table.add_row(f"peak MiB, against {label}", f"{peaks['calibrate'] / 2 ** 20:.0f}",
                      f"{peaks[peer] / 2 ** 20:.0f}", f"{ratio:.2f}", *verdict(ratio, MEMORY_BOUND))
    console.print(table)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure_peak(sys.argv[1])))
