"""Float and integer accuracy of the labelled networks on their whole evaluation data."""

from __future__ import annotations

import time

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from mrt_torch import Model
from mrt_torch.graph.facts import facts_of
from tests.benchmarks.networks import LABELLED, Network, chosen

BATCH = 50


def quantized(network: Network) -> tuple[Model, Model]:
    """The prepared float model and its quantized one, calibrated with the defaults."""
    model = network.load()
    model.prepare(network.shape)
    mrt = model.get_mrt()
    mrt.set_data(list(network.pictures().calibration.split(16)))
    mrt.calibrate()
    return model, mrt.quantize()


def logits(model: Model | nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model(batch) for batch in images.split(BATCH)]).to(torch.float64)


def measure(network: Network) -> list[str]:
    """One row of the table."""
    begin = time.perf_counter()
    pictures = network.pictures()
    model, integer = quantized(network)
    float_logits = logits(model if network.module is None else network.module(), pictures.evaluation)
    integer_logits = logits(integer, pictures.evaluation)
    correct, answers = float_logits.argmax(1), integer_logits.argmax(1)
    noise = 10 * torch.log10((float_logits ** 2).sum() / ((float_logits - integer_logits) ** 2).sum())
    nodes = [node for node in integer.module.graph.nodes if node.op == "call_function"]
    widest = max(facts_of(node).precision for node in nodes)
    accuracy = [100 * (a == pictures.labels).double().mean() for a in (correct, answers)]
    return [network.name, str(len(pictures.labels)), f"{accuracy[0]:.2f}", f"{accuracy[1]:.2f}",
            f"{accuracy[1] - accuracy[0]:+.2f}", f"{100 * (correct == answers).double().mean():.2f}", f"{noise:.2f}",
            str(len(nodes)), str(widest), f"{time.perf_counter() - begin:.0f}"]


def run(console: Console, names: list[str]) -> None:
    """Print the table."""
    table = Table(title="accuracy, calibrated with 64 pictures and the defaults")
    for column in ("network", "pictures", "float %", "integer %", "change", "agreement %", "SNR dB", "integer nodes",
                   "widest bits", "seconds"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for network in chosen(LABELLED, names):
        table.add_row(*measure(network))
    console.print(table)
