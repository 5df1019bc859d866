"""ImageNet from record files. Oracles: MXNet's ImageRecordIter, the same images in a folder, and labels written."""

import copy
import csv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mrt_torch import Model
from mrt_torch.data import ImageFolderDataset, ImageNetDataset
from mrt_torch.errors import InvalidArgumentError, InvalidFileError, MRTError
from tests.mrt_torch.data.written_files import encoded_image, image_record, random_pixels, write_records

pytest.importorskip("PIL.Image", reason="Pillow, which decodes images, is not installed")

# The pixels are the same integers; MXNet multiplies by the reciprocal of std, in float32, of values up to 3.
TOLERANCE = 1e-6


def record_iter(mxnet, root: Path, size: int, batch: int, resize: int) -> Any:
    folder = root / "imagenet" / "rec"
    constants = {"mean_r": 123.68, "mean_g": 116.779, "mean_b": 103.939,
                 "std_r": 58.393, "std_g": 57.12, "std_b": 57.375}
    return mxnet.io.ImageRecordIter(
        path_imgrec=str(folder / "val.rec"), path_imgidx=str(folder / "val.idx"), preprocess_threads=1, shuffle=False,
        batch_size=batch, resize=resize, data_shape=(3, size, size), verbose=False, **constants)


@pytest.mark.parametrize(("size", "resize"), [(224, 256), (32, 37), (7, 8), (57, 66)])
def test_inputs_are_those_of_mxnet(mxnet, tmp_path, size, resize):
    """Oracle: ImageRecordIter, on images wide and tall, larger and smaller than the input, grey ones too, and with the
    shorter side given by hand: ceil(size / 0.875)."""
    sizes = [(300, 401), (401, 300), (40, 30), (256, 256), (512, 512), (31, 200)]
    images = [encoded_image(random_pixels(*extents, 3), form) for extents in sizes for form in ("PNG", "JPEG")]
    images += [encoded_image(random_pixels(50, 61)), encoded_image(random_pixels(50, 61), "JPEG")]
    write_records(tmp_path / "imagenet" / "rec", [image_record(image, label) for label, image in enumerate(images)])
    dataset = ImageNetDataset((7, 3, size, size), root=tmp_path)
    assert len(dataset) == len(images) == 14
    reference = record_iter(mxnet, tmp_path, size, 7, resize)
    for (inputs, labels), expected in zip(dataset.batches(), reference, strict=True):
        assert inputs.dtype == torch.float32 and labels.dtype == torch.int64
        np.testing.assert_allclose(inputs.numpy(), expected.data[0].asnumpy(), rtol=0, atol=TOLERANCE)
        assert labels.tolist() == expected.label[0].asnumpy().tolist()


