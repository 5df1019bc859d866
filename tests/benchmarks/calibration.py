"""What calibration costs beside a plain forward, time in turns and peak memory; and the search of a threshold."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from mrt_torch import Model
from mrt_torch.calibration import AbsmaxObserver, Calibrator, HistogramObserver
from tests.benchmarks import divergence
from tests.benchmarks.residual import resnet18
from tests.benchmarks.timing import interleaved, verdict

BATCH, BATCHES, ROUNDS = 16, 4, 7
MEMORY_BOUND = 1.2
OBSERVERS = {"absmax of every node": (AbsmaxObserver, 1.35), "histogram of every node": (HistogramObserver, 2.0),
             "the default observers": (None, 2.0)}


def peak_memory(action: Callable[[], object]) -> int:
    """Most bytes of tensors alive at once while ``action`` runs, above those alive before it.

    The process's resident memory would show what the C library keeps for later as well, which varies by half.
    """
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def observing(model: Model, observer: type | None, images: torch.Tensor) -> Callable[[], object]:
    """One batch through a calibrator, which goes on from call to call."""
    calibrator = Calibrator(model.module, observer=observer)
    return lambda: calibrator.run([images], torch.device("cpu"), progress=False)


def calibrating(model: Model, images: torch.Tensor) -> None:
    """All that ``MRT.calibrate`` does by default, with batches of these images."""
    mrt = model.get_mrt()
    mrt.set_data([images] * BATCHES)
    mrt.calibrate(progress=False)


def run(console: Console, names: list[str]) -> None:
    """Print the tables: calibration, and the search that one of its optimizors makes."""
    module, images = resnet18(), torch.randn(BATCH, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    model = Model.from_torch(module, torch.zeros(2, 3, 224, 224))
    model.prepare((1, 3, 224, 224))
    peers = {"the module, eager": lambda: module(images), "the prepared graph": lambda: model.module(images)}
    actions = {name: observing(model, observer, images) for name, (observer, _) in OBSERVERS.items()}
    whole = f"MRT.calibrate, {BATCHES} batches"
    with torch.no_grad():
        seconds = interleaved({**peers, **actions, whole: lambda: calibrating(model, images)}, ROUNDS)
    peaks = {name: peak_memory(action) for name, action in peers.items()}
    peaks |= {name: peak_memory(observing(model, observer, images)) for name, (observer, _) in OBSERVERS.items()}
    table = Table(title=f"calibration, batch {BATCH}, shapes of ResNet-18: medians of {ROUNDS} rounds taken in turns")
    for column in ("calibration", "measure", "against", "calibration", "plain forward", "ratio", "bound", ""):
        table.add_column(column, justify="right" if len(table.columns) > 2 else "left")
    for name, (_, bound) in OBSERVERS.items():
        for peer in peers:
            for label, measured, unit, most in (("seconds", seconds, 1, bound),
                                                ("peak MiB", peaks, 2 ** 20, MEMORY_BOUND)):
                ratio = measured[name] / measured[peer]
                table.add_row(name, label, peer, f"{measured[name] / unit:.3g}", f"{measured[peer] / unit:.3g}",
                              f"{ratio:.2f}", *verdict(ratio, most))
    for peer in peers:
        forward = BATCHES * seconds[peer]
        table.add_row(whole, "seconds", peer, f"{seconds[whole]:.3g}", f"{forward:.3g}",
                      f"{seconds[whole] / forward:.2f}", "", "")
    console.print(table)
    divergence.run(console)
