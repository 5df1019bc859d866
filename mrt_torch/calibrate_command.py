"""The command ``mrt-torch calibrate``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import click
import numpy as np
from torch import distributed as dist

from mrt_torch.bridge import Shapes
from mrt_torch.calibration.cache import CalibrationCache
from mrt_torch.calibration.processes import is_distributed, torchrun_group
from mrt_torch.device import available_device
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.inspection import parameters_of, parse_shapes
from mrt_torch.model import Model
from mrt_torch.mrt import MRT

Arrays = Mapping[str, np.ndarray]


@click.command(epilog="""\b
Examples:
  mrt-torch calibrate net-symbol.json --data images.npy --shape 1,3,224,224 --output out/net
  torchrun --nproc-per-node 4 -m mrt_torch calibrate net-symbol.json --data images.npy --output out/net""")
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("params", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--data", "data_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True,
              help="Examples, preprocessed: a .npy file, or a .npz file with an array for each input.")
@click.option("--shape", "shapes", multiple=True, metavar="[NAME=]N,C,H,W",
              help="Shape of the input, or of the input NAME; may be repeated.")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Examples in a batch.")
@click.option("--output", type=click.Path(path_type=Path), required=True,
              help="Where to save: FOLDER/NAME makes FOLDER/NAME.mrt.ext and its companions.")
@click.option("--cache", type=click.Path(file_okay=False, path_type=Path),
              help="Folder that keeps the statistics, so that an interrupted calibration can go on.")
@click.option("--device", default="cpu", show_default=True, help="Torch device, such as cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def calibrate(model: Path, params: Path | None, data_file: Path, shapes: Sequence[str], batch: int, output: Path,
              cache: Path | None, device: str, as_json: bool) -> None:
    """Prepare MODEL, observe its activations on examples, and save the state for MRT.load.

    MODEL and PARAMS are those of inspect. Under torchrun the processes share the batches out; the features are those
    of one process, and the first process saves and prints.
    """
    with torchrun_group(available_device(device)) as own_device:
        mrt = _prepared(model, params, parse_shapes(shapes))
        axis = facts_of(input_nodes(mrt.model.module.graph)[0]).batch_axis
        examples = Examples(_load_arrays(data_file, mrt.model, axis), batch, axis)
        mrt.set_data(examples)
        mrt.calibrate(ctx=own_device, cache=cache and CalibrationCache(cache, data_file.name))
        processes = dist.get_world_size() if is_distributed() else 1
        if processes > 1 and dist.get_rank():
            return
        mrt.save(output.name, output.parent)
    summary = {"saved": f"{output}.mrt.ext", "features": len(mrt.features), "examples": examples.count,
               "batches": len(examples), "processes": processes}
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        click.echo(f"observed {summary['features']} activations on {examples.count} examples in {len(examples)} "
                   f"batches, {processes} {'processes' if processes > 1 else 'process'}; saved {summary['saved']}")


@dataclass(frozen=True)
class Examples(Sequence):
    """Batches of arrays that count examples on one axis; the last batch may be smaller.

    An item is an array, or for several inputs a mapping of arrays by input.
    """

    arrays: np.ndarray | Arrays
    batch: int
    axis: int = 0

    @property
    def count(self) -> int:
        """Number of examples."""
        return _values(self.arrays)[0].shape[self.axis]

    def __len__(self) -> int:
        return -(-self.count // self.batch)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = (slice(None),) * self.axis + (slice(index * self.batch, (index + 1) * self.batch),)
        if isinstance(self.arrays, Mapping):
            return {name: np.ascontiguousarray(array[place]) for name, array in self.arrays.items()}
        return np.ascontiguousarray(self.arrays[place])

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))


def _prepared(path: Path, params: Path | None, shapes: Shapes) -> MRT:
    model = Model.load(path, parameters_of(path, params))
    model.prepare(shapes)
    return model.get_mrt()


def _load_arrays(path: Path, model: Model, axis: int) -> np.ndarray | Arrays:
    """The array of a file, or for a model of several inputs its arrays by input; ``.npy`` files are not read whole.

    Raises:
        InvalidFileError: the file cannot be read; pickled objects are refused.
        InvalidArgumentError: the arrays are not those of the inputs.
    """
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays = dict(loaded) if isinstance(loaded, Mapping) else loaded
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise InvalidFileError("the data cannot be read", where=str(path), why=str(error),
                               remedy="give a .npy or .npz file of numbers that NumPy wrote") from error
    names = list(model.joined.shapes) if model.joined else [model.input_names()[0]]
    if isinstance(arrays, Mapping) and not model.joined:
        arrays = next(iter(arrays.values())) if len(arrays) == 1 else arrays.get(names[0])
    elif isinstance(arrays, Mapping):
        arrays = {name: arrays[name] for name in names} if set(names) <= set(arrays) else None
    elif model.joined:
        arrays = None
    if arrays is None or any(array.ndim <= axis for array in _values(arrays)):
        raise InvalidArgumentError("the data does not have an array for each input", where=str(path),
                                   why=f"saw {list(loaded) if isinstance(loaded, Mapping) else loaded.shape}",
                                   remedy=f"write a .npz file with arrays called {names}, each of many examples")
    return arrays


def _values(arrays: np.ndarray | Arrays) -> list[np.ndarray]:
    return list(arrays.values()) if isinstance(arrays, Mapping) else [arrays]
