"""The commands of ``mrt-torch``."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from mrt_torch.calibrate_command import calibrate
from mrt_torch.demo import DemoReport, run_demo
from mrt_torch.errors import MRTError
from mrt_torch.inspection import ModelDescription, explain_model, inspect_model, parse_shapes
from mrt_torch.operator_table import COLUMNS, PASS_LETTERS, markdown, operator_rows
from mrt_torch.ops.explanation import Explanation
from mrt_torch.passes.simplify import Simplification

PROGRAM = "mrt-torch"
EXIT_FAILURE = 1
TABLE_WIDTH = 160  # where the output is no terminal


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; errors of the library become a message on standard error and status 1."""
    try:
        return commands.main(arguments, prog_name=PROGRAM, standalone_mode=False) or 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return EXIT_FAILURE
    except (MRTError, OSError) as error:
        click.echo(f"{PROGRAM}: {error}", err=True)
        return EXIT_FAILURE


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mrt-torch", prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.option("--verbose", "-v", is_flag=True, help="Show what each pass does.")
def commands(verbose: bool) -> None:
    """Turn a neural network into an integer-only graph that gives the same bits on every machine."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")


commands.add_command(calibrate)


@commands.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("output/demo"),
              show_default=True, help="Folder for the exported files.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the images for calibration.")
def demo(out: Path, seed: int) -> int:
    """Quantize an embedded model, export it, and check that every way to run it gives the same integers.

    The status is 1 when one of them differs.
    """
    report = run_demo(out, seed)
    show_report(report)
    return 0 if report.agree else EXIT_FAILURE


@commands.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("params", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--shape", "shapes", multiple=True, metavar="[NAME=]N,C,H,W",
              help="Shape of the input, or of the input NAME; may be repeated.")
@click.option("--explain", is_flag=True, help="Show what each rewriting rule did, and why others did nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(model: Path, params: Path | None, shapes: Sequence[str], explain: bool, as_json: bool) -> None:
    """Show the operators, parameters and shapes of MODEL, and what cannot be quantized.

    MODEL is an MXNet -symbol.json, a .json that mrt_torch saved, or the folder of a deployed CVM model. PARAMS are
    looked for beside MODEL when not given.
    """
    if explain:
        report = explain_model(model, params, parse_shapes(shapes))
        if as_json:
            click.echo(json.dumps(report.to_json(), indent=2))
        else:
            show_rules(report)
        return
    description = inspect_model(model, params, parse_shapes(shapes))
    if as_json:
        click.echo(json.dumps(description.to_json(), indent=2))
    else:
        show_description(description)


@commands.command("ops")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the documentation page.")
def operators(as_json: bool, as_markdown: bool) -> None:
    """List the operators: their names in MXNet and PyTorch, what they become in the CVM, passes and limits."""
    if as_markdown:
        click.echo(markdown(), nl=False)
    elif as_json:
        click.echo(json.dumps([row.to_json() for row in operator_rows()], indent=2))
    else:
        table = Table(*COLUMNS, caption=", ".join(f"{letter} {name}" for name, letter in PASS_LETTERS.items()))
        for row in operator_rows():
            table.add_row(*row.cells())
        Console(width=None if sys.stdout.isatty() else TABLE_WIDTH).print(table)


def show_rules(report: Simplification) -> None:
    """Print how often each rule fired, and the reasons of those that left nodes as they are."""
    click.echo(f"fixed point after {report.rounds} rounds; fuse_constant fired {report.constants} times")
    for name in ("fuse_functions", "fuse_transpose", "rewrite"):
        explanation: Explanation = getattr(report, name)
        table = Table("rule", "fired", "left", "why it did not fire there", title=name)
        for rule, entry in explanation.to_json().items():
            reasons = Counter(entry["declined"].values())
            why = "\n".join(f"{count} x {reason}" if len(reasons) > 1 else reason for reason, count in reasons.items())
            table.add_row(rule, str(entry["fired"]), str(sum(reasons.values())), why)
        Console(width=None if sys.stdout.isatty() else TABLE_WIDTH).print(table)


def show_report(report: DemoReport) -> None:
    """Print the results of the demo as a table, and the paths of the files."""
    table = Table(title="8x8 digits: float against integers")
    table.add_column("computed by")
    table.add_column("accuracy", justify="right")
    table.add_column("integers")
    for position, result in enumerate(report.results):
        accuracy = "" if result.accuracy is None else f"{result.accuracy:.2%}"
        if result.note:
            integers = "not installed"
        elif result.differing is None:
            integers = f"{report.outputs}, the reference" if position else ""
        else:
            integers = f"{result.differing} differ" if result.differing else "identical"
        table.add_row(result.title, accuracy, integers)
    Console().print(table)
    for note in dict.fromkeys(result.note for result in report.results if result.note):
        click.echo(f"Not installed: {note}.")
    click.echo(f"The integer graph has {report.operators} operators. Written:")
    for file in report.files:
        click.echo(f"  {file}")
    click.echo("Every way that ran gave the same integers." if report.agree else "The integers differ.")


def show_description(description: ModelDescription) -> None:
    """Print a description of a model."""
    click.echo(f"{description.path}: {description.form}")
    operators = Table("operator", "nodes")
    for operator, count in description.operators.items():
        operators.add_row(operator, str(count))
    Console().print(operators)
    click.echo(f"parameters  {description.parameters} tensors, {description.elements:,} numbers, "
               f"{description.bytes:,} bytes")
    for label, tensors in (("input", description.inputs), ("output", description.outputs)):
        for tensor in tensors:
            click.echo(f"{label:<11} {tensor.name} {'of unknown shape' if tensor.shape is None else tensor.shape}")
    if description.unsupported:
        click.echo("unsupported")
        for line in description.unsupported:
            click.echo(f"  {line}")
    else:
        click.echo("unsupported none" if description.complete else
                   "unsupported no operator by its name; give --shape to check how they are used")
