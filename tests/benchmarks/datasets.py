"""The real pictures the tables are measured on, preprocessed as each network wants them: (N, C, H, W) float32."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CALIBRATION_PICTURES = 64


@dataclass(frozen=True)
class Pictures:
    """Calibration pictures, and evaluation pictures with their labels."""

    calibration: torch.Tensor
    evaluation: torch.Tensor
    labels: torch.Tensor


def normalise(images: np.ndarray, mean: tuple[float, ...], deviation: tuple[float, ...]) -> torch.Tensor:
    """(N, H, W[, C]) uint8 to (N, C, H, W): (x / 255 - mean) / deviation."""
    values = torch.from_numpy(images if images.ndim == 4 else images[..., None]).to(torch.float32) / 255
    values = (values - torch.tensor(mean)) / torch.tensor(deviation)
    return values.permute(0, 3, 1, 2).contiguous()


@cache
def mnist() -> Pictures:
    with np.load(DATA / "mnist.npz") as file:
        def scaled(images: np.ndarray) -> torch.Tensor:
            return normalise(images, (0.1307,), (0.3081,))
        return Pictures(scaled(file["train_images"][:CALIBRATION_PICTURES]), scaled(file["test_images"]),
                        torch.from_numpy(file["test_labels"]).long())


@cache
def cifar(mean: tuple[float, ...] = IMAGENET_MEAN, deviation: tuple[float, ...] = IMAGENET_DEVIATION) -> Pictures:
    with np.load(DATA / "cifar10.npz") as file:
        return Pictures(normalise(file["calib_images"][:CALIBRATION_PICTURES], mean, deviation),
                        normalise(file["test_images"], mean, deviation), torch.from_numpy(file["test_labels"]).long())


@cache
def imagenet() -> Pictures:
    from PIL import Image
    with open(DATA / "imagenet_samples_labels.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    with zipfile.ZipFile(DATA / "imagenet_samples.zip") as archive:
        members = {Path(name).name: name for name in archive.namelist()}

        def read(split: str, most: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
            chosen = [row for row in rows if row["split"] == split][:most]
            images = [np.asarray(Image.open(io.BytesIO(archive.read(members[row["file"]]))).convert("RGB"))
                      for row in chosen]
            return (normalise(np.stack(images), IMAGENET_MEAN, IMAGENET_DEVIATION),
                    torch.tensor([int(row["label"]) for row in chosen]))
        calibration, _ = read("calibration", CALIBRATION_PICTURES)
        return Pictures(calibration, *read("evaluation"))
