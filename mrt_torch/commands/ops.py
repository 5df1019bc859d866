"""``mrt-torch ops``."""

from __future__ import annotations

import click
from rich.table import Table

from mrt_torch.commands.options import examples, json_option
from mrt_torch.commands.output import print_json, print_table
from mrt_torch.operator_table import COLUMNS, PASS_LETTERS, markdown, operator_rows


@click.command("ops", short_help="List the operators.", epilog=examples("mrt-torch ops", "mrt-torch ops --json"))
@json_option
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the documentation page.")
def ops_command(as_json: bool, as_markdown: bool) -> None:
    """List the operators: their names in MXNet and PyTorch, what they become in the CVM, passes and limits."""
    if as_markdown:
        click.echo(markdown(), nl=False)
    elif as_json:
        print_json([row.to_json() for row in operator_rows()])
    else:
        table = Table(*COLUMNS, caption=", ".join(f"{letter} {name}" for name, letter in PASS_LETTERS.items()))
        for row in operator_rows():
            table.add_row(*row.cells())
        print_table(table)
