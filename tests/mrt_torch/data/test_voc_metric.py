"""Mean average precision of VOC 2007. Oracles: gluoncv's ``VOC07MApMetric``, and figures by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.data.voc_metric import VOC07MeanAveragePrecision
from tests.mrt_torch.data.detection_trees import detections_near

CLASSES = ("a", "b", "c", "d", "e")
SIZE = 64


def _labels(seed: int, pictures: int = 3, rows: int = 4, classes: int = 4) -> torch.Tensor:
    """Objects of whole pixels; some difficult, some pictures with none."""
    random = np.random.RandomState(seed)
    labels = np.full((pictures, rows, 6), -1.0, np.float32)
    for picture in range(pictures):
        for row in range(random.randint(rows + 1)):
            corner = random.randint(0, 40, 2)
            labels[picture, row] = [*corner, *(corner + random.randint(2, 24, 2)), random.randint(classes),
                                    random.rand() < 0.25]
    return torch.from_numpy(labels)


def _of_gluoncv(gluoncv, batches):
    metric = gluoncv.utils.metrics.voc_detection.VOC07MApMetric(iou_thresh=0.5, class_names=CLASSES)
    for (ids, scores, boxes), labels in batches:
        parts = [part.numpy() for part in (boxes.clip(0, SIZE), ids, scores, labels[..., :4], labels[..., 4:5],
                                           labels[..., 5:6])]
        metric.update(*([part] for part in parts))
    return dict(zip(*metric.get()))


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3))
def test_figures_are_those_of_gluoncv(gluoncv, seed, batches):
    samples = []
    for number in range(batches):
        labels = _labels(seed + number)
        ids, scores, boxes = detections_near(labels, SIZE, seed + number)
        samples.append(((ids, scores + number * 1e-4, boxes), labels))  # equal ones gluoncv sorts anyhow
    metric = VOC07MeanAveragePrecision(CLASSES, SIZE, SIZE)
    for answer, labels in samples:
        metric.update(answer, labels)
    if not any((answer[0] >= 0).any() or (labels[..., 4] >= 0).any() for answer, labels in samples):
        assert metric.values() == {"mAP": 0}  # gluoncv raises
        return
    expected = _of_gluoncv(gluoncv, samples)
    assert metric.values()["mAP"] == (0 if np.isnan(expected["mAP"]) else expected["mAP"])
    precisions = metric.average_precisions()
    assert precisions == {name: expected[name] for name in CLASSES if not np.isnan(expected[name])}


def test_many_pictures_and_equal_scores_are_those_of_gluoncv(gluoncv):
    """Within a picture: gluoncv's sort keeps the order of at most 16 equal scores."""
    labels = _labels(5, pictures=40)
    ids, scores, boxes = detections_near(labels, SIZE, 6)
    metric = VOC07MeanAveragePrecision(CLASSES, SIZE, SIZE)
    metric.update((ids, scores, boxes), labels)
    assert 0.1 < metric.values()["mAP"] < 0.9
    assert metric.values()["mAP"] == _of_gluoncv(gluoncv, [((ids, scores, boxes), labels)])["mAP"]
    one, equal = labels[:1].clone(), torch.full((1, 12, 1), 0.5)
    one[0, :2] = torch.tensor([[10.0, 10, 30, 30, 1, 0], [11, 10, 30, 30, 1, 0]])
    ids, _, boxes = detections_near(one, SIZE, 8)
    metric = VOC07MeanAveragePrecision(CLASSES, SIZE, SIZE)
    metric.update((ids, equal, boxes), one)
    assert metric.average_precisions()["b"] == _of_gluoncv(gluoncv, [((ids, equal, boxes), one)])["b"]


def _figures(rows, objects, **options):
    """Detections (id, score, box) and objects (box, class, difficult) of one picture."""
    ids, scores, boxes = zip(*rows)
    metric = VOC07MeanAveragePrecision(CLASSES, SIZE, SIZE, **options)
    metric.update((torch.tensor(ids).reshape(1, -1, 1).float(), torch.tensor(scores).reshape(1, -1, 1),
                   torch.tensor([boxes]).float()), torch.tensor([objects]).float())
    return metric


