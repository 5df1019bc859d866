"""Every network of gluon's vision model zoo, and some of gluoncv: import against MXNet, quantization, CVM export.

Networks have seeded weights, and each is measured in processes of its own, so that memory is given back. Detectors are
quantized up to keys, as the documents advise: what follows works on scores and coordinates of different magnitudes.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bridges.mxnet import bridge
from mrt_torch import Model
from mrt_torch.errors import MRTError
from tests.benchmarks import gluoncv_export
from tests.benchmarks.gluoncv_export import pictures

CALIBRATION_IMAGES = 2
EXPORTER = Path(gluoncv_export.__file__)


@dataclass(frozen=True)
class ZooNetwork:
    """A network by its name in its zoo.

    Attributes:
        size: height and width of its input.
        keys: where a detector is split, by the names of its symbol.
    """

    zoo: str
    name: str
    size: int = 224
    keys: tuple[str, ...] = ()


def _gluon() -> Iterator[ZooNetwork]:
    depths = (18, 34, 50, 101, 152)
    names = [f"resnet{depth}_v{version}" for version in (1, 2) for depth in depths]
    names += [f"vgg{depth}{suffix}" for suffix in ("", "_bn") for depth in (11, 13, 16, 19)]
    names += ["alexnet", *(f"densenet{depth}" for depth in (121, 161, 169, 201)), "squeezenet1.0", "squeezenet1.1"]
    widths = ("1.0", "0.75", "0.5", "0.25")
    names += [f"{family}{width}" for family in ("mobilenet", "mobilenetv2_") for width in widths]
    for name in names:
        yield ZooNetwork("gluon", name)
    yield ZooNetwork("gluon", "inceptionv3", 299)


SSD_KEYS = ("ssd0_softmax0", "ssd0_reshape7")
YOLO_KEYS = tuple(f"yolov30_yolooutputv3{scale}_{node}" for scale in range(3) for node in ("concat0", "broadcast_mul1"))
NETWORKS = (
    *_gluon(),
    ZooNetwork("gluoncv", "ssd_512_mobilenet1.0_voc", 512, SSD_KEYS),
    ZooNetwork("gluoncv", "ssd_300_vgg16_atrous_voc", 300, SSD_KEYS),
    ZooNetwork("gluoncv", "yolo3_darknet53_voc", 416, YOLO_KEYS),
    ZooNetwork("gluoncv", "yolo3_mobilenet1.0_voc", 416, YOLO_KEYS),
    ZooNetwork("gluoncv", "cifar_resnet20_v1", 32), ZooNetwork("gluoncv", "cifar_wideresnet16_10", 32),
    ZooNetwork("gluoncv", "resnext50_32x4d"), ZooNetwork("gluoncv", "se_resnext50_32x4d"),
    ZooNetwork("gluoncv", "mobilenetv3_small"), ZooNetwork("gluoncv", "resnest14"),
)


def as_tuple(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def float_error(files: tuple[str, str], reference: Path) -> float:
    """Relative error of the import against MXNet in the Euclidean norm, of the worst output."""
    with np.load(reference) as arrays, torch.no_grad():
        module = bridge.load(*files).import_graph(arrays["data"].shape)
        outputs = module(torch.from_numpy(arrays["data"]))
        pairs = [(output.numpy(), arrays[f"output{index}"]) for index, output in enumerate(outputs)]
        return max(float(np.linalg.norm(output - expected) / np.linalg.norm(expected)) for output, expected in pairs)


def least_cosine(model: Model, quantized: Model, data: torch.Tensor) -> float:
    """Of all outputs, between float and integer model."""
    with torch.no_grad():
        pairs = zip(as_tuple(model(data)), as_tuple(quantized(data)), strict=True)
        return min(float(torch.cosine_similarity(a.flatten().double(), b.flatten().double(), 0)) for a, b in pairs)


def count_of(model: Model) -> int:
    return sum(node.op == "call_function" for node in model.module.graph.nodes)


def deploy(model: Model, size: int) -> tuple[Model, str]:
    """The quantized model, and "ok" once it is exported to the CVM.

    Raises:
        MRTError: it is refused.
    """
    shape = (1, 3, size, size)
    model.prepare(shape)
    mrt = model.get_mrt()
    mrt.set_data(torch.from_numpy(pictures(CALIBRATION_IMAGES, size, seed=1)))
    mrt.calibrate(progress=False)
    quantized = mrt.quantize()
    with tempfile.TemporaryDirectory() as folder:
        quantized.to_cvm("net", folder, input_shape=shape)
    return quantized, "ok"


def verdict(model: Model, size: int) -> str:
    """Whether a network is deployed as a whole, or at which node it is refused."""
    try:
        return deploy(model, size)[1]
    except MRTError as error:
        return f"refused {error.where}"


def measure(network: ZooNetwork, stem: Path) -> dict[str, float | int | str]:
    """A row of the table, of exported files."""
    files = f"{stem}-symbol.json", f"{stem}-0000.params"
    row: dict[str, float | int | str] = {"float error": float_error(files, Path(f"{stem}-outputs.npz"))}
    model, whole = Model.load(*files), ""
    if network.keys:
        whole = f"whole: {verdict(Model.load(*files), network.size)}; up to {len(network.keys)} keys: "
        model, _ = model.split(network.keys, (1, 3, network.size, network.size))
    try:
        quantized, export = deploy(model, network.size)
    except MRTError as error:
        return row | {"export": f"{whole}refused {error.where}"}
    return row | {"float nodes": count_of(model), "integer nodes": count_of(quantized), "export": whole + export,
                  "cosine": least_cosine(model, quantized, torch.from_numpy(pictures(1, network.size, seed=2)))}


def measured(network: ZooNetwork) -> dict[str, float | int | str] | str:
    """The row of a network, made by two processes; or why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / network.name
        exported = subprocess.run([sys.executable, EXPORTER, network.zoo, network.name, str(network.size), stem],
                                  capture_output=True, text=True)
        if exported.returncode == gluoncv_export.MISSING:
            return f"skipped: {network.zoo} is not installed ({exported.stderr.strip().splitlines()[-1]})"
        if exported.returncode:
            return f"failed: {exported.stderr.strip().splitlines()[-1]}"
        done = subprocess.run([sys.executable, "-m", "tests.benchmarks.zoo", network.zoo, network.name, stem],
                              capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2])
        return json.loads(done.stdout) if done.returncode == 0 else f"failed: {done.stderr.strip().splitlines()[-1]}"


