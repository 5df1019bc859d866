"""TREC. Oracles: the questions that ``pickle`` wrote, and accuracies counted by hand."""

import pickle

import numpy as np
import pytest
import torch

from mrt_torch.data import DS_REG, TrecDataset
from mrt_torch.errors import InvalidArgumentError, InvalidFileError

WORDS = np.random.RandomState(0).randint(0, 8000, (7, 38))


def _write(root, content, name="TREC.test.pk", protocol=2):
    (root / "trec").mkdir(exist_ok=True)
    (root / "trec" / name).write_bytes(pickle.dumps(content, protocol))
    return root


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", [
    lambda words, label: (words.tolist(), label), lambda words, label: [tuple(words.tolist()), np.int64(label)],
    lambda words, label: (words.astype(np.float32), np.array([label])),
    lambda words, label: (list(words), float(label))],
    ids=["lists", "tuples", "arrays", "scalars"])
def test_every_question_occurs_once_in_its_order(tmp_path, form, protocol):
    _write(tmp_path, [form(words, index % 6) for index, words in enumerate(WORDS)], protocol=protocol)
    dataset = DS_REG["trec"]((38, 3), tmp_path)
    batches = list(dataset.batches())
    assert len(dataset) == 7 and [tuple(inputs.shape) for inputs, _ in batches] == [(38, 3), (38, 3), (38, 1)]
    assert torch.cat([inputs for inputs, _ in batches], 1).T.tolist() == WORDS.tolist()
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert batches[0][0].dtype == torch.float32 and batches[0][1].dtype == torch.int64


def test_the_training_file_is_another(tmp_path):
    _write(tmp_path, [(WORDS[0].tolist(), 1)])
    _write(tmp_path, [(WORDS[1].tolist(), 2)] * 2, "TREC.train.pk")
    assert len(TrecDataset((38, 1), tmp_path)) == 1
    training = TrecDataset((38, 1), tmp_path, is_train=True)
    assert len(training) == 2 and training[0][1] == 2


def test_accuracy_is_written_as_a_share(tmp_path):
    dataset = TrecDataset((38, 3), _write(tmp_path, [(WORDS[0].tolist(), 0)]))
    metrics = dataset.metrics()
    assert dataset.validate(metrics, torch.eye(6)[:3], torch.tensor([0, 1, 5])) == "66.67%"
    assert dataset.validate(metrics, torch.eye(6)[:1], torch.tensor([0])) == "75.00%"
    assert metrics.values() == {"top1": 0.75}


@pytest.mark.parametrize("shape", [(38,), (37, 4), (4, 38), (38, 4, 1)])
def test_other_shapes_are_refused(tmp_path, shape):
    with pytest.raises(InvalidArgumentError):
        TrecDataset(shape, tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidFileError, match="TREC.test.pk"):
        TrecDataset((38, 1), tmp_path)


@pytest.mark.parametrize(("content", "message"), [
    ([], "no list"), ({"a": 1}, "no list"), ([1], "element 0"),
    ([(WORDS[0].tolist(), 1), (WORDS[0].tolist()[:-1], 1)], "element 1"), ([(["word"] * 38, 1)], "element 0"),
    ([([10**400] * 38, 1)], "element 0"),
    *(([(WORDS[0].tolist(), label)], "element 0") for label in (
        "1", 0.5, float("nan"), -1, 2**70, None, WORDS[1], np.float32("inf")))])
def test_anything_but_questions_is_refused(tmp_path, content, message):
    with pytest.raises(InvalidFileError, match=message) as caught:
        TrecDataset((38, 1), _write(tmp_path, content))
    assert "TREC.test.pk" in caught.value.where and caught.value.remedy
