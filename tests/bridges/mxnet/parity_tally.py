"""Counts the comparisons with MXNet by operator: ``pytest tests/bridges/mxnet/converters --parity-table``."""

from __future__ import annotations

import json
from collections import defaultdict


class ParityTally:
    """How often each MXNet operator was compared, and the largest relative error of the outputs it took part in."""

    def __init__(self):
        self.cases: dict[str, int] = defaultdict(int)
        self.errors: dict[str, float] = defaultdict(float)

    def record(self, symbol_json: str, error: float) -> None:
        """One comparison of a whole symbol, which counts for each operator in it."""
        for operator in {node["op"] for node in json.loads(symbol_json)["nodes"]} - {"null"}:
            self.cases[operator] += 1
            self.errors[operator] = max(self.errors[operator], error)

    def lines(self) -> list[str]:
        """A line for each operator, by name, and the total."""
        table = [f"{name:<45} {self.cases[name]:>5} cases, largest relative error {self.errors[name]:.1e}"
                 for name in sorted(self.cases)]
        return [*table, f"{len(self.cases)} operators, {sum(self.cases.values())} cases"]


TALLY = ParityTally()
