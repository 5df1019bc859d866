"""What detectors answer. Oracle: rows counted by hand."""

import pytest
import torch

from mrt_torch.data.detections import Detections, detections_of, objects_of, same_best_detection
from mrt_torch.errors import InvalidArgumentError

BOX = [10.0, 10.0, 20.0, 20.0]


def _answer(*rows: tuple[float, float, list[float]]) -> Detections:
    ids, scores, boxes = zip(*rows) if rows else ((-1.0,), (-1.0,), (BOX,))
    parts = torch.tensor(ids).reshape(1, -1, 1), torch.tensor(scores).reshape(1, -1, 1), torch.tensor([boxes])
    return detections_of(parts)[0]


@pytest.mark.parametrize("shape", [(2, 3, 1), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int32])
def test_rows_of_negative_ids_are_nothing(shape, dtype):
    ids = torch.tensor([[2, -1, 0], [-1, -1, -1]], dtype=dtype).reshape(shape)
    scores, boxes = torch.arange(6, dtype=dtype).reshape(shape), torch.arange(24, dtype=dtype).reshape(2, 3, 4)
    first, second = detections_of([ids, scores, boxes])
    assert first.classes.tolist() == [2, 0] and first.scores.tolist() == [0, 2] and len(second.classes) == 0
    assert first.boxes.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]] and second.boxes.shape == (0, 4)


def test_what_is_no_number_is_nothing():
    nan = float("nan")
    ids, scores = torch.tensor([[nan, float("inf"), 1, 2, 3]]), torch.tensor([[1, 1, nan, 1, 1]])
    boxes = torch.zeros(1, 5, 4)
    boxes[0, 3, 2], boxes[0, 4, 2] = nan, float("inf")
    assert detections_of((ids, scores, boxes))[0].classes.tolist() == [3]


@pytest.mark.parametrize("answer", [
    torch.zeros(2, 3), (torch.zeros(2, 3, 1), torch.zeros(2, 3, 1)), (torch.zeros(2, 3, 1),) * 3,
    (torch.zeros(2, 4, 1), torch.zeros(2, 3, 1), torch.zeros(2, 3, 4))])
def test_other_answers_are_refused(answer):
    with pytest.raises(InvalidArgumentError, match="no detections") as caught:
        detections_of(answer)
    assert "expected ids" in caught.value.why and caught.value.remedy


def test_labels_of_five_and_six_columns():
    rows = torch.tensor([[[*BOX, 3, 1], [*BOX, 1, 0], [-1] * 6]])
    assert objects_of(rows)[0].difficult.tolist() == [True, False] and objects_of(rows)[0].classes.tolist() == [3, 1]
    assert objects_of(rows[:, :, :5])[0].difficult.tolist() == [False, False]
    assert len(objects_of(torch.zeros(1, 0, 6))[0].classes) == 0


@pytest.mark.parametrize(("first", "second", "same"), [
    (_answer(), _answer(), True),
    (_answer((1, 0.9, BOX)), _answer(), False), (_answer(), _answer((1, 0.9, BOX)), False),
    (_answer((1, 0.9, BOX)), _answer((1, 0.2, [10.0, 10.0, 20.0, 15.0])), True),  # the half of it: 0.5
    (_answer((1, 0.9, BOX)), _answer((1, 0.9, [10.0, 10.0, 20.0, 14.0])), False),
    (_answer((1, 0.9, BOX)), _answer((2, 0.9, BOX)), False),
    (_answer((1, 0.9, BOX), (2, 0.8, BOX)), _answer((2, 0.1, BOX), (1, 0.3, BOX)), True),
    (_answer((1, 0.9, [5.0] * 4)), _answer((1, 0.9, [5.0] * 4)), True)])
def test_the_best_detections_are_compared(first, second, same):
    assert same_best_detection(first, second) is same
