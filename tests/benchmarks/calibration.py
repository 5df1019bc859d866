"""What calibration costs beside a plain forward: time in turns, and peak memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

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


def peak_memory(action: Callable[[], object]) -> int:
    """Most bytes of tensors alive at once while ``action`` runs, above those alive before it.

    The process's resident memory would show what the C library keeps for later as well, which varies by half.
    """
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def run(console: Console, names: list[str]) -> None:
    """Print the table."""
    module, model, images = _network()
    calibrator = Calibrator(model.module)
    actions = {"module": lambda: module(images), "prepared": lambda: model.module(images),
               "calibrate": lambda: calibrator.run([images], torch.device("cpu"), progress=False)}
    with torch.no_grad():
        seconds = interleaved(actions, ROUNDS)
    peaks = {what: peak_memory(action) for what, action in actions.items()}
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
