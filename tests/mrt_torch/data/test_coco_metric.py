"""Mean average precision of COCO. Oracles: gluoncv's ``COCODetectionMetric``, and figures by hand."""

import sys

import numpy as np
import pytest
import torch

from mrt_torch.data import COCODataset
from mrt_torch.data.coco_annotations import CocoAnnotations
from mrt_torch.data.coco_metric import COCOMeanAveragePrecision
from mrt_torch.errors import InvalidArgumentError, MissingDependencyError
from tests.mrt_torch.data.detection_trees import detections_near, write_coco

BOX = [10.0, 10.0, 19.0, 19.0]  # x1 y1 x2 y2, of 10 x 10 pixels


def _annotations(*objects: tuple[list[float], int], pictures: int = 1) -> CocoAnnotations:
    """Objects (x, y, w, h) and 1 for a crowd in the first of some pictures of 100 x 100, of one class."""
    entries = [{"id": number, "image_id": 5, "category_id": 2, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
               for number, (box, crowd) in enumerate(objects)]
    return CocoAnnotations(tuple({"id": 5 + n, "width": 100, "height": 100, "file_name": "x"} for n in range(pictures)),
                           ({"id": 2, "name": "cat"},), {5 + n: entries if n == 0 else [] for n in range(pictures)})


def _answer(*rows: tuple[int, float, list[float]]) -> tuple[torch.Tensor, ...]:
    ids, scores, boxes = zip(*rows)
    return torch.tensor(ids).reshape(1, -1, 1).float(), torch.tensor(scores).reshape(1, -1, 1), torch.tensor([boxes])


NONE = torch.zeros(1, 0, 6)


@pytest.fixture
def pycocotools():
    return pytest.importorskip("pycocotools")


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 6])
@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_figures_are_those_of_gluoncv(gluoncv, pycocotools, tmp_path, monkeypatch, seed, batch, capsys):
    """gluoncv says it in per cent with one decimal; all of its digits come from pycocotools' ``precision``."""
    monkeypatch.chdir(tmp_path)
    write_coco(tmp_path, gluoncv.data.COCODetection.CLASSES, seed)
    dataset = COCODataset((batch, 3, 64, 64), tmp_path)
    reference = gluoncv.data.COCODetection(root=str(tmp_path / "coco"), splits="instances_val2017", skip_empty=False)
    expected = gluoncv.utils.metrics.coco_detection.COCODetectionMetric(
        reference, "_eval", cleanup=True, data_shape=(64, 64))
    capsys.readouterr()
    metric = dataset.metrics()
    for number, (_, labels) in enumerate(dataset.batches()):
        ids, scores, boxes = detections_near(labels, 64, 10 * seed + number)
        metric.update((ids, scores, boxes), labels)
        assert metric.values() and not capsys.readouterr().out  # the standing after each batch changes nothing
        expected.update([boxes.clip(0, 64).numpy()], [ids.numpy()], [scores.numpy()])
    precision = expected._update().eval["precision"][:, :, :, 0, 2]
    assert metric.values()["mAP"] == precision[precision > -1].mean() and 0 < metric.values()["mAP"] < 1
    names, values = expected.get()
    assert f"{100 * metric.values()['mAP']:.1f}" == values[-1] and "MeanAP" in names[-1]


def test_a_perfect_detector(pycocotools):
    metric = COCOMeanAveragePrecision(_annotations(([10, 10, 10, 10], 0)), 100, 100)
    metric.update(_answer((0, 0.9, BOX), (-1, 0.0, BOX)), NONE)
    assert metric.values() == {"mAP": pytest.approx(1, abs=1e-9)} and str(metric) == "100.00%"


@pytest.mark.parametrize(("height", "found"), [(6, 3), (7, 5), (8, 7), (9, 9), (5, 1), (4, 0)])
def test_the_overlap_needed_rises_by_steps(pycocotools, height, found):
    """10 x h of 10 x 10 pixels: h / 10 reaches ``found`` of the thresholds .50, .55, ..., .95."""
    metric = COCOMeanAveragePrecision(_annotations(([10, 10, 10, 10], 0)), 100, 100)
    metric.update(_answer((0, 0.9, [10.0, 10.0, 19.0, 9.0 + height])), NONE)
    assert metric.values()["mAP"] == pytest.approx(found / 10, abs=1e-9)


