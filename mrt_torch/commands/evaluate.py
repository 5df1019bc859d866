"""``mrt-torch evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from torch import distributed as dist

from mrt_torch.calibration.processes import is_distributed, torchrun_group
from mrt_torch.commands.calibration_data import dataset_for
from mrt_torch.commands.model_files import load_model
from mrt_torch.commands.options import (
    EXISTING,
    EXISTING_FILE,
    POSITIVE,
    Assignment,
    batch_option,
    dataset_folder_option,
    examples,
    json_option,
    shape_option,
)
from mrt_torch.commands.output import print_json
from mrt_torch.device import available_device
from mrt_torch.evaluation import evaluate
from mrt_torch.inspection import parse_shapes


def file_pair(text: str) -> tuple[Path, Path | None]:
    """Files of ``FILE[,PARAMS]``. Raises ValueError where one is missing."""
    path, _, params = text.partition(",")
    if not Path(path).exists() or (params and not Path(params).is_file()):
        raise ValueError
    return Path(path), Path(params) if params else None


@click.command("evaluate", short_help="Measure models on a data set.", epilog=examples(
    "mrt-torch evaluate out/net.quantized.json --dataset imagenet --dataset-dir ~/data --batches 10",
    "mrt-torch evaluate --model float=net-symbol.json,net-0000.params --model integer=out/net.quantized.json \\",
    "    --dataset imagenet --shape 1,3,224,224 --batch 32"))
@click.argument("model", type=EXISTING, required=False)
@click.argument("params", type=EXISTING_FILE, required=False)
@click.option("--model", "named", type=Assignment("NAME", file_pair, "FILE[,PARAMS]"), multiple=True,
              help="A model with a name for it, and existing files; may be repeated.")
@click.option("--dataset", metavar="NAME", required=True, help="A registered data set, such as imagenet.")
@dataset_folder_option
@shape_option
@batch_option
@click.option("--batches", type=POSITIVE, help="Batches to take.  [default: all]")
@click.option("--device", "devices", multiple=True, default=("cpu",), show_default=True,
              help="Torch device, such as cuda; several share each batch out.")
@json_option
def evaluate_command(model: Path | None, params: Path | None,
                     named: Sequence[tuple[str, tuple[Path, Path | None]]], dataset: str, dataset_dir: Path | None,
                     shapes: Sequence[str], batch: int, batches: int | None, devices: Sequence[str],
                     as_json: bool) -> None:
    """Measure float and quantized models on a data set: its metrics, how often the models agree, and their speed.

    Agreement is that with the first model. A float model is evaluated as its file has it. Under torchrun the processes
    share the batches out, and the first one prints.
    """
    files = [*([(model.name.removesuffix(".json"), (model, params))] if model else []), *named]
    if not files:
        raise click.UsageError("give MODEL or --model NAME=FILE")
    if len(dict(files)) != len(files):
        raise click.UsageError("two models have the same name")
    shape = parse_shapes(shapes)
    models = {name: load_model(path, own, shape) for name, (path, own) in files}
    data = dataset_for(next(iter(models.values())), dataset, dataset_dir, batch)
    with torchrun_group(available_device(devices[0])) as device:
        report = evaluate(models, data, batches=batches, devices=(device, *devices[1:]))
        if is_distributed() and dist.get_rank():
            return
    if as_json:
        print_json(report.to_json())
    else:
        click.echo(str(report))

