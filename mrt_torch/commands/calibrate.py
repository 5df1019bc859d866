"""``mrt-torch calibrate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from torch import distributed as dist

from mrt_torch.calibration.cache import CalibrationCache
from mrt_torch.calibration.processes import is_distributed, torchrun_group
from mrt_torch.commands.calibration_data import CalibrationOptions, calibration_options
from mrt_torch.commands.model_files import load_prepared
from mrt_torch.commands.options import examples, json_option, model_arguments, output_option, shape_option
from mrt_torch.commands.output import counted, print_json
from mrt_torch.device import available_device
from mrt_torch.inspection import parse_shapes
from mrt_torch.mrt import MRT


@click.command("calibrate", short_help="Observe a model on examples.", epilog=examples(
    "mrt-torch calibrate net-symbol.json --data images.npy --shape 1,3,224,224 --output out/net",
    "mrt-torch calibrate out/net.json --dataset imagenet --batches 4 --output out/net",
    "torchrun --nproc-per-node 4 -m mrt_torch calibrate net-symbol.json --data images.npy --output out/net"))
@model_arguments
@calibration_options
@shape_option
@output_option("Where to save: FOLDER/NAME makes FOLDER/NAME.mrt.ext and its companions.")
@json_option
def calibrate_command(model: Path, params: Path | None, calibration: CalibrationOptions, shapes: Sequence[str],
                      output: Path, as_json: bool) -> None:
    """Prepare MODEL, observe its activations on examples, and save the state for quantize or MRT.load.

    MODEL and PARAMS are those of inspect, or a model that prepare wrote. Under torchrun the processes share the
    batches out; the features are those of one process, and the first process saves and prints.
    """
    calibration.check()
    with torchrun_group(available_device(calibration.device)) as device:
        mrt = load_prepared(model, params, parse_shapes(shapes)).get_mrt()
        summary = calibrate(mrt, calibration, device)
        if is_distributed() and dist.get_rank():
            return
        mrt.save(output.name, output.parent)
    if as_json:
        print_json({"saved": f"{output}.mrt.ext", **summary})
    else:
        click.echo(f"observed {summary['features']} activations on {counted(summary['examples'], 'example')} in "
                   f"{counted(summary['batches'], 'batch')}, {counted(summary['processes'], 'process')}; "
                   f"saved {output}.mrt.ext")


def calibrate(mrt: MRT, options: CalibrationOptions, device: object) -> dict[str, int]:
    """Calibrate on the examples of the options; what there was of each."""
    batches = options.examples(mrt.model)
    source = options.dataset if options.data is None else options.data.name
    mrt.set_data(batches)
    mrt.calibrate(ctx=device, lambd=options.lambd, cache=options.cache and CalibrationCache(options.cache, source))
    return {"features": len(mrt.features), "examples": batches.count, "batches": len(batches),
            "processes": dist.get_world_size() if is_distributed() else 1}
