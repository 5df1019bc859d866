"""The search of the threshold of least divergence against the same search written as a plain loop."""

from __future__ import annotations

import torch
from rich.console import Console
from rich.table import Table

from mrt_torch.calibration.divergence import least_divergence
from tests.benchmarks.timing import interleaved
from tests.mrt_torch.calibration.plain_divergence import plain_least_divergence

BINS, LEVELS, EPSILON, ROUNDS, BOUND = 2049, 255, 1e-4, 3, 8.0
VALUES = 200_000


def histograms() -> dict[str, torch.Tensor]:
    """Counts of seeded values of some distributions over their whole range, zero in the middle."""
    generator = torch.Generator().manual_seed(2)
    normal = torch.randn(VALUES, generator=generator)
    values = {"normal": normal, "after ReLU": normal.relu(), "heavy tails": normal * normal * normal.sign(),
              "one outlier": torch.cat([normal, torch.tensor([40.0])])}
    return {name: torch.histc(tensor, BINS, -float(tensor.abs().max()), float(tensor.abs().max()))
            for name, tensor in values.items()}


def run(console: Console) -> None:
    """Print the table."""
    table = Table(title=f"search of the least divergence: {BINS} bins, {LEVELS} levels")
    for column in ("values", "bins kept", "by the plain loop", "seconds", "plain loop", "times faster", "bound", ""):
        table.add_column(column, justify="left" if column == "values" else "right")
    for name, counts in histograms().items():
        plain = counts.tolist()
        found: dict[str, int | None] = {}
        actions = {"ours": lambda c=counts, f=found: f.update(ours=least_divergence(c, LEVELS, EPSILON)),
                   "plain": lambda c=plain, f=found: f.update(plain=plain_least_divergence(c, LEVELS, EPSILON))}
        seconds = interleaved(actions, ROUNDS)
        ratio = seconds["plain"] / seconds["ours"]
        holds = ratio >= BOUND and found["ours"] == found["plain"]
        table.add_row(name, str(found["ours"]), str(found["plain"]), f"{seconds['ours']:.3f}",
                      f"{seconds['plain']:.3f}", f"{ratio:.1f}", f"at least {BOUND:g}, the same bins",
                      "holds" if holds else "MISSED")
    console.print(table)
