"""The main job from end to end: import, prepare, calibrate, quantize, export, read back, compare."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import fx

from mrt_torch.demo.digits import Digits, load_digits
from mrt_torch.errors import MissingDependencyError
from mrt_torch.executors import executors
from mrt_torch.graph.editor import input_nodes, shape_of
from mrt_torch.model import Model
from mrt_torch.simulation import load_real_data

CALIBRATION_IMAGES = 128
NAME = "digits"


@dataclass(frozen=True)
class PathResult:
    """What one way of computing the test images gave.

    Attributes:
        title: the way.
        accuracy: share of right answers; None when it was not run, or gave another shape.
        differing: output integers that differ from those of the integer graph; None where there is nothing to
            compare, because the way computes in float, is the reference itself or was not run.
        note: why it was not run: what is not installed.
    """

    title: str
    accuracy: float | None = None
    differing: int | None = None
    note: str = ""


@dataclass(frozen=True)
class DemoReport:
    """Results of all ways, and the files that were written.

    Attributes:
        results: one for each way; the first is the float model, the second the integer graph.
        outputs: integers that each way gives: images times classes.
        operators: operators of the integer graph.
        files: what was written.
    """

    results: tuple[PathResult, ...]
    outputs: int
    operators: int
    files: tuple[Path, ...]

    @property
    def agree(self) -> bool:
        """Whether every way that ran gave the same integers."""
        return not any(result.differing for result in self.results)


def run_demo(folder: str | os.PathLike[str], seed: int = 0) -> DemoReport:
    """Quantize the embedded model, write it as CVM and as MXNet files, and compare all ways to run it.

    Args:
        folder: where the files go; made when it does not exist. Earlier files of the same names are replaced.
        seed: chooses the images for calibration.

    Raises:
        MRTError: a step failed.
    """
    digits, folder = load_digits(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = Model.load(digits.symbol_file, digits.params_file)
    model.prepare((1, 1, 8, 8))
    quantized = quantize(model, digits, seed)

    integers = load_real_data(digits.test_images, quantized.input_names()[0], quantized.record.inputs)
    reference = quantized.to_graph()(integers)[0]
    results = [PathResult("float model", digits.accuracy(model(digits.test_images))),
               PathResult("integer graph", digits.accuracy(reference))]

    deployed = quantized.to_cvm(NAME, datadir=folder / "cvm", input_shape=(1, 1, 8, 8), target="cpu")
    symbol_file, params_file = folder / f"{NAME}-symbol.json", folder / f"{NAME}-0000.params"
    quantized.save(symbol_file, params_file)

    def compare(title: str, compute: Callable[[], torch.Tensor]) -> None:
        try:
            outputs = compute().to(torch.int64)
        except MissingDependencyError as error:
            results.append(PathResult(title, note=f"{error.what} ({error.why})" if error.why else error.what))
            return
        if outputs.shape == reference.shape:
            results.append(PathResult(title, digits.accuracy(outputs), int((outputs != reference).sum())))
        else:
            results.append(PathResult(title, differing=reference.numel()))

    compare("CVM files, read back", lambda: run_in_batches(Model.load_cvm(deployed).to_graph(), integers))
    compare("MXNet files, read back",
            lambda: run_in_batches(Model.load(symbol_file, params_file).to_graph(), integers))
    exports = {"cvm": deployed, "mxnet": symbol_file}
    for executor in executors():
        compare(executor.title, lambda executor=executor: torch.from_numpy(
            np.asarray(executor.run(exports[executor.form], integers.numpy())[0])))

    operators = sum(node.op == "call_function" for node in quantized.to_graph().graph.nodes)
    files = (*sorted(deployed.iterdir()), symbol_file, params_file)
    return DemoReport(tuple(results), reference.numel(), operators, files)


def quantize(model: Model, digits: Digits, seed: int) -> Model:
    """Calibrate a prepared model on some of the calibration images and quantize it to 8 bits."""
    chosen = torch.randperm(len(digits.calibration_images), generator=torch.Generator().manual_seed(seed))
    mrt = model.get_mrt()
    mrt.set_data(digits.calibration_images[chosen[:CALIBRATION_IMAGES]])
    mrt.calibrate()
    return mrt.quantize()


def run_in_batches(graph: fx.GraphModule, integers: torch.Tensor) -> torch.Tensor:
    """The only output of an integer graph, computed in slices of the batch that the graph was made for."""
    batch = shape_of(input_nodes(graph.graph)[0])[0]
    return torch.cat([graph(part)[0] for part in integers.split(batch)])