def run(console: Console, names: list[str]) -> None:
    """Print the table of the networks whose name contains one of ``names``, or of all."""
    table = Table(title=f"calibrated on {CALIBRATION_IMAGES} seeded images; cosine of the outputs for another one")
    for column in ("network", "float error", "float nodes", "integer nodes", "cosine", "CVM export", "seconds"):
        table.add_column(column, justify="right" if column not in ("network", "CVM export") else "left")
    for network in NETWORKS:
        if names and not any(name in network.name for name in names):
            continue
        begin = time.perf_counter()
        row = measured(network)
        seconds = f"{time.perf_counter() - begin:.0f}"
        cells = [*[""] * 4, row] if isinstance(row, str) else [
            f"{row['float error']:.1e}", str(row.get("float nodes", "")),
            str(row.get("integer nodes", "")), f"{row['cosine']:.5f}" if "cosine" in row else "", row["export"]]
        table.add_row(network.name, *cells, seconds)
        console.print(" ".join([network.name, *cells, seconds]), highlight=False)
    console.print(table)


def _main(zoo: str, name: str, stem: str) -> None:
    network = next(network for network in NETWORKS if (network.zoo, network.name) == (zoo, name))
    with contextlib.redirect_stdout(sys.stderr):
        row = measure(network, Path(stem))
    json.dump(row, sys.stdout)


if __name__ == "__main__":
    _main(*sys.argv[1:])
