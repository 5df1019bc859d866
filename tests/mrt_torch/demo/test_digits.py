"""The embedded model and images, against the data set they come from and against MXNet."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mrt_torch import Model
from mrt_torch.demo import load_digits

MOST_BYTES = 500_000
LOWEST_ACCURACY = 0.97
# Both sides compute in float32 and add up in another order: for sums of some hundred terms that is about 1e-6.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_images_are_those_of_scikit_learn(digits):
    """Oracle: the data set in scikit-learn; every fourth image is for the test."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn, the oracle, is not installed")
    original = datasets.load_digits()
    images = torch.from_numpy(original.images[:, None] / 16).float()
    is_test = torch.arange(len(images)) % 4 == 3
    assert torch.equal(digits.test_images, images[is_test])
    assert torch.equal(digits.test_labels, torch.from_numpy(original.target)[is_test])
    assert torch.equal(digits.calibration_images, images[~is_test][:256])
    assert torch.equal(digits.calibration_labels, torch.from_numpy(original.target)[~is_test][:256])


def test_files_are_small(digits):
    """Oracle: the limit of the package."""
    sizes = [path.stat().st_size for path in digits.symbol_file.parent.glob("digits*")
             if path.suffix in (".json", ".params", ".safetensors")]
    assert len(sizes) == 3
    assert sum(sizes) < MOST_BYTES


def test_a_biased_convolution_stands_before_batch_norm(digits):
    """Oracle: the symbol as plain JSON; folding has to scale that bias."""
    nodes = json.loads(digits.symbol_file.read_text())["nodes"]
    norm = next(node for node in nodes if node["op"] == "BatchNorm")
    convolution = nodes[norm["inputs"][0][0]]
    assert convolution["op"] == "Convolution"
    assert convolution["attrs"]["no_bias"] == "False"
    assert len(convolution["inputs"]) == 3


def test_float_accuracy(digits):
    """Oracle: the labels."""
    model = Model.load(digits.symbol_file, digits.params_file)
    assert digits.accuracy(model(digits.test_images)) >= LOWEST_ACCURACY


def test_outputs_are_those_of_mxnet(digits, mxnet):
    """Oracle: MXNet running the same files."""
    stem = str(digits.symbol_file).removesuffix("-symbol.json")
    symbol, arguments, states = mxnet.model.load_checkpoint(stem, 0)
    executor = symbol.bind(mxnet.cpu(), {**arguments, "data": mxnet.nd.array(digits.test_images.numpy())},
                           aux_states=states, grad_req="null")
    expected = executor.forward(is_train=False)[0].asnumpy()
    outputs = Model.load(digits.symbol_file, digits.params_file)(digits.test_images).numpy()
    assert outputs.shape == expected.shape == (449, 10)
    assert np.abs(outputs - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_accuracy_counts_the_first_largest_output():
    """Oracle: counted by hand: of four images two are right; a tie goes to class 0."""
    digits = load_digits()
    small = replace(digits, test_images=digits.test_images[:4], test_labels=torch.tensor([0, 1, 1, 0]))
    assert small.accuracy(torch.tensor([[5, 5], [0, 9], [3, 1], [1, 2]])) == 0.5
