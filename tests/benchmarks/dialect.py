"""Every CVM operator: its kernel against Python integers, and models of it against the real runtime.

``CVM_RUNTIME_LIBRARY`` is needed for the runtime's columns. CPU is compared where the table knows no divergence of the
back ends, FORMAL always; a model counts as a mismatch if integers, gas or inferred precisions differ.
"""

from __future__ import annotations

import logging
import os
import time
from random import Random

import torch
from rich.console import Console
from rich.table import Table

from bridges.cvm.load import graph_of
from bridges.cvm.runtime import LIBRARY_VARIABLE, CvmRuntime
from mrt_torch.cvm import OPERATORS
from mrt_torch.errors import MRTError
from tests.bridges.cvm.differential import compare, compare_precisions
from tests.bridges.cvm.random_models import RandomModel, model_of_call, random_graph
from tests.mrt_torch.cvm.sampling import sample_call
from tests.mrt_torch.cvm.test_kernels import check_call

KERNEL_CASES = 300
RUNTIME_CASES = 100
PRECISION_CASES = 20
GRAPHS = 200
COLUMNS = ("operator", "Python ints", "read from files", "CPU", "FORMAL", "precisions", "mismatches", "seconds")


def run(console: Console, operators: list[str]) -> None:
    """Print a row for each operator, and one for random graphs of all of them."""
    logging.getLogger("bridges.cvm.load").setLevel(logging.ERROR)
    runtime = CvmRuntime() if os.environ.get(LIBRARY_VARIABLE) else None
    table, failures, counts = Table(*COLUMNS), [], [0] * 6
    names = operators or [row.name for row in sorted(OPERATORS, key=lambda row: (row.composite, row.name))]
    for name in [*names, *([] if operators else ["random graphs"])]:
        begin = time.perf_counter()
        numbers = _count(runtime, name, failures)
        counts = [total + number for total, number in zip(counts, numbers)]
        table.add_row(name, *map(str, numbers), f"{time.perf_counter() - begin:.1f}")
    table.add_row("all", *map(str, counts), "")
    console.print(table)
    for failure in failures[:20]:
        console.print(failure)


def _count(runtime: CvmRuntime | None, name: str, failures: list[str]) -> list[int]:
    """Cases against Python integers, as models read, on CPU, on FORMAL and of precisions, and the mismatches."""
    graphs, composite = name not in OPERATORS, name in OPERATORS and OPERATORS[name].composite
    kernels, models, cpu, formal, precisions, before = 0, 0, 0, 0, 0, len(failures)
    for seed in range(0 if graphs else KERNEL_CASES):
        kernels += 1
        try:
            check_call(sample_call(name, Random(f"{name} kernel {seed}")))
        except (AssertionError, MRTError, RuntimeError) as error:
            failures.append(f"{name}, kernel, seed {seed}: {error}")
    for seed in range(0 if composite else GRAPHS if graphs else RUNTIME_CASES):
        random = Random(f"{name} model {seed}")
        model = (random_graph(random, random.randint(2, 14)) if graphs
                 else model_of_call(sample_call(name, random), random))
        models += 1
        probed = not graphs and seed < PRECISION_CASES
        try:
            found, on_cpu = _compare(runtime, model, random, probed)
        except MRTError as error:
            found, on_cpu = [str(error)], False
        failures += [f"{name}, model, seed {seed}: {reason}" for reason in found]
        if runtime is not None:
            cpu, formal, precisions = cpu + on_cpu, formal + 1, precisions + probed
    return [kernels, models, cpu, formal, precisions, len(failures) - before]


def _compare(runtime: CvmRuntime | None, model: RandomModel, random: Random, probed: bool) -> tuple[list[str], bool]:
    if runtime is None:
        heads = graph_of(model.symbol, model.parameters)(torch.from_numpy(model.values))
        alike = all(head.tolist() == expected.tolist() for head, expected in zip(heads, model.expected))
        return [] if alike else ["our graph differs from the definition"], False
    found, on_cpu = compare(runtime, model, model.text(random))
    return found + (compare_precisions(runtime, model) if probed else []), on_cpu
