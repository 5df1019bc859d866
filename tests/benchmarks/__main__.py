"""Tables of accuracy, parity and speed: ``python -m tests.benchmarks NAME [NETWORK ...]``."""

from __future__ import annotations

import argparse
import importlib
import platform

import torch
from rich.console import Console

NAMES = ("accuracy", "parity", "zoo", "pipeline", "prepare", "calibration", "readers", "mutations", "errors", "dialect")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("networks", nargs="*", help="only these networks")
    arguments = parser.parse_args()
    console = Console(width=180)
    console.print(f"{platform.machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
                  f"torch {torch.__version__}")
    importlib.import_module(f"tests.benchmarks.{arguments.name}").run(console, arguments.networks)


if __name__ == "__main__":
    main()
