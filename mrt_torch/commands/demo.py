"""``mrt-torch demo``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from mrt_torch.commands.options import examples, json_option
from mrt_torch.commands.output import EXIT_FAILURE, print_json, print_table
from mrt_torch.demo import DemoReport, run_demo


@click.command("demo", short_help="Quantize an embedded model and check all ways to run it.",
               epilog=examples("mrt-torch demo", "mrt-torch demo --out output/demo --seed 1"))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("output/demo"),
              show_default=True, help="Folder for the exported files.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the images for calibration.")
@json_option
def demo_command(out: Path, seed: int, as_json: bool) -> int:
    """Quantize an embedded model, export it, and check that every way to run it gives the same integers.

    The status is 1 when one of them differs.
    """
    report = run_demo(out, seed)
    if as_json:
        print_json(report.to_json())
    else:
        show_report(report)
    return 0 if report.agree else EXIT_FAILURE


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
        elif result.refused:
            integers = "refused"
        elif result.differing is None:
            integers = f"{report.outputs}, the reference" if position else ""
        else:
            integers = f"{result.differing} differ" if result.differing else "identical"
        table.add_row(result.title, accuracy, integers)
    print_table(table)
    for note in dict.fromkeys(result.note for result in report.results if result.note):
        click.echo(f"Not installed: {note}.")
    for result in report.results:
        if result.refused:
            click.echo(f"{result.title}: {result.refused}")
    click.echo(f"The integer graph has {report.operators} operators. Written:")
    for file in report.files:
        click.echo(f"  {file}")
    click.echo("Every way that ran gave the same integers." if report.agree else "The integers differ.")
