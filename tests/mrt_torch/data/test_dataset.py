"""Data sets in memory, their registry and what they inherit. Oracle: batches and answers counted by hand."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mrt_torch.data import DS_REG, ArrayDataset, Dataset, DatasetInParts, dataset_called, register_dataset
from mrt_torch.errors import InvalidArgumentError


def five() -> ArrayDataset:
    return ArrayDataset((2, 3), np.arange(15, dtype="float32").reshape(5, 3), np.arange(5))


def test_batches_keep_their_order_and_the_last_is_smaller():
    following = five().iter_func()
    assert [following()[1].tolist() for _ in range(3)] == [[0, 1], [2, 3], [4]]
    with pytest.raises(StopIteration):
        following()


def test_two_iterations_do_not_share_their_place():
    dataset = ArrayDataset((1, 1), torch.zeros(2, 1), torch.arange(2))
    first, second = dataset.iter_func(), dataset.iter_func()
    assert [first()[1].item(), second()[1].item(), first()[1].item()] == [0, 0, 1]


def test_batches_can_be_read_again():
    dataset = five()
    for first, second in zip(dataset.batches(), dataset.batches(), strict=True):
        assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_a_batch_is_read_by_its_number():
    dataset = five()
    assert dataset.batch(2)[1].tolist() == [4]
    for index in (-1, 3):
        with pytest.raises(IndexError):
            dataset.batch(index)


def test_a_loader_of_torch_gives_the_same_batches():
    dataset = five()
    loader = DataLoader(dataset, dataset.batch_size, collate_fn=dataset.collate)
    for loaded, batch in zip(loader, dataset.batches(), strict=True):
        assert torch.equal(loaded[0], batch[0]) and torch.equal(loaded[1], batch[1])


def test_accuracy_accumulates_over_batches():
    dataset = ArrayDataset((2, 2), torch.zeros(4, 2), torch.zeros(4))
    metrics = dataset.metrics()
    answers = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert dataset.validate(metrics, answers, torch.tensor([0, 0])) == "top1=50.00% top5=100.00%"
    assert dataset.validate(metrics, [answers.flip(0)], torch.tensor([1, 1])) == "top1=50.00% top5=100.00%"
    assert metrics.values() == {"top1": 0.5, "top5": 1.0}
    assert dataset.metrics().values() == {"top1": 0.0, "top5": 0.0}


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1, 1)])
def test_agreement_compares_the_highest_classes(shape):
    first = torch.tensor([[0, 2, 1, 0], [5, 5, 0, 0], [1, 2, 3, 4]]).reshape(shape)
    second = torch.tensor([[0.1, 0.4, 0.2, 0.0], [0.1, 0.9, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]).reshape(shape)
    assert five().agreement([first], second).tolist() == [True, False, True]


@pytest.mark.parametrize(("inputs", "labels"), [
    (torch.zeros(3, 2), torch.zeros(4)), (torch.zeros(3, 5), torch.zeros(3))])
def test_inputs_and_labels_must_fit(inputs, labels):
    with pytest.raises(InvalidArgumentError, match="do not fit"):
        ArrayDataset((1, 2), inputs, labels)


@pytest.mark.parametrize("shape", [(), (-1, 3), (0, 3), (2.0, 3), ("2", 3)])
def test_the_shape_of_a_batch_is_of_positive_integers(shape):
    with pytest.raises(InvalidArgumentError, match="positive integers"):
        ArrayDataset(shape, torch.zeros(1, 3), torch.zeros(1))


def test_a_data_set_of_ones_own_takes_one_class(tmp_path):
    @register_dataset("ones")
    class Ones(DatasetInParts):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return torch.ones(self.input_shape[1:]), torch.tensor(index)
    try:
        dataset = dataset_called("ones")((2, 3), root=tmp_path, is_train=True)
        assert DS_REG["ones"] is Ones and dataset.is_train and dataset.folder == tmp_path / "ones"
        assert [tuple(inputs.shape) for inputs, _ in dataset.batches()] == [(2, 3), (1, 3)]
        with pytest.raises(InvalidArgumentError, match="registered already"):
            register_dataset("ones")(Ones)
    finally:
        del DS_REG["ones"]


def test_another_axis_may_count_examples():
    class Columns(ArrayDataset):
        batch_axis = 1

        def _check_shape(self):
            pass
    inputs = torch.arange(15).reshape(5, 3)
    first, *_, last = Columns((3, 2), inputs, torch.arange(5)).batches()
    assert torch.equal(first[0], inputs[:2].T) and torch.equal(last[0], inputs[4:].T)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InvalidArgumentError, match="cifar10, .*imagenet"):
        dataset_called("no such data")


def test_a_data_set_without_examples_says_what_is_missing():
    with pytest.raises(TypeError, match="__len__"):
        len(Dataset((1, 3)))
    with pytest.raises(TypeError, match="__getitem__"):
        Dataset((1, 3))[0]


def test_the_default_root_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Dataset((1, 3)).folder == tmp_path / ".mxnet" / "datasets" / "none"
