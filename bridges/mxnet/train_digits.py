"""Trains the model that mrt_torch embeds for its demo and writes it as MXNet files.

    python -m bridges.mxnet.train_digits [FOLDER]

The data are the 8x8 digits of scikit-learn (Optical Recognition of Handwritten Digits, UCI repository, CC BY 4.0):
1797 grey images with values 0 to 16. Every fourth image is for the test, the others for training. The model takes
images divided by 16, shaped (N, 1, 8, 8), and returns logits (N, 10).

One machine gives the same files each time; another processor may round differently in training.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save
from torch import nn

from bridges.mxnet.params_file import write_params
from bridges.mxnet.symbol import Entry, Symbol
from bridges.mxnet.symbol_builder import SymbolBuilder
from bridges.mxnet.symbol_file import write_symbol
from mrt_torch.atomic_file import atomic_write
from mrt_torch.errors import MissingDependencyError

logger = logging.getLogger(__name__)

LARGEST_VALUE = 16  # of a pixel
TEST_EVERY = 4
CALIBRATION_IMAGES = 256
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 40, 64, 4e-3, 1e-3
EPSILON = 1e-5
BATCH_NORM_NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}


class DigitsNetwork(nn.Module):
    """Convolutions with BatchNorm (the first two biased), both poolings, a residual sum and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0, self.bn0 = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16, EPSILON)
        self.conv1, self.bn1 = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32, EPSILON)
        self.conv2, self.bn2 = nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32, EPSILON)
        self.conv3, self.bn3 = nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64, EPSILON)
        self.dense = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.bn0(self.conv0(x))), 2)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)) + x)
        x = torch.relu(self.bn3(self.conv3(nn.functional.avg_pool2d(x, 2))))
        return self.dense(x.mean((2, 3)))


def load_digits() -> dict[str, np.ndarray]:
    """Images (N, 1, 8, 8) and labels (N,), both uint8, as ``train_images``, ``train_labels``, ``test_images`` ..."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingDependencyError("scikit-learn, which holds the digits, is not installed",
                                     remedy="pip install 'mrt-torch[test]'") from error
    digits = datasets.load_digits()
    images, labels = digits.images[:, None].astype(np.uint8), digits.target.astype(np.uint8)
    is_test = np.arange(len(labels)) % TEST_EVERY == TEST_EVERY - 1
    return {"train_images": images[~is_test], "train_labels": labels[~is_test],
            "test_images": images[is_test], "test_labels": labels[is_test]}


def train(images: np.ndarray, labels: np.ndarray, epochs: int = EPOCHS) -> DigitsNetwork:
    """Train with AdamW and a one-cycle schedule; the result is in evaluation mode."""
    torch.manual_seed(0)
    x, y = torch.from_numpy(images).float() / LARGEST_VALUE, torch.from_numpy(labels).long()
    network = DigitsNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = -(-len(y) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, epochs * steps)
    for epoch in range(epochs):
        for chosen in torch.randperm(len(y)).split(BATCH):
            loss = nn.functional.cross_entropy(network(x[chosen]), y[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        logger.info("epoch %d of %d: loss %.4f", epoch + 1, epochs, loss.item())
    return network.eval()


def export(network: DigitsNetwork) -> tuple[Symbol, dict[str, np.ndarray]]:
    """The network in MXNet's operators, and its parameters by the names of an MXNet file."""
    builder = SymbolBuilder()
    state = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}

    def convolution(number: int, source: Entry) -> Entry:
        conv, norm = f"conv{number}", f"bn{number}"
        weight, bias = state[f"{conv}.weight"], state.get(f"{conv}.bias")
        inputs = [source, builder.parameter(f"{conv}_weight", weight)]
        if bias is not None:
            inputs.append(builder.parameter(f"{conv}_bias", bias))
        result = builder.operator("Convolution", inputs, conv, kernel=(3, 3), stride=(1, 1), pad=(1, 1),
                                  num_filter=len(weight), no_bias=bias is None)
        moments = [builder.parameter(f"{norm}_{name}", state[f"{norm}.{key}"], auxiliary=key.startswith("running"))
                   for key, name in BATCH_NORM_NAMES.items()]
        return builder.operator("BatchNorm", [result, *moments], norm, eps=EPSILON, fix_gamma=False)

    def relu(number: int, source: Entry) -> Entry:
        return builder.operator("Activation", [source], f"relu{number}", act_type="relu")

    def pooling(name: str, source: Entry, pool_type: str) -> Entry:
        return builder.operator("Pooling", [source], name, kernel=(2, 2), stride=(2, 2), pool_type=pool_type)

    data = builder.variable("data", (0, 1, 8, 8), np.float32)  # MXNet's 0 is any batch
    x = pooling("pool0", relu(0, convolution(0, data)), "max")
    shortcut = relu(1, convolution(1, x))
    x = relu(2, builder.operator("elemwise_add", [convolution(2, shortcut), shortcut], "add2"))
    x = relu(3, convolution(3, pooling("pool2", x, "avg")))
    x = builder.operator("Pooling", [x], "pool3", kernel=(1, 1), global_pool=True, pool_type="avg")
    x = builder.operator("Flatten", [x], "flatten")
    dense = [builder.parameter(f"dense_{part}", state[f"dense.{part}"]) for part in ("weight", "bias")]
    x = builder.operator("FullyConnected", [x, *dense], "dense", num_hidden=10)
    return builder.build([x]), builder.params


def write_files(network: DigitsNetwork, digits: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write ``digits-symbol.json``, ``digits-0000.params`` and, with the images of calibration and test,
    ``digits.safetensors``."""
    symbol, params = export(network)
    write_symbol(symbol, folder / "digits-symbol.json")
    write_params(folder / "digits-0000.params", params)
    kept = {"calibration_images": digits["train_images"][:CALIBRATION_IMAGES],
            "calibration_labels": digits["train_labels"][:CALIBRATION_IMAGES],
            "test_images": digits["test_images"], "test_labels": digits["test_labels"]}
    atomic_write(folder / "digits.safetensors", save({name: kept[name].copy() for name in sorted(kept)}))


def main() -> None:
    parser = argparse.ArgumentParser(description="train the embedded model and write its files")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(str(files("mrt_torch.demo"))),
                        help="where to write (default: the package itself)")
    folder = parser.parse_args().folder
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)  # the sums of several threads depend on their number
    digits = load_digits()
    network = train(digits["train_images"], digits["train_labels"])
    with torch.no_grad():
        logits = network(torch.from_numpy(digits["test_images"]).float() / LARGEST_VALUE)
    hits = int((logits.argmax(1).numpy() == digits["test_labels"]).sum())
    write_files(network, digits, folder)
    logger.info("test accuracy %.2f %% (%d of %d); wrote digits-symbol.json, digits-0000.params and "
                "digits.safetensors to %s", 100 * hits / len(logits), hits, len(logits), folder)


if __name__ == "__main__":
    main()