def test_boxes_are_scaled_to_the_picture_and_clipped(pycocotools):
    """The network saw 50 x 200 pixels: x counts twice, y half. The box [40, 20, 60, 200] clips to x 50 and y 200."""
    metric = COCOMeanAveragePrecision(_annotations(([80, 10, 21, 91], 0)), 50, 200)
    metric.update(_answer((0, 0.9, [40.0, 20.0, 60.0, 250.0])), NONE)
    assert metric.values()["mAP"] == pytest.approx(1, abs=1e-9)


def test_crowds_count_for_nothing(pycocotools):
    """Two detections inside of a crowd are neither right nor wrong; without the crowd they come first and are wrong."""
    rows = (0, 0.9, [50.0, 50, 69, 69]), (0, 0.8, [55.0, 55, 74, 74]), (0, 0.7, BOX)
    metric = COCOMeanAveragePrecision(_annotations(([10, 10, 10, 10], 0), ([40, 40, 50, 50], 1)), 100, 100)
    metric.update(_answer(*rows), NONE)
    assert metric.values()["mAP"] == pytest.approx(1, abs=1e-9)
    metric = COCOMeanAveragePrecision(_annotations(([10, 10, 10, 10], 0)), 100, 100)
    metric.update(_answer(*rows), NONE)
    assert metric.values()["mAP"] == pytest.approx(1 / 3, abs=1e-9)


def test_low_scores_and_unknown_classes_do_not_count(pycocotools):
    metric = COCOMeanAveragePrecision(_annotations(([10, 10, 10, 10], 0)), 100, 100)
    metric.update(_answer((0, 0.04, BOX), (7, 0.9, BOX)), NONE)
    assert metric.values()["mAP"] == 0


def test_pictures_that_were_not_judged_do_not_count(pycocotools):
    """The object is in the first picture; a batch of the second alone never comes first."""
    metric = COCOMeanAveragePrecision(_annotations(([10, 10, 10, 10], 0), pictures=2), 100, 100)
    assert metric.values() == {"mAP": 0.0}
    metric.update(_answer((0, 0.9, BOX)), NONE)
    assert metric.values()["mAP"] == pytest.approx(1, abs=1e-9)
    metric.update(_answer((0, 0.95, BOX)), NONE)  # wrong, and of the higher score
    assert metric.values()["mAP"] == pytest.approx(0.5, abs=1e-9)
    with pytest.raises(InvalidArgumentError, match="more answers than pictures"):
        metric.update(_answer((0, 0.9, BOX)), NONE)


def test_without_objects_the_figure_is_0(pycocotools):
    metric = COCOMeanAveragePrecision(_annotations(), 100, 100)
    metric.update(_answer((0, 0.9, BOX)), NONE)
    assert metric.values() == {"mAP": 0.0}


def test_annotations_stay_as_they_were(pycocotools):
    annotations = _annotations(([10, 10, 10, 10], 0))
    before = repr(annotations)
    COCOMeanAveragePrecision(annotations, 100, 100).update(_answer((0, 0.9, BOX)), NONE)
    assert repr(annotations) == before


def test_pycocotools_is_asked_for_where_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingDependencyError, match="pycocotools") as caught:
        COCOMeanAveragePrecision(_annotations(), 100, 100)
    assert 'pip install "mrt-torch[data]"' in caught.value.remedy


def test_a_hundred_detections_a_picture_count(pycocotools):
    """The right one is the last of 101."""
    rows = [(0, 0.9, [60.0, 60, 69, 69])] * 100 + [(0, 0.5, BOX)]
    metric = COCOMeanAveragePrecision(_annotations(([10, 10, 10, 10], 0)), 100, 100)
    metric.update(_answer(*rows), NONE)
    assert metric.values()["mAP"] == 0 and np.isfinite(metric.values()["mAP"])
