"""MNIST. Oracles: MXNet's own reader, the arrays that were written, and the known accuracy of a trained network."""

import numpy as np
import pytest
import torch

from mrt_torch import Model
from mrt_torch.data import MnistDataset
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from tests.mrt_torch.data.written_files import random_pixels, write_mnist


@pytest.mark.parametrize("is_train", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_images_are_those_in_the_files(tmp_path, is_train, compressed):
    """Oracle: the arrays; pixels / 255."""
    images, labels = random_pixels(7, 28, 28), np.arange(7, dtype=np.uint8)
    write_mnist(tmp_path / "mnist", "train" if is_train else "t10k", images, labels, compressed)
    dataset = MnistDataset((3, 1, 28, 28), root=tmp_path, is_train=is_train)
    batches = list(dataset.batches())
    assert [tuple(inputs.shape) for inputs, _ in batches] == [(3, 1, 28, 28), (3, 1, 28, 28), (1, 1, 28, 28)]
    inputs, read = (torch.cat(parts) for parts in zip(*batches))
    assert inputs.dtype == torch.float32 and read.dtype == torch.int64
    assert torch.equal(inputs, torch.from_numpy(images[:, None]).float() / 255)
    assert read.tolist() == labels.tolist()


def test_images_are_those_that_mxnet_reads(mxnet, tmp_path, monkeypatch):
    """Oracle: mx.gluon.data.vision.MNIST, which takes the files from their folder instead of from the network, and
    ToTensor."""
    vision = mxnet.gluon.data.vision
    write_mnist(tmp_path / "mnist", "t10k", random_pixels(5, 28, 28), np.arange(5, dtype=np.uint8), True)
    monkeypatch.setattr(vision.datasets, "download", lambda url, path, sha1_hash: f"{path}/{url.rsplit('/')[-1]}")
    reference = vision.MNIST(str(tmp_path / "mnist"), train=False).transform_first(vision.transforms.ToTensor())
    dataset = MnistDataset((1, 1, 28, 28), root=tmp_path)
    assert len(dataset) == len(reference)
    for (inputs, label), (expected, expected_label) in zip(dataset, reference):
        # MXNet multiplies by the reciprocal of 255, which may differ in the last bit.
        np.testing.assert_allclose(inputs.numpy(), expected.asnumpy(), rtol=2e-7)
        assert label == expected_label


def test_accuracy_on_real_digits(tmp_path, shared_data, shared_models):
    """Oracle: the accuracy of the network when it was made, 99.07 % of 10000; here of the first 1000, where one
    standard error is 0.3 points."""
    with np.load(shared_data / "mnist.npz") as arrays:
        write_mnist(tmp_path / "mnist", "t10k", arrays["test_images"][:1000], arrays["test_labels"][:1000], True)
    model = Model.load(shared_models / "mnist_lenet-symbol.json", shared_models / "mnist_lenet-0000.params")
    model.prepare((1, 1, 28, 28))
    dataset = MnistDataset((250, 1, 28, 28), root=tmp_path)
    metrics = dataset.metrics()
    for inputs, labels in dataset.batches():
        dataset.validate(metrics, model((inputs - 0.1307) / 0.3081), labels)  # as the network was trained
    assert 0.98 <= metrics.values()["top1"] <= 1


@pytest.mark.parametrize(("images", "labels", "why"), [
    (random_pixels(3, 28, 28), np.zeros(4, "u1"), "expected uint8"),
    (random_pixels(3, 28, 27), np.zeros(3, "u1"), "saw"), (random_pixels(3, 784), np.zeros(3, "u1"), "saw"),
    (np.zeros((3, 28, 28), "f4"), np.zeros(3, "u1"), "saw float32"),
    (random_pixels(3, 28, 28), np.array([1, 10, 2], "u1"), "from 0 to 9, saw 10"),
])
def test_files_of_something_else_are_refused(tmp_path, images, labels, why):
    """Oracle: what is wrong with them."""
    write_mnist(tmp_path / "mnist", "t10k", images, labels, False)
    with pytest.raises(InvalidFileError, match=why):
        MnistDataset((1, 1, 28, 28), root=tmp_path)


def test_missing_files_are_named(tmp_path):
    """Oracle: the names of the files."""
    with pytest.raises(InvalidFileError, match="t10k-images-idx3-ubyte.gz(.|\n)*t10k-labels-idx1-ubyte.gz") as caught:
        MnistDataset((1, 1, 28, 28), root=tmp_path)
    assert caught.value.where == str(tmp_path / "mnist")


def test_another_shape_is_refused(tmp_path):
    """Oracle: the shape of the images."""
    with pytest.raises(InvalidArgumentError, match=r"expected \(N, 1, 28, 28\)"):
        MnistDataset((1, 3, 28, 28), root=tmp_path)
