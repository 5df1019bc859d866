"""The commands of ``mrt-torch``, a file each."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import click

from mrt_torch.commands.calibrate import calibrate_command
from mrt_torch.commands.demo import demo_command
from mrt_torch.commands.evaluate import evaluate_command
from mrt_torch.commands.export import export_command
from mrt_torch.commands.inspect import inspect_command
from mrt_torch.commands.ops import ops_command
from mrt_torch.commands.output import EXIT_FAILURE
from mrt_torch.commands.prepare import prepare_command
from mrt_torch.commands.quantize import quantize_command
from mrt_torch.commands.run import run_command
from mrt_torch.commands.verify import verify_command
from mrt_torch.errors import MRTError

PROGRAM = "mrt-torch"


class InOrderOfUse(click.Group):
    """A group that lists its commands in the order they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(self.commands)


@click.group(cls=InOrderOfUse, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mrt-torch", prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.option("--verbose", "-v", is_flag=True, help="Show what each pass does.")
def commands(verbose: bool) -> None:
    """Turn a neural network into an integer-only graph that gives the same bits on every machine."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")


for command in (demo_command, inspect_command, prepare_command, calibrate_command, quantize_command, evaluate_command,
                export_command, verify_command, run_command, ops_command):
    commands.add_command(command)


def run_commands(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its status; errors of the library become a message on standard error."""
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
