"""Float and integer networks on their whole evaluation data: accuracy where there are labels, likeness everywhere."""

from __future__ import annotations

import time

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from mrt_torch import Model
from mrt_torch.graph.facts import facts_of
from tests.benchmarks.networks import Network, chosen

BATCH = 50


def quantized(network: Network) -> tuple[Model, Model]:
    """The prepared float model and its quantized one, calibrated with the defaults."""
    model = network.load()
    model.prepare(network.shape)
    mrt = model.get_mrt()
    mrt.set_data(list(network.pictures().calibration.split(16)))
    mrt.calibrate()
    return model, mrt.quantize()


def answers(model: Model | nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """All outputs of a model in float64, each (N, -1)."""
    with torch.no_grad():
        batches = [model(batch) for batch in images.split(BATCH)]
    batches = [batch if isinstance(batch, tuple) else (batch,) for batch in batches]
    return [torch.cat(parts).flatten(1).to(torch.float64) for parts in zip(*batches, strict=True)]


def measure(network: Network) -> list[str]:
    """One row of the table."""
    begin = time.perf_counter()
    pictures = network.pictures()
    model, integer = quantized(network)
    float_outputs = answers(model if network.module is None else network.module(), pictures.evaluation)
    integer_outputs = answers(integer, pictures.evaluation)
    exact, approximate = torch.cat(float_outputs, 1), torch.cat(integer_outputs, 1)
    noise = 10 * torch.log10((exact ** 2).sum() / ((exact - approximate) ** 2).sum())
    cosine = ((exact * approximate).sum(1) / (exact.norm(dim=1) * approximate.norm(dim=1))).mean()
    right, answer = float_outputs[-1].argmax(1), integer_outputs[-1].argmax(1)
    agreement = 100 * (right == answer).double().mean()
    nodes = [node for node in integer.module.graph.nodes if node.op == "call_function"]
    widest = max(facts_of(node).precision for node in nodes)
    return [network.name, str(len(pictures.evaluation)), *_accuracies(pictures.labels, right, answer),
            f"{agreement:.2f}" if pictures.labels is not None else "-", f"{cosine:.5f}", f"{noise:.2f}",
            str(len(nodes)), str(widest), f"{time.perf_counter() - begin:.0f}"]


def _accuracies(labels: torch.Tensor | None, right: torch.Tensor, answer: torch.Tensor) -> list[str]:
    if labels is None:
        return ["-", "-", "-"]
    exact, approximate = (100 * (given == labels).double().mean() for given in (right, answer))
    return [f"{exact:.2f}", f"{approximate:.2f}", f"{approximate - exact:+.2f}"]


def run(console: Console, names: list[str]) -> None:
    """Print the table."""
    table = Table(title="accuracy with the defaults; cosine and signal-to-noise ratio over all outputs")
    for column in ("network", "pictures", "float %", "integer %", "change", "agreement %", "cosine", "SNR dB",
                   "integer nodes", "widest bits", "seconds"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for network in chosen(names):
        table.add_row(*measure(network))
    console.print(table)
