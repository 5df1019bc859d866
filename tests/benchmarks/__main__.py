"""Tables of accuracy, parity and speed: ``python -m tests.benchmarks NAME [NETWORK ...]``."""

from __future__ import annotations

import argparse
import importlib
import platform
from pathlib import Path

import torch
from rich.console import Console

NAMES = ("accuracy", "parity", "zoo", "detection", "pipeline", "prepare", "calibration", "readers", "mutations",
         "errors", "dialect")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("networks", nargs="*", help="only these networks")
    parser.add_argument("--subset", nargs="?", type=int, const=200, metavar="N",
                        help="accuracy: only the first N evaluation pictures, 200 where N is left out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="accuracy: write the figures there as well")
    arguments = parser.parse_args()
    options = {"subset": arguments.subset, "file": arguments.json}
    options = {name: value for name, value in options.items() if value is not None}
    if options and arguments.name != "accuracy":
        parser.error("--subset and --json belong to accuracy")
    console = Console(width=180)
    console.print(f"{platform.machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
                  f"torch {torch.__version__}")
    importlib.import_module(f"tests.benchmarks.{arguments.name}").run(console, arguments.networks, **options)


if __name__ == "__main__":
    main()
