"""CIFAR-10. Oracles: MXNet's own reader, the arrays that were written, and the known accuracy of a trained network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch import Model
from mrt_torch.data import Cifar10Dataset
from mrt_torch.errors import InvalidArgumentError, InvalidFileError, MRTError
from tests.mrt_torch.data.written_files import random_pixels, write_cifar10

MEAN, STD = (np.array(values, np.float32).reshape(3, 1, 1)
             for values in ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]))


def everything(dataset: Cifar10Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels = (torch.cat(parts) for parts in zip(*dataset.batches()))
    return inputs, labels


def pixels_of(inputs: torch.Tensor) -> np.ndarray:
    """Images (N, 32, 32, 3) from inputs: the normalization undone, which leaves much less than half a level."""
    levels = (inputs.numpy() * STD + MEAN) * 255
    assert np.abs(levels - np.rint(levels)).max() < 1e-3
    return np.rint(levels).astype(np.uint8).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("folder", ["cifar10", "cifar10/cifar-10-batches-bin"])
def test_images_are_those_in_the_file(tmp_path, folder):
    """Oracle: the arrays that were written."""
    images, labels = random_pixels(5, 32, 32, 3), np.array([9, 0, 3, 3, 1])
    write_cifar10(tmp_path / folder / "test_batch.bin", images, labels)
    dataset = Cifar10Dataset((2, 3, 32, 32), root=tmp_path)
    assert [len(read) for _, read in dataset.batches()] == [2, 2, 1]
    inputs, read = everything(dataset)
    assert inputs.dtype == torch.float32 and read.dtype == torch.int64
    np.testing.assert_array_equal(pixels_of(inputs), images)
    assert read.tolist() == labels.tolist()


def test_training_images_are_in_five_files(tmp_path):
    """Oracle: the arrays that were written, of another number in each file, and Python's rules for indices."""
    images, labels = random_pixels(15, 32, 32, 3), np.arange(15) % 10
    ends = np.cumsum([0, 1, 2, 3, 4, 5])
    for number, (first, last) in enumerate(zip(ends, ends[1:]), 1):
        write_cifar10(tmp_path / "cifar10" / f"data_batch_{number}.bin", images[first:last], labels[first:last])
    dataset = Cifar10Dataset((4, 3, 32, 32), root=tmp_path, is_train=True)
    inputs, read = everything(dataset)
    np.testing.assert_array_equal(pixels_of(inputs), images)
    assert read.tolist() == labels.tolist()
    assert torch.equal(dataset[-1][0], inputs[14]) and torch.equal(dataset[-15][0], inputs[0])
    for outside in (15, -16):
        with pytest.raises(IndexError):
            dataset[outside]


def test_images_are_those_that_mxnet_reads(mxnet, tmp_path, monkeypatch):
    """Oracle: mx.gluon.data.vision.CIFAR10, told that the check sums of the generated files are right, with ToTensor
    and Normalize. It multiplies by reciprocals, which may differ in the last two bits."""
    vision = mxnet.gluon.data.vision
    for name in ("test_batch.bin", *(f"data_batch_{number}.bin" for number in range(1, 6))):
        write_cifar10(tmp_path / "cifar10" / name, random_pixels(4, 32, 32, 3), np.arange(4))
    monkeypatch.setattr(vision.datasets, "check_sha1", lambda path, sha1: True)
    preprocess = vision.transforms.Compose([vision.transforms.ToTensor(), vision.transforms.Normalize(
        [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])])
    reference = vision.CIFAR10(str(tmp_path / "cifar10"), train=False).transform_first(preprocess)
    dataset = Cifar10Dataset((1, 3, 32, 32), root=tmp_path)
    assert len(dataset) == len(reference) == 4
    for (inputs, label), (expected, expected_label) in zip(dataset, reference):
        np.testing.assert_allclose(inputs.numpy(), expected.asnumpy(), rtol=1e-5, atol=1e-6)
        assert label == expected_label


def test_accuracy_on_real_images(tmp_path, shared_data, shared_models):
    """Oracles: the pixels, and the accuracy of the network when it was made: 75.85 % of these 2000 images. It was
    trained with other constants than the data set's, so the pixels are normalized again."""
    with np.load(shared_data / "cifar10.npz") as arrays:
        images, labels = arrays["test_images"], arrays["test_labels"]
    write_cifar10(tmp_path / "cifar10" / "test_batch.bin", images, labels)
    model = Model.load(shared_models / "cifar_resnet8-symbol.json", shared_models / "cifar_resnet8-0000.params")
    model.prepare((1, 3, 32, 32))
    dataset = Cifar10Dataset((500, 3, 32, 32), root=tmp_path)
    metrics, read = dataset.metrics(), []
    for inputs, batch_labels in dataset.batches():
        read.append(pixels_of(inputs))
        pixels = torch.from_numpy(read[-1]).permute(0, 3, 1, 2) / 255
        again = (pixels - torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)) / torch.tensor(
            [0.229, 0.224, 0.225]).reshape(3, 1, 1)
        dataset.validate(metrics, model(again), batch_labels)
    np.testing.assert_array_equal(np.concatenate(read), images)
    # Sums in another order may turn single images whose two best scores are all but equal.
    assert metrics.values()["top1"] == pytest.approx(0.7585, abs=0.001)


@pytest.mark.parametrize(("content", "why", "offset"), [
    (b"", "it is empty", 0), (bytes(3073 + 3072), "6145 bytes, not a multiple of 3073", 3073)])
def test_files_cut_short_are_refused(tmp_path, content, why, offset):
    """Oracle: where the last whole image ends."""
    path = tmp_path / "cifar10" / "test_batch.bin"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match=why) as caught:
        Cifar10Dataset((1, 3, 32, 32), root=tmp_path)
    assert caught.value.where == f"{path}, byte offset {offset}"


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_any_damage_is_read_or_refused(tmp_path_factory, data):
    """Oracle: nothing but examples and MRTError comes out."""
    root = tmp_path_factory.mktemp("damaged")
    write_cifar10(root / "cifar10" / "test_batch.bin", random_pixels(3, 32, 32, 3), np.arange(3))
    content = bytearray((root / "cifar10" / "test_batch.bin").read_bytes())
    content[data.draw(st.sampled_from([0, 1, 3073, 6146]))] = data.draw(st.integers(0, 255))
    size = data.draw(st.sampled_from([0, 1, 3072, 3073, 6146, 9219]))
    (root / "cifar10" / "test_batch.bin").write_bytes(content[:size])
    try:
        inputs, labels = everything(Cifar10Dataset((2, 3, 32, 32), root=root))
        assert len(inputs) == size // 3073 and labels.max() < 10
    except MRTError:
        pass


def test_missing_files_are_named(tmp_path):
    """Oracle: the names of the files."""
    with pytest.raises(InvalidFileError, match="no data_batch_1.bin(.|\n)*no data_batch_5.bin or cifar-10-batches-bin"):
        Cifar10Dataset((1, 3, 32, 32), root=tmp_path, is_train=True)


def test_another_shape_is_refused(tmp_path):
    """Oracle: the shape of the images."""
    with pytest.raises(InvalidArgumentError, match=r"expected \(N, 3, 32, 32\)"):
        Cifar10Dataset((1, 3, 28, 28), root=tmp_path)
