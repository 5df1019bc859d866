"""``mrt-torch export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table

from mrt_torch.bridge import Shapes
from mrt_torch.commands.model_files import load_model, load_prepared
from mrt_torch.commands.options import POSITIVE, examples, json_option, model_arguments, output_option, shape_option
from mrt_torch.commands.output import print_json, print_table
from mrt_torch.cvm.gas import gas
from mrt_torch.deployment import reduce_graph
from mrt_torch.graph.editor import input_nodes, shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.inspection import parse_shapes
from mrt_torch.model import Model


@click.command("export", short_help="Write a model for the CVM or for MXNet.", epilog=examples(
    "mrt-torch export out/net.quantized.json --to cvm --output out/cvm/net --batch 1",
    "mrt-torch export out/net.quantized.json --to mxnet --output out/net-integer"))
@model_arguments
@click.option("--to", "form", type=click.Choice(["cvm", "mxnet"]), required=True, help="Form of the files.")
@output_option("cvm: the folder to make. mxnet: FOLDER/NAME makes FOLDER/NAME-symbol.json and NAME-0000.params.")
@click.option("--batch", type=POSITIVE, help="Batch to fix.  [default: that of the model for cvm, none for mxnet]")
@shape_option
@json_option
def export_command(model: Path, params: Path | None, form: str, output: Path, batch: int | None,
                   shapes: Sequence[str], as_json: bool) -> None:
    """Write MODEL for the CVM runtime or for MXNet.

    The CVM takes quantized models only; MXNet takes float models too, prepared for --shape where it is given. Of a
    quantized model --shape or --batch fixes the batch.
    """
    if batch is not None and shapes:
        raise click.UsageError("give --batch or --shape, not both")
    loaded = load_model(model, params)
    if not loaded.is_quantized and form == "mxnet":
        loaded = load_prepared(model, params, parse_shapes(shapes)) if shapes else loaded
        if batch is not None:
            raise click.UsageError("--batch is for quantized models: a float model takes any batch")
    elif form == "cvm" or batch is not None or shapes:
        loaded = reduce_graph(loaded, parse_shapes(shapes) if shapes else shape_with_batch(loaded, batch))
    cost = gas(loaded.module) if form == "cvm" else None  # first: the runtime refuses what costs more than it counts
    files = write_cvm_files(loaded, output) if form == "cvm" else write_mxnet_files(loaded, output)
    sizes = {str(file): file.stat().st_size for file in files}
    if as_json:
        print_json({"form": form, "inputs": loaded.input_shapes(), "files": sizes, "gas": cost})
    else:
        show_files(sizes)
        if cost is not None:
            click.echo(f"gas {cost:,} for an input of {', '.join(map(str, loaded.input_shapes().values()))}")


def shape_with_batch(model: Model, batch: int | None) -> Shapes:
    """The shape of the model's input with another batch; None keeps the one at hand."""
    if batch is None or not model.is_quantized:
        return None
    shapes = {}
    for node in input_nodes(model.module.graph):
        shape = list(shape_of(node))
        shape[facts_of(node).batch_axis] = batch
        shapes[node.name] = shape
    return shapes


def write_cvm_files(model: Model, output: Path) -> list[Path]:
    """Write the folder of a deployed model; its files."""
    return sorted(model.to_cvm(output.name, datadir=output.parent).iterdir())


def write_mxnet_files(model: Model, output: Path) -> list[Path]:
    """Write a symbol and its parameters; the files."""
    stem = output.name.removesuffix(".json").removesuffix("-symbol")
    output.parent.mkdir(parents=True, exist_ok=True)
    files = [output.with_name(f"{stem}-symbol.json"), output.with_name(f"{stem}-0000.params")]
    model.save(*files)
    return files


def show_files(sizes: dict[str, int]) -> None:
    """Print the files and their sizes."""
    table = Table("file", "bytes")
    table.columns[1].justify = "right"
    for file, size in sizes.items():
        table.add_row(file, f"{size:,}")
    print_table(table)
