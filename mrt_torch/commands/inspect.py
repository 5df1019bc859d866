"""``mrt-torch inspect``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from mrt_torch.commands.options import examples, json_option, model_arguments, shape_option
from mrt_torch.commands.output import print_json, print_table
from mrt_torch.inspection import ModelDescription, explain_model, inspect_model, parse_shapes, suggest_model_split
from mrt_torch.ops.explanation import Explanation
from mrt_torch.passes.simplify import Simplification
from mrt_torch.split_suggestion import SplitSuggestion


@click.command("inspect", short_help="Show what a model holds, and what is not supported.", epilog=examples(
    "mrt-torch inspect net-symbol.json net-0000.params --shape 1,3,224,224",
    "mrt-torch inspect --explain net-symbol.json",
    "mrt-torch inspect --suggest-split detector-symbol.json --shape 1,3,512,512"))
@model_arguments
@shape_option
@click.option("--explain", is_flag=True, help="Show what each rewriting rule did, and why others did nothing.")
@click.option("--suggest-split", "suggest", is_flag=True,
              help="Name the keys at which to split a model that holds unsupported operators.")
@json_option
def inspect_command(model: Path, params: Path | None, shapes: Sequence[str], explain: bool, suggest: bool,
                    as_json: bool) -> None:
    """Show the operators, parameters and shapes of MODEL, and what cannot be quantized.

    MODEL is an MXNet -symbol.json, a .json that mrt_torch saved, or the folder of a deployed CVM model. PARAMS are
    looked for beside MODEL when not given.
    """
    if explain and suggest:
        raise click.UsageError("--explain and --suggest-split exclude each other: a model that needs a split cannot be "
                               "explained as a whole")
    if suggest:
        suggestion = suggest_model_split(model, params, parse_shapes(shapes))
        print_json(suggestion.to_json()) if as_json else show_suggestion(suggestion)
    elif explain:
        report = explain_model(model, params, parse_shapes(shapes))
        print_json(report.to_json()) if as_json else show_rules(report)
    else:
        description = inspect_model(model, params, parse_shapes(shapes))
        print_json(description.to_json()) if as_json else show_description(description)


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
        print_table(table)


def show_description(description: ModelDescription) -> None:
    """Print a description of a model."""
    click.echo(f"{description.path}: {description.form}")
    operators = Table("operator", "nodes")
    for operator, count in description.operators.items():
        operators.add_row(operator, str(count))
    print_table(operators)
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


def show_suggestion(suggestion: SplitSuggestion) -> None:
    """Print the keys as a configuration takes them, as ``Model.split`` takes them, and what makes each necessary."""
    if suggestion.unsupported:
        click.echo("unsupported")
        for line in suggestion.unsupported:
            click.echo(f"  {line}")
    if not suggestion.keys:
        click.echo("no split is needed" if suggestion.complete else
                   "no split is needed for operators by their names; give --shape to check how they are used")
        return
    table = Table("key", "shape", "needed because of")
    for key in suggestion.keys:
        shape = "unknown" if key.shape is None else ", ".join(map(str, key.shape))
        table.add_row(Text(key.name), shape, Text("\n".join(key.because)))
    print_table(table)
    names = [key.name for key in suggestion.keys]
    click.echo("[SPLIT_MODEL]\nKeys=\n  " + ",\n  ".join(names))
    click.echo(f"\nbase, top = model.split({json.dumps(names)})")
    if suggestion.note:
        click.echo(f"note: {suggestion.note}")
    if not suggestion.complete:
        click.echo("note: judged by the names of operators; give --shape to check how they are used")
