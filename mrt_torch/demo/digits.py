"""The embedded model and its images."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file

LARGEST_VALUE = 16  # of a pixel in the data set


@dataclass(frozen=True)
class Digits:
    """Files of the trained model, and images for it.

    Attributes:
        symbol_file, params_file: the model as MXNet files; input ``data`` (N, 1, 8, 8), output logits (N, 10).
        calibration_images: (256, 1, 8, 8) float32 in 0..1, from the training images.
        test_images: (449, 1, 8, 8) float32 in 0..1, not seen in training.
        test_labels: (449,) int64, the digit.
        calibration_labels: (256,) int64.
    """

    symbol_file: Path
    params_file: Path
    calibration_images: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    calibration_labels: torch.Tensor

    def accuracy(self, outputs: torch.Tensor) -> float:
        """Share of the test images whose largest output (N, 10) is the label; the first one where several are."""
        return (outputs.argmax(1).cpu() == self.test_labels).double().mean().item()


def load_digits() -> Digits:
    """The embedded model and its images."""
    folder = Path(str(files(__package__)))
    tensors = load_file(folder / "digits.safetensors")
    return Digits(folder / "digits-symbol.json", folder / "digits-0000.params",
                  tensors["calibration_images"].float() / LARGEST_VALUE,
                  tensors["test_images"].float() / LARGEST_VALUE, tensors["test_labels"].long(),
                  tensors["calibration_labels"].long())
