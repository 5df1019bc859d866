"""``mrt-torch prepare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table

from mrt_torch.commands.model_files import load_model, saved_files
from mrt_torch.commands.options import examples, json_option, model_arguments, output_option, shape_option
from mrt_torch.commands.output import print_json, print_table
from mrt_torch.inspection import count_operators, parse_shapes


@click.command("prepare", short_help="Rewrite a model into what has an integer form.", epilog=examples(
    "mrt-torch prepare net-symbol.json net-0000.params --shape 1,3,224,224 --output out/net"))
@model_arguments
@shape_option
@output_option("Where to save: FOLDER/NAME makes FOLDER/NAME.json and FOLDER/NAME.safetensors.")
@json_option
def prepare_command(model: Path, params: Path | None, shapes: Sequence[str], output: Path, as_json: bool) -> None:
    """Rewrite MODEL into operators that have an integer form, and save it for calibrate.

    MODEL and PARAMS are those of inspect. The batch is axis 0 of the shape, unless -1 marks another.
    """
    loaded = load_model(model, params, parse_shapes(shapes))
    before = count_operators(loaded.module)
    loaded.prepare()
    after = count_operators(loaded.module)
    files = saved_files(output)
    loaded.save(*files)
    if as_json:
        print_json({"before": before, "after": after, "inputs": loaded.input_shapes(),
                    "files": [str(file) for file in files]})
    else:
        show_counts(before, after)
        click.echo(f"saved {files[0]} and {files[1]}")


def show_counts(before: dict[str, int], after: dict[str, int]) -> None:
    """Print the number of nodes of each operator before and after."""
    table = Table("operator", "before", "after", show_footer=True)
    table.columns[0].footer = "all"
    for column, counts in zip(table.columns[1:], (before, after), strict=True):
        column.justify, column.footer = "right", str(sum(counts.values()))
    for operator in sorted({**before, **after}, key=lambda name: (-before.get(name, 0), -after.get(name, 0), name)):
        table.add_row(operator, *(str(counts.get(operator, "")) for counts in (before, after)))
    print_table(table)
