"""COCO. Oracles: gluoncv's ``COCODetection`` and ``SSDDefaultValTransform``, and boxes by hand."""

import json

import numpy as np
import pytest
import torch

from mrt_torch.data import DS_REG, COCODataset
from mrt_torch.data.coco_annotations import read_coco_annotations
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from tests.mrt_torch.data.detection_trees import SIZES, write_coco

pytest.importorskip("PIL", reason="Pillow decodes the pictures")
NAMES = ["person", "bicycle", "car", "motorcycle", "airplane"]


def test_examples_are_those_of_gluoncv(gluoncv, tmp_path):
    """Pixels are exact; MXNet normalizes values of up to 2.6 in another order of roundings to float32. Boxes are exact
    but for one rounding to float32."""
    pytest.importorskip("pycocotools")
    write_coco(tmp_path, gluoncv.data.COCODetection.CLASSES)
    transform = gluoncv.data.transforms.presets.ssd.SSDDefaultValTransform(64, 48)
    reference = gluoncv.data.COCODetection(root=str(tmp_path / "coco"), splits="instances_val2017", skip_empty=False)
    dataset = DS_REG["coco"]((2, 3, 48, 64), tmp_path)
    assert list(dataset.classes) == reference.classes and len(dataset) == len(reference) == 5
    crowds = 0
    for index in range(5):
        picture, label = dataset[index]
        image, objects = reference[index]
        expected, expected_label = transform(image, objects)
        assert np.abs(picture.numpy() - expected.asnumpy()).max() < 2e-6
        expected_label = expected_label[expected_label[:, 4] >= 0]  # it has a row of -1 for none
        assert label[:, :5].numpy() == pytest.approx(expected_label, rel=1e-6)
        crowds += int(label[:, 5].sum())
    assert crowds > 0


def test_pictures_come_by_rising_id_and_every_one_once(tmp_path):
    dataset = COCODataset((2, 3, 32, 32), write_coco(tmp_path, NAMES))
    assert [dataset.picture(index).name for index in range(5)] == sorted(f"{900 - 37 * n:012}.jpg" for n in range(5))
    assert [tuple(inputs.shape) for inputs, _ in dataset.batches()] == [(2, 3, 32, 32), (2, 3, 32, 32), (1, 3, 32, 32)]
    assert {labels.shape[2] for _, labels in dataset.batches()} == {6} and dataset.classes == tuple(NAMES)


def _write(tmp_path, **changes):
    content = {
        "images": [{"id": 7, "width": 40, "height": 30, "file_name": "7.jpg"}],
        "categories": [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 5, 11, 21], "area": 5, "iscrowd": 0}]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**content, **changes}))
    return path


def _annotation(number, **changes):
    return {"id": number, "image_id": 7, "category_id": 1, "bbox": [10, 5, 11, 21], "area": 5, **changes}


def test_boxes_of_annotations(tmp_path):
    """By hand: the box ends at x + w - 1, is clipped to [0, 39] and [0, 29], and is left out if nothing is left."""
    annotations = read_coco_annotations(_write(tmp_path, annotations=[
        _annotation(1), _annotation(2, category_id=3, iscrowd=1), _annotation(3, bbox=[-5, -5, 100, 100]),
        _annotation(4, area=0), _annotation(5, ignore=1), _annotation(6, bbox=[10, 5, 1, 20]),
        _annotation(7, bbox=[39, 5, 9, 9]), _annotation(8, bbox=[10, 5, -3, 20])]))
    assert annotations.objects(0).tolist() == [[10, 5, 20, 25, 1, 0], [10, 5, 20, 25, 0, 1], [0, 0, 39, 29, 1, 0]]


@pytest.mark.parametrize(("changes", "message"), [
    ({"images": 1}, "no list 'images'"), ({"annotations": None}, "no list 'annotations'"),
    ({"images": [1]}, r"images\[0\]"), ({"images": [{"id": 7, "width": 40}]}, r"images\[0\]"),
    ({"categories": [{"id": "3", "name": "car"}]}, r"categories\[0\]"),
    ({"annotations": [_annotation(1), _annotation(1)]}, "have one id"),
    ({"annotations": [_annotation(2**60)]}, r"annotations\[0\]"),
    ({"annotations": [_annotation(1, category_id=9)]}, "no known category"),
    *(({"annotations": [_annotation(1, **change)]}, "annotation 1") for change in (
        {"image_id": 9}, {"bbox": [1, 2, 3]}, {"bbox": [1, 2, 3, "4"]}, {"bbox": [1, 2, 3, float("nan")]},
        {"bbox": [1, 2, 3, 10**400]}))])
def test_damaged_annotations_are_refused(tmp_path, changes, message):
    with pytest.raises(InvalidFileError, match=message) as caught:
        read_coco_annotations(_write(tmp_path, **changes))
    assert "a.json" in caught.value.where and caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"1"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InvalidFileError, match="the annotations"):
        read_coco_annotations(tmp_path / "a.json")


def test_a_name_leads_nowhere_else(tmp_path):
    write_coco(tmp_path, NAMES)
    path = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = "../annotations/x.jpg"
    path.write_text(json.dumps(content))
    dataset = COCODataset((1, 3, 32, 32), tmp_path)
    assert dataset.picture(4) == tmp_path / "coco" / "val2017" / "x.jpg"
    with pytest.raises(InvalidFileError, match="x.jpg"):
        dataset[4]
    assert len(SIZES) == len(dataset)


def test_missing_files_and_other_shapes(tmp_path):
    with pytest.raises(InvalidFileError, match="instances_val2017.json"):
        COCODataset((1, 3, 32, 32), tmp_path)
    with pytest.raises(InvalidArgumentError, match="coco"):
        COCODataset((1, 4, 32, 32), tmp_path)


def test_validation(tmp_path):
    """The labels as answers find everything but what clipping at width - 1 moved; nothing at all finds nothing."""
    pytest.importorskip("pycocotools")
    dataset = COCODataset((5, 3, 64, 64), write_coco(tmp_path, NAMES))
    _, labels = dataset.batch(0)
    answer = labels[:, :, 4:5], torch.ones_like(labels[:, :, 4:5]), labels[:, :, :4]
    assert float(dataset.validate(dataset.metrics(), answer, labels).removesuffix("%")) > 50
    assert dataset.validate(dataset.metrics(), (-answer[1], *answer[1:]), labels) == "0.00%"
    assert dataset.agreement(answer, answer).all()