@pytest.fixture(scope="module")
def real_images(shared_data, tmp_path_factory):
    """Root of forty photographs, as records and as files with a list."""
    root = tmp_path_factory.mktemp("root")
    with open(shared_data / "imagenet_samples_labels.csv", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["split"] == "evaluation"][::20]
    folder = root / "image_folder"
    folder.mkdir()
    with zipfile.ZipFile(shared_data / "imagenet_samples.zip") as archive:
        for row in rows:
            (folder / row["file"]).write_bytes(archive.read(row["file"]))
    with open(folder / "labels.csv", "w", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    write_records(root / "imagenet" / "rec", [image_record((folder / row["file"]).read_bytes(), int(row["label"]))
                                              for row in rows])
    return root


def test_records_and_files_give_the_same_inputs(real_images):
    """Oracle: the data set of folders, on the same files."""
    records, files = (dataset((9, 3, 100, 100), root=real_images) for dataset in (ImageNetDataset, ImageFolderDataset))
    assert len(records) == len(files) == 40
    for first, second in zip(records.batches(), files.batches(), strict=True):
        assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_a_trained_network_answers_as_in_mxnet(mxnet, real_images, shared_models):
    """Oracles: MXNet, running the network on what its own reader gives; and the accuracy on all 800 images, 47.3 % when
    they, which are cropped already, are enlarged and cropped again (52.4 % as they are): one standard error of 40
    images is 8 points."""
    stem = shared_models / "mobilenet_v1_025_imagenet"
    model = Model.load(f"{stem}-symbol.json", f"{stem}-0000.params")
    model.prepare((1, 3, 224, 224))
    symbol, arguments, states = mxnet.model.load_checkpoint(str(stem), 0)
    dataset = ImageNetDataset((20, 3, 224, 224), root=real_images)
    metrics = dataset.metrics()
    for (inputs, labels), batch in zip(dataset.batches(), record_iter(mxnet, real_images, 224, 20, 256), strict=True):
        data = batch.data[0].as_in_context(mxnet.cpu())
        executor = symbol.bind(mxnet.cpu(), {**arguments, "data": data}, aux_states=states, grad_req="null")
        expected = torch.from_numpy(executor.forward(is_train=False)[0].asnumpy())
        answers = model(inputs)
        assert dataset.agreement(answers, expected).all()
        dataset.validate(metrics, answers, labels)
    assert abs(metrics.values()["top1"] - 0.473) < 3 * 0.08


def test_batches_repeat_and_workers_agree(real_images):
    """Oracle: a second reading, a loader of torch with two processes, and a copy."""
    dataset = ImageNetDataset((16, 3, 28, 28), root=real_images)
    loader = DataLoader(dataset, 16, num_workers=2, collate_fn=dataset.collate)
    readings = [dataset.batches(), loader, copy.deepcopy(dataset).batches()]
    for first, *others in zip(dataset.batches(), *readings, strict=True):
        assert all(torch.equal(first[0], other[0]) and torch.equal(first[1], other[1]) for other in others)


def test_examples_come_in_the_order_of_the_index(tmp_path):
    """Oracle: the order of the lines."""
    folder = tmp_path / "imagenet" / "rec"
    write_records(folder, [image_record(encoded_image(random_pixels(9, 9, 3)), label) for label in range(5)])
    lines = (folder / "val.idx").read_text().splitlines(keepends=True)
    (folder / "val.idx").write_text("".join(lines[position] for position in (3, 0, 4, 1, 2)))
    labels = [batch.tolist() for _, batch in ImageNetDataset((2, 3, 7, 7), root=tmp_path).batches()]
    assert labels == [[3, 0], [4, 1], [2]]


@pytest.mark.parametrize(("record", "why"), [
    (image_record(b"\xff\xd8 no jpeg", 1), "cannot be decoded"),
    (image_record(encoded_image(random_pixels(9, 9, 3)), 1, 2), "saw 2"),
    (image_record(encoded_image(random_pixels(9, 9, 3)), -1), "whole number from 0"),
])
def test_a_damaged_record_is_refused_with_its_place(tmp_path, record, why):
    """Oracle: what was damaged."""
    write_records(tmp_path / "imagenet" / "rec", [record], keys=[5])
    with pytest.raises(InvalidFileError, match=why) as caught:
        list(ImageNetDataset((1, 3, 7, 7), root=tmp_path).batches())
    assert caught.value.where == f"{tmp_path / 'imagenet' / 'rec' / 'val.rec'}, key 5, byte offset 0"


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_any_damage_is_read_or_refused(tmp_path_factory, data):
    """Oracle: nothing but examples and MRTError comes out."""
    root = tmp_path_factory.mktemp("damaged")
    image = encoded_image(random_pixels(8, 8, 3), data.draw(st.sampled_from(["PNG", "JPEG"])))
    write_records(root / "imagenet" / "rec", [image_record(image, label) for label in range(3)])
    path = root / "imagenet" / "rec" / data.draw(st.sampled_from(["val.rec", "val.rec", "val.idx"]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        for inputs, labels in ImageNetDataset((2, 3, 7, 7), root=root).batches():
            assert inputs.isfinite().all() and labels.min() >= 0
    except MRTError:
        pass


def test_missing_files_are_named(tmp_path):
    """Oracle: the names of the files."""
    with pytest.raises(InvalidFileError, match="no rec/val.rec; no rec/val.idx") as caught:
        ImageNetDataset((1, 3, 224, 224), root=tmp_path)
    assert "im2rec" in caught.value.remedy


@pytest.mark.parametrize("shape", [(1, 3, 224, 225), (1, 1, 224, 224), (1, 3, 224)])
def test_another_shape_is_refused(tmp_path, shape):
    """Oracle: inputs are square and have three channels."""
    with pytest.raises(InvalidArgumentError, match=r"expected \(N, 3, H, H\)"):
        ImageNetDataset(shape, root=tmp_path)
