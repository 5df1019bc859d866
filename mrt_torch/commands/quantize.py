"""``mrt-torch quantize``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from mrt_torch.commands.calibrate import calibrate
from mrt_torch.commands.calibration_data import CalibrationOptions, calibration_options
from mrt_torch.commands.model_files import load_prepared, saved_files
from mrt_torch.commands.options import (
    EXISTING_FILE,
    Assignment,
    OutputPath,
    examples,
    json_option,
    output_option,
    shape_option,
    stem_argument,
)
from mrt_torch.commands.output import print_json, print_table
from mrt_torch.commands.quantized_summary import QuantizedSummary
from mrt_torch.device import available_device
from mrt_torch.inspection import parse_shapes
from mrt_torch.mrt import MRT
from mrt_torch.pipeline.restored_nodes import restored_nodes
from mrt_torch.quantization.recipe import RECIPES

STATE = ".mrt.ext"  # what calibrate leaves


@click.command("quantize", short_help="Turn a model into integers.", epilog=examples(
    "mrt-torch quantize out/net",
    "mrt-torch quantize out/net --accuracy best --output-precision 8 --threshold fc1=12.5 --output out/net-best",
    "mrt-torch quantize net-symbol.json --data images.npy --shape 1,3,224,224 --output out/net"))
@click.argument("model", type=OutputPath())
@click.argument("params", type=EXISTING_FILE, required=False)
@click.option("--input-precision", type=int, metavar="BITS", help="Bits of the input.  [default: 8]")
@click.option("--output-precision", type=int, metavar="BITS",
              help="Bits of every output.  [default: as they come]")
@click.option("--weight-precision", type=int, metavar="BITS",
              help="Bits of the weights of convolutions and dense layers.  [default: 8]")
@click.option("--accuracy", type=click.Choice(list(RECIPES)), help="Recipe against the loss of accuracy.")
@click.option("--softmax-lambd", type=float, help="Logits more than this below the largest count as zero.")
@click.option("--shift-bits", type=int, metavar="BITS", help="Bits above its target that a tensor keeps.")
@click.option("--threshold", "thresholds", type=Assignment("NODE", float, "VALUE"), multiple=True,
              help="Largest magnitude that a node keeps; may be repeated.")
@click.option("--restore", "restored", metavar="NODE", multiple=True,
              help="Keep a node in float, to find out what its quantization costs; the result cannot be deployed. "
                   "_OP_<operator> and _ALL_EXCEPT_ as in the configuration file; may be repeated.")
@calibration_options
@shape_option
@output_option("FOLDER/NAME makes FOLDER/NAME.quantized.json and .safetensors.  [default: that of the calibration]",
               required=False)
@json_option
def quantize_command(model: Path, params: Path | None, calibration: CalibrationOptions, shapes: Sequence[str],
                     output: Path | None, as_json: bool, **options: Any) -> None:
    """Turn MODEL into integers, and save the result.

    MODEL is the FOLDER/NAME that calibrate saved; its state stays as it is, so that it can be quantized again with
    other options. With --data or --dataset MODEL and PARAMS are those of inspect: the model is prepared and
    calibrated first, which saves the state too.
    """
    stem = stem_argument(model, STATE)
    if stem.with_name(stem.name + STATE).is_file() and not calibration.given:
        if params or shapes:
            raise click.UsageError(f"{stem} is calibrated: it takes no PARAMS and no --shape")
        mrt, output = MRT.load(stem.name, stem.parent), output or stem
    else:
        mrt = calibrated(model, params, calibration, shapes, output)
    configure(mrt, **options)
    quantized = mrt.quantize()
    files = saved_files(output.with_name(output.name + ".quantized"))
    quantized.save(*files)
    summary = QuantizedSummary.of_model(quantized)
    if as_json:
        print_json({**summary.to_json(), "files": [str(file) for file in files]})
    else:
        show_summary(summary)
        click.echo(f"saved {files[0]} and {files[1]}")


def calibrated(model: Path, params: Path | None, calibration: CalibrationOptions, shapes: Sequence[str],
               output: Path | None) -> MRT:
    """A float model, prepared and calibrated; its state is saved as calibrate saves it."""
    if not model.exists():
        raise click.BadParameter(f"neither {model} nor {model}{STATE} exists", param_hint="MODEL")
    if not calibration.given:
        raise click.UsageError(f"{model} is not calibrated: give --data or --dataset, or the FOLDER/NAME that "
                               "calibrate saved")
    calibration.check()
    if output is None:
        raise click.UsageError("a model that is calibrated first needs --output")
    mrt = load_prepared(model, params, parse_shapes(shapes)).get_mrt()
    calibrate(mrt, calibration, available_device(calibration.device))
    mrt.save(output.name, output.parent)
    return mrt


def configure(mrt: MRT, thresholds: Sequence[tuple[str, float]], restored: Sequence[str],
              **settings: Any) -> None:
    """Set the options that were given."""
    setters = {"input_precision": mrt.set_input_prec, "output_precision": mrt.set_output_prec,
               "accuracy": mrt.set_accuracy, "weight_precision": mrt.set_weight_precision,
               "softmax_lambd": mrt.set_softmax_lambd, "shift_bits": mrt.set_shift_bits}
    for name, setter in setters.items():
        if settings[name] is not None:
            setter(settings[name])
    for node, threshold in thresholds:
        mrt.set_threshold(node, threshold)
    for node in restored_nodes(mrt.model.module, restored):
        mrt.set_restore(node)


def show_summary(summary: QuantizedSummary) -> None:
    """Print what the integer graph holds."""
    operators = Table("operator", "nodes", show_footer=True)
    operators.columns[0].footer, operators.columns[1].footer = "all", str(sum(summary.operators.values()))
    operators.columns[1].justify = "right"
    for operator, count in summary.operators.items():
        operators.add_row(operator, str(count))
    print_table(operators)
    for label, tensors in (("input", summary.inputs), ("output", summary.outputs)):
        for tensor in tensors:
            click.echo(f"{label:<11} {_described(tensor)}")
    click.echo(f"parameters  {summary.size.parameters:,} numbers, {summary.size.bytes:,} bytes")
    if summary.float_operators:
        click.echo(f"in float    {', '.join(summary.float_operators)}")
    if summary.size.bits is not None:
        click.echo(f"widest      {summary.size.bits} bits")
    if summary.size.gas is not None:
        click.echo(f"gas         {summary.size.gas:,} an example")


def _described(tensor: Mapping[str, Any]) -> str:
    bits = "float" if tensor["bits"] is None else f"{tensor['bits']} bits, scale {tensor['scale']:.6g}"
    return f"{tensor['name']} {tuple(tensor['shape'])}, {bits}"
