"""The main job from end to end: import, prepare, calibrate, quantize, export, read back, compare."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mrt_torch.demo.digits import Digits, load_digits
from mrt_torch.model import Model
from mrt_torch.simulation import load_real_data
from mrt_torch.verification import CVM, MXNET, WayResult, compare_ways, run_graph, write_cvm, write_mxnet

CALIBRATION_IMAGES = 128
NAME = "digits"
SHAPE = (1, 1, 8, 8)


@dataclass(frozen=True)
class PathResult:
    """What one way of computing the test images gave.

    Attributes:
        title: the way.
        accuracy: share of right answers; None when it was not run, or gave another shape.
        differing: output integers that differ from those of the integer graph; None where there is nothing to
            compare, because the way computes in float, is the reference itself or was not run.
        note: why it was not run: what is not installed.
        refused: the error that the way answered with.
    """

    title: str
    accuracy: float | None = None
    differing: int | None = None
    note: str = ""
    refused: str = ""

    @classmethod
    def of_way(cls, way: WayResult, digits: Digits) -> PathResult:
        """The same with its accuracy."""
        accuracy = None if way.outputs is None else digits.accuracy(way.outputs[0])
        return cls(way.title, accuracy, way.differing, way.not_installed, way.refused)


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
        return not any(result.differing or result.refused for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {**asdict(self), "files": [str(file) for file in self.files], "agree": self.agree}


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
    model.prepare(SHAPE)
    quantized = quantize(model, digits, seed)

    integers = load_real_data(digits.test_images, quantized.input_names()[0], quantized.record.inputs)
    reference = run_graph(quantized.module, integers)
    deployed = write_cvm(quantized, folder, NAME, SHAPE)
    symbol_file = write_mxnet(quantized, folder, NAME, SHAPE)
    ways = compare_ways(reference, integers, {CVM: deployed, MXNET: symbol_file})
    results = (PathResult("float model", digits.accuracy(model(digits.test_images))),
               PathResult("integer graph", digits.accuracy(reference[0])),
               *(PathResult.of_way(way, digits) for way in ways))
    operators = sum(node.op == "call_function" for node in quantized.module.graph.nodes)
    files = (*sorted(deployed.iterdir()), symbol_file, folder / f"{NAME}-0000.params")
    return DemoReport(results, reference[0].numel(), operators, files)


def quantize(model: Model, digits: Digits, seed: int) -> Model:
    """Calibrate a prepared model on some of the calibration images and quantize it to 8 bits."""
    chosen = torch.randperm(len(digits.calibration_images), generator=torch.Generator().manual_seed(seed))
    mrt = model.get_mrt()
    mrt.set_data(digits.calibration_images[chosen[:CALIBRATION_IMAGES]])
    mrt.calibrate()
    return mrt.quantize()