A, B, C = [0, 0, 9, 9], [20, 20, 39, 39], [40, 0, 59, 19]


def test_one_of_two_found_first():
    """Precision 1 up to recall 1/2, that is at 6 of 11 recalls; then a wrong one, and never more."""
    metric = _figures([(0, 0.9, A), (0, 0.5, C)], [[*A, 0, 0], [*B, 0, 0]])
    assert metric.values() == {"mAP": pytest.approx(6 / 11, abs=1e-12)} and str(metric) == "54.55%"


def test_a_wrong_one_before_the_right_one():
    """Precision 1/2 at every recall."""
    assert _figures([(0, 0.9, C), (0, 0.5, A)], [[*A, 0, 0]]).values()["mAP"] == pytest.approx(0.5, abs=1e-12)


def test_an_object_is_found_once():
    """The second detection of A is wrong: precision 1 at recalls up to 1/2, then 2/3."""
    metric = _figures([(0, 0.9, A), (0, 0.8, A), (0, 0.7, B)], [[*A, 0, 0], [*B, 0, 0]])
    assert metric.values()["mAP"] == pytest.approx((6 + 5 * 2 / 3) / 11, abs=1e-12)


def test_difficult_objects_count_for_nothing():
    """Found or not, once or twice; a class of only difficult objects has no figure."""
    objects = [[*A, 0, 1], [*B, 0, 0], [*C, 1, 1]]
    assert _figures([(0, 0.9, A), (0, 0.8, A), (0, 0.7, B)], objects).average_precisions() == {"a": pytest.approx(1)}
    assert _figures([(0, 0.7, B), (1, 0.3, A)], objects).average_precisions() == {"a": pytest.approx(1)}


def test_classes_are_averaged_and_must_fit():
    metric = _figures([(0, 0.9, A), (2, 0.9, B), (4, 0.9, C)], [[*A, 0, 0], [*B, 1, 0]])
    assert metric.average_precisions() == {"a": pytest.approx(1), "b": 0.0} and str(metric) == "50.00%"


def test_a_box_covers_its_last_pixel():
    """[0, 0, 9, 9] has 100 pixels, [0, 0, 9, 4] 50 of them: exactly half. By their coordinates it would be 36 of 81."""
    assert _figures([(0, 0.9, [0, 0, 9, 4])], [[*A, 0, 0]]).values()["mAP"] == pytest.approx(1)
    assert _figures([(0, 0.9, [0, 0, 9, 3])], [[*A, 0, 0]]).values()["mAP"] == 0
    assert _figures([(0, 0.9, [0, 0, 9, 3])], [[*A, 0, 0]], threshold=0.4).values()["mAP"] == pytest.approx(1)


def test_boxes_are_clipped_to_the_picture():
    """Outside lies more than half of the detection."""
    assert _figures([(0, 0.9, [-30, -30, 9, 9])], [[*A, 0, 0]]).values()["mAP"] == pytest.approx(1)
    wide = VOC07MeanAveragePrecision(CLASSES, 100, 20)
    wide.update((torch.zeros(1, 1, 1), torch.ones(1, 1, 1), torch.tensor([[[50.0, 0, 200, 90]]])),
                torch.tensor([[[50.0, 0, 100, 20, 0, 0]]]))
    assert wide.values()["mAP"] == pytest.approx(1)


def test_nothing_at_all():
    metric = VOC07MeanAveragePrecision(CLASSES, SIZE, SIZE)
    assert metric.values() == {"mAP": 0.0} and str(metric) == "0.00%" and metric.average_precisions() == {}
    metric.update((torch.full((2, 3, 1), -1.0), torch.zeros(2, 3, 1), torch.zeros(2, 3, 4)), torch.zeros(2, 0, 6))
    assert metric.values() == {"mAP": 0.0}
