"""PASCAL VOC. Oracles: gluoncv's ``VOCDetection`` and ``YOLO3DefaultValTransform``, and boxes by hand."""

import logging

import numpy as np
import pytest
import torch

from mrt_torch.data import DS_REG, VOCDataset
from mrt_torch.data.voc import LARGEST_ANNOTATION, read_annotation
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from tests.mrt_torch.data.detection_trees import VOC_BOX, detections_near, write_annotation, write_voc

pytest.importorskip("PIL", reason="Pillow decodes the pictures")


@pytest.fixture
def voc(tmp_path):
    return write_voc(tmp_path, VOCDataset.classes)


def _box(name="dog", box=(3, 4, 20, 30), difficult="<difficult>0</difficult>"):
    return VOC_BOX.format(name=name, box=box, difficult=difficult)


@pytest.mark.parametrize(("width", "height"), [(48, 48), (128, 96), (20, 120)])
def test_examples_are_those_of_gluoncv(gluoncv, voc, width, height):
    """Pixels and boxes are exact; MXNet normalizes values of up to 2.6 in another order of roundings to float32."""
    transform = gluoncv.data.transforms.presets.yolo.YOLO3DefaultValTransform(width, height)
    reference = gluoncv.data.VOCDetection(root=str(voc / "voc" / "VOCdevkit"), splits=[(2007, "test")])
    assert reference.CLASSES == VOCDataset.classes
    dataset = DS_REG["voc"]((2, 3, height, width), voc)
    assert len(dataset) == len(reference) == 5
    for index, (expected, expected_label) in enumerate(reference.transform(transform)):
        picture, label = dataset[index]
        assert picture.dtype == label.dtype == torch.float32 and picture.shape == (3, height, width)
        assert np.abs(picture.numpy() - expected.asnumpy()).max() < 2e-6
        assert label.tolist() == np.asarray(expected_label).tolist()


def test_batches_are_filled_up_with_minus_one(voc):
    batches = list(VOCDataset((2, 3, 32, 32), voc).batches())
    assert [tuple(inputs.shape) for inputs, _ in batches] == [(2, 3, 32, 32)] * 2 + [(1, 3, 32, 32)]
    assert [tuple(labels.shape) for _, labels in batches] == [(2, 2, 6), (2, 4, 6), (1, 1, 6)]
    assert batches[0][1][0, 1].tolist() == [-1] * 6 and (batches[0][1][1, :, 4] >= 0).all()


def test_a_picture_without_objects(voc):
    write_annotation(voc / "voc/VOCdevkit/VOC2007/Annotations/000001.xml", (60, 45))
    dataset = VOCDataset((2, 3, 32, 32), voc)
    assert dataset[0][1].shape == (0, 6) and (dataset.batch(0)[1][0] == -1).all()
    assert VOCDataset((1, 3, 32, 32), voc).batch(0)[1].shape == (1, 0, 6)


def test_boxes_of_an_annotation(tmp_path, caplog):
    """By hand: coordinates less 1; unknown classes are left out boxes outside of the picture with a warning."""
    path = tmp_path / "a.xml"
    write_annotation(path, (40, 50), _box(), _box(" Person\n", (1, 1, 40, 50), "<difficult>1</difficult>"),
                     _box("sofa", difficult=""), _box("unicorn"), _box(box=(3, 4, 42, 30)), _box(box=(5, 5, 5, 9)),
                     _box(box=(0, 1, 4, 4)))
    with caplog.at_level(logging.WARNING):
        rows = read_annotation(path, VOCDataset.classes)
    assert rows.tolist() == [[2, 3, 19, 29, 11, 0], [0, 0, 39, 49, 14, 1], [2, 3, 19, 29, 17, 0]]
    assert len(caplog.records) == 3


@pytest.mark.parametrize(("head", "objects", "message"), [
    ('<!DOCTYPE a [<!ENTITY x "y">]>', [], "document type"),
    ('<!DOCTYPE a SYSTEM "http://example.org/a.dtd">', [], "document type"),
    ("<broken>", [], "no element found"), ('<?xml version="1.0" encoding="klingon"?>', [], "encoding"),
    ("", [_box(box=(1, 2, "x", 4))], "could not convert"), ("", ["<object><name>dog</name></object>"], "bndbox/xmin"),
    ("<!--" + " " * LARGEST_ANNOTATION + "-->", [], "bytes, at most")])
def test_damaged_annotations_are_refused(tmp_path, head, objects, message):
    write_annotation(tmp_path / "a.xml", (40, 50), *objects, head=head)
    with pytest.raises(InvalidFileError, match="annotation cannot be read") as caught:
        read_annotation(tmp_path / "a.xml", VOCDataset.classes)
    assert message in caught.value.why and caught.value.where.endswith("a.xml")


def test_entities_are_refused_before_they_grow(tmp_path):
    """A billion laughs: 10^9 characters if it were expanded."""
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))
    write_annotation(tmp_path / "a.xml", (40, 50), "&a9;", head=f"<!DOCTYPE x [{entities}]>")
    with pytest.raises(InvalidFileError, match="document type"):
        read_annotation(tmp_path / "a.xml", VOCDataset.classes)


def test_missing_and_damaged_files_are_named(voc):
    year = voc / "voc/VOCdevkit/VOC2007"
    (year / "JPEGImages/000001.jpg").unlink()
    (year / "JPEGImages/000002.jpg").write_bytes(b"no picture")
    (year / "Annotations/000003.xml").unlink()
    dataset = VOCDataset((1, 3, 32, 32), voc)
    for index, name in enumerate(("000001.jpg", "000002.jpg", "000003.xml")):
        with pytest.raises(InvalidFileError, match=name):
            dataset[index]
    with pytest.raises(IndexError):
        dataset[5]
    for content, message in ((b"", "nothing"), (b"../../x\n", "../../x"), (b"\xff\xfe", "cannot be read")):
        (year / "ImageSets/Main/test.txt").write_bytes(content)
        with pytest.raises(InvalidFileError, match=message):
            VOCDataset((1, 3, 32, 32), voc)
    (year / "ImageSets/Main/test.txt").unlink()
    with pytest.raises(InvalidFileError, match="test.txt"):
        VOCDataset((1, 3, 32, 32), voc)


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (3, 32, 32), (1, 3, 32)])
def test_other_shapes_are_refused(voc, shape):
    with pytest.raises(InvalidArgumentError, match="voc"):
        VOCDataset(shape, voc)


def test_validation_and_agreement(voc):
    """A detector that answers with the labels is right; another that is wrong in one picture agrees on the others."""
    dataset = VOCDataset((5, 3, 64, 64), voc)
    _, labels = dataset.batch(0)
    answer = labels[:, :, 4:5], torch.ones_like(labels[:, :, 4:5]), labels[:, :, :4]
    metrics = dataset.metrics()
    assert dataset.validate(metrics, answer, labels) == "100.00%" and metrics.values() == {"mAP": pytest.approx(1)}
    other = answer[0].clone()
    other[2, 0] = 19
    assert dataset.agreement(answer, (other, *answer[1:])).tolist() == [True, True, False, True, True]
    assert dataset.agreement(answer, detections_near(labels, 64, 0)).shape == (5,)
