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


def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the pictures that calibrate, and of the others, of data without such a split.

    The draw with which the peers of ``peers.PUBLISHED`` were calibrated: NumPy's old generator, whose stream is frozen.
    """
    order = np.random.RandomState(0).permutation(count)
    return order[:CALIBRATION_PICTURES], order[CALIBRATION_PICTURES:]


@dataclass(frozen=True)
class Pictures:
    """Calibration pictures, and evaluation pictures with their labels where they have such."""

    calibration: torch.Tensor
    evaluation: torch.Tensor
    labels: torch.Tensor | None = None


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

        def read(chosen: list[dict[str, str]]) -> tuple[torch.Tensor, torch.Tensor]:
            images = [np.asarray(Image.open(io.BytesIO(archive.read(members[row["file"]]))).convert("RGB"))
                      for row in chosen]
            return (normalise(np.stack(images), IMAGENET_MEAN, IMAGENET_DEVIATION),
                    torch.tensor([int(row["label"]) for row in chosen]))
        parts = {split: [row for row in rows if row["split"] == split] for split in ("calibration", "evaluation")}
        chosen, _ = drawn(len(parts["calibration"]))
        calibration, _ = read([parts["calibration"][index] for index in chosen])
        return Pictures(calibration, *read(parts["evaluation"]))


@cache
def faces(size: int) -> Pictures:
    """Face crops scaled to ``size``: BGR, (x - 127.5) / 128; label 1 is a face. 64 drawn at random calibrate."""
    from PIL import Image
    with np.load(DATA / "face_crops48.npz") as file:
        crops, labels = file["images"], torch.from_numpy(file["labels"]).long()
    scaled = np.stack([np.asarray(Image.fromarray(crop).resize((size, size), Image.BILINEAR)) for crop in crops])
    images = (torch.from_numpy(scaled[..., ::-1].copy()).float() - 127.5) / 128
    images = images.permute(0, 3, 1, 2).contiguous()
    chosen, rest = (torch.from_numpy(indices) for indices in drawn(len(images)))
    return Pictures(images[chosen], images[rest], labels[rest])


@cache
def scenes(size: int) -> Pictures:
    """Street and face pictures stretched to ``size``, BGR, 0..255; half calibrate."""
    from PIL import Image
    with zipfile.ZipFile(DATA / "detection_images.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        pictures = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize((size, size)))
                    for name in names]
    images = torch.from_numpy(np.stack(pictures)[..., ::-1].copy()).float().permute(0, 3, 1, 2).contiguous()
    return Pictures(images[::2], images[1::2])


def imagenet_unlabelled() -> Pictures:
    """ImageNet pictures for networks whose weights are random."""
    pictures = imagenet()
    return Pictures(pictures.calibration[:16], pictures.evaluation[:64])


def imagenet_enlarged(size: int) -> Pictures:
    """The same scaled to ``size``."""
    def enlarge(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(images, (size, size), mode="bilinear", align_corners=False)
    pictures = imagenet_unlabelled()
    return Pictures(enlarge(pictures.calibration), enlarge(pictures.evaluation))
