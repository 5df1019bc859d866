"""Import and prepare of deep networks against their own eager forward in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from rich.console import Console
from rich.table import Table

from mrt_torch import Model
from tests.benchmarks.networks import gluon_stem
from tests.benchmarks.timing import interleaved, verdict

NETWORKS = {"densenet201": 224, "inceptionv3": 299}
BOUND, ROUNDS = 60.0, 3


def _actions(name: str, size: int) -> tuple[Callable[[], Model], Callable[[], object]]:
    """Import with prepare, and one forward at batch 1 of the float graph as imported."""
    stem, shape = gluon_stem(name, size), (1, 3, size, size)

    def load() -> Model:
        return Model.load(f"{stem}-symbol.json", f"{stem}-0000.params")

    def prepare() -> Model:
        model = load()
        model.prepare(shape)
        return model
    graph, picture = load()._graph_for(shape), torch.randn(shape, generator=torch.Generator().manual_seed(0))

    def forward() -> object:
        with torch.no_grad():
            return graph(picture)
    return prepare, forward


def run(console: Console, names: Sequence[str]) -> None:
    """One row for each network, and their sum, which has the bound."""
    table = Table("network", "operators", "import + prepare s", "forward s", "ratio", "bound", "", title="prepare")
    totals = [0.0, 0.0]
    for name in names or NETWORKS:
        prepare, forward = _actions(name, NETWORKS[name])
        seconds = interleaved({"prepare": prepare, "forward": forward}, ROUNDS)
        operators = sum(node.op == "call_function" for node in prepare().module.graph.nodes)
        pair = seconds["prepare"], seconds["forward"]
        totals = [total + part for total, part in zip(totals, pair, strict=True)]
        table.add_row(name, str(operators), *(f"{part:.3f}" for part in pair), f"{pair[0] / pair[1]:.1f}", "", "")
    ratio = totals[0] / totals[1]
    table.add_row("together", "", *(f"{total:.3f}" for total in totals), f"{ratio:.1f}", *verdict(ratio, BOUND))
    console.print(table)
