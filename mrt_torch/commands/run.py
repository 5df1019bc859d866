"""``mrt-torch run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from mrt_torch.commands.options import EXISTING_FILE, Assignment, examples, json_option
from mrt_torch.commands.output import print_json
from mrt_torch.pipeline.run import run_configuration_file
from mrt_torch.pipeline.run_configuration import StartPoint


@click.command("run", short_help="Run all stages of a configuration file.", epilog=examples(
    "mrt-torch run net.ini",
    "mrt-torch run net.ini --set CALIBRATION.Calibrate_num=4 --set EVALUATION.Iter_num=10",
    "mrt-torch run net.ini --start CALIBRATION"))
@click.argument("config", type=EXISTING_FILE)
@click.option("--set", "overrides", type=Assignment("SECTION.Key", str, "VALUE"), multiple=True,
              help="Set a key of the file to another value; may be repeated.")
@click.option("--start", type=click.Choice([point.name for point in StartPoint], case_sensitive=False),
              help="Take the results up to this stage from their checkpoints: DEFAULT.Start of the file.")
@json_option
def run_command(config: Path, overrides: Sequence[tuple[str, str]], start: str | None, as_json: bool) -> None:
    """Run the stages of a configuration file: prepare, split, calibrate, quantize, merge, evaluate and compile."""
    chosen = dict(overrides)
    if start is not None:
        chosen["DEFAULT.Start"] = start.upper()
    summary = run_configuration_file(config, overrides=chosen)
    if as_json:
        print_json(summary.to_json())
    else:
        click.echo(str(summary))
