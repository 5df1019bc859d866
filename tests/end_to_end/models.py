"""Models that stand beside the repository, and the data they are quantized with here."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mrt_torch import MRT, Model

ROWS = 2


@dataclass(frozen=True)
class Case:
    """A model, the shape of one row of its input, and the largest value of its random input."""

    name: str
    row: tuple[int, ...]
    form: str
    largest: float = 1.0

    def data(self, rows: int = ROWS) -> torch.Tensor:
        """Seeded input, from minus the largest value to it, or from 0 for pixels."""
        values = torch.rand(rows, *self.row, generator=torch.Generator().manual_seed(len(self.name)))
        return values * self.largest if self.largest > 1 else 2 * values - 1

    def load(self, folder: Path) -> Model:
        """The model as its files, or its PyTorch definition, give it."""
        if self.form == "mxnet":
            files = folder / f"{self.name}-symbol.json", folder / f"{self.name}-0000.params"
            if not all(path.exists() for path in files):
                pytest.skip(f"needs {files[0]}")
            return Model.load(*files)
        return Model.from_torch(architecture(self.name, folder), torch.zeros(1, *self.row))


CASES = [Case("mnist_lenet", (1, 28, 28), "mxnet"), Case("cifar_resnet8", (3, 32, 32), "mxnet"),
         Case("mtcnn_det1", (3, 16, 20), "mxnet"), Case("mtcnn_det2", (3, 24, 24), "mxnet"),
         Case("mtcnn_det3", (3, 48, 48), "mxnet"), Case("lffd_plate_small", (3, 127, 127), "mxnet", 255.0),
         Case("resnet20_cifar10", (3, 32, 32), "torch"), Case("cifarnet_nxp", (3, 32, 32), "torch")]


def architecture(name: str, folder: Path) -> torch.nn.Module:
    """A PyTorch model of ``architectures.py`` with its weights."""
    path = folder / "architectures.py"
    if not path.exists():
        pytest.skip(f"needs {path}")
    specification = importlib.util.spec_from_file_location("architectures", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.load(name, str(folder))


def calibrated(case: Case, folder: Path) -> MRT:
    """The MRT of a case after calibration on its data."""
    model = case.load(folder)
    model.prepare((ROWS, *case.row))
    mrt = model.get_mrt()
    mrt.set_data(case.data())
    mrt.calibrate()
    return mrt


def as_tuple(outputs) -> tuple:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Content of every file of a deployed model."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
