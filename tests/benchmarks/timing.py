"""Ratios of running times, measured in turns in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def interleaved(actions: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each action; the actions take turns, so a disturbance hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for index in range(warm_up + rounds):
        for name, action in actions.items():
            begin = time.perf_counter()
            action()
            if index >= warm_up:
                seconds[name].append(time.perf_counter() - begin)
    return {name: median(values) for name, values in seconds.items()}


def verdict(value: float, bound: float) -> list[str]:
    """The two last cells of a row: the bound, and whether it holds."""
    return [f"at most {bound:g}", "holds" if value <= bound else "EXCEEDED"]
