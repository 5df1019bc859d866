"""How commands print: tables, JSON and counts."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

EXIT_FAILURE = 1
WIDTH = 160  # where the output is no terminal


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal."""
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def counted(count: int, noun: str) -> str:
    """A count with its noun: ``1 file``, ``1,200 batches``."""
    ending = "" if count == 1 else "es" if noun.endswith(("s", "ch")) else "s"
    return f"{count:,} {noun}{ending}"
