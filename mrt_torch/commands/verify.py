"""``mrt-torch verify``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
from rich.table import Table

from mrt_torch.commands.calibration_data import load_arrays
from mrt_torch.commands.model_files import load_model
from mrt_torch.commands.options import EXISTING_FILE, POSITIVE, examples, json_option, model_arguments
from mrt_torch.commands.output import EXIT_FAILURE, counted, print_json, print_table
from mrt_torch.graph.facts import facts_of
from mrt_torch.input_data import as_tensor
from mrt_torch.model_file import SAFETENSORS
from mrt_torch.verification import (
    CVM,
    MXNET,
    VerificationReport,
    WayResult,
    input_of,
    legal_inputs,
    random_inputs,
    verify_model,
    whole_batches,
)

DEFAULT_EXAMPLES = 16


@click.command("verify", short_help="Compare all engines bit for bit.", epilog=examples(
    "mrt-torch verify out/net.quantized.json", "mrt-torch verify out/cvm/net --data images.npy"))
@model_arguments
@click.option("--data", type=EXISTING_FILE,
              help="Inputs, a .npy or .npz file: floats are quantized, integers are taken as they are.")
@click.option("--examples", "count", type=POSITIVE, default=DEFAULT_EXAMPLES, show_default=True,
              help="Without --data: number of random legal inputs, rounded up to whole batches.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the random inputs.")
@json_option
def verify_command(model: Path, params: Path | None, data: Path | None, count: int, seed: int, as_json: bool) -> int:
    """Check that every way to run the quantized MODEL gives the same integers, bit for bit.

    MODEL is what quantize saved, an exported MXNet symbol, or the folder of a deployed CVM model. The integer graph is
    run here, from its exported files, and by every engine that is installed; and its certificate is checked: that no
    input can make it compute something else. The status is 1 where something differs or is refused.
    """
    loaded = load_model(model, params)
    source, exports = input_of(loaded), given_exports(model, params)
    multiple = whole_batches(loaded, exports)
    if data is None:
        inputs = random_inputs(loaded, count, seed, multiple)
    else:
        arrays = load_arrays(data, loaded, facts_of(source).batch_axis)
        inputs = loaded.join_inputs(arrays) if isinstance(arrays, Mapping) else as_tensor(arrays)
        inputs = legal_inputs(loaded, inputs, multiple)
    report = verify_model(loaded, inputs, exports)
    print_json(report.to_json()) if as_json else show_verification(report)
    return 0 if report.agree else EXIT_FAILURE


def given_exports(path: Path, params: Path | None) -> dict[str, Path]:
    """The form that MODEL has already; a symbol counts where its parameters have their usual name beside it."""
    if path.is_dir():
        return {CVM: path}
    stem = path.name.removesuffix(".json").removesuffix("-symbol")
    usual = path.with_name(f"{stem}-0000.params")
    own = path.with_suffix(SAFETENSORS).is_file() and not path.name.endswith("-symbol.json")
    given = params is None or params == usual
    return {MXNET: path} if given and not own and usual.is_file() else {}


def show_verification(report: VerificationReport) -> None:
    """Print the result of each way, and why some did not run."""
    table = Table("computed by", "integers")
    table.add_row("integer graph", f"{report.integers:,}, the reference")
    for result in report.results:
        table.add_row(result.title, judgement(result))
    table.add_row("certificate", "refused" if report.certificate else "holds")
    print_table(table)
    for note in dict.fromkeys(result.not_installed for result in report.results if result.not_installed):
        click.echo(f"Not installed: {note}.")
    for title, error in [*((r.title, r.refused) for r in report.results), ("certificate", report.certificate)]:
        if error:
            click.echo(f"{title}: {error}")
    click.echo(f"{counted(report.examples, 'example')}: every way that ran gave the same integers." if report.agree
               else f"{counted(report.examples, 'example')}: not every way gave the same integers.")


def judgement(result: WayResult) -> str:
    """What a way gave, in a word or two."""
    if result.not_installed:
        return "not installed"
    if result.refused:
        return "refused"
    return f"{result.differing:,} differ" if result.differing else "identical"
