"""Data sets in memory and their registry. Oracle: batches and accuracies counted by hand."""

import numpy as np
import pytest
import torch

from mrt_torch.data import DS_REG, ArrayDataset, Dataset, register_dataset
from mrt_torch.errors import InvalidArgumentError


def test_batches_keep_their_order_and_the_last_is_smaller():
    dataset = ArrayDataset((2, 3), np.arange(15, dtype="float32").reshape(5, 3), np.arange(5))
    following = dataset.iter_func()
    assert [following()[1].tolist() for _ in range(3)] == [[0, 1], [2, 3], [4]]
    with pytest.raises(StopIteration):
        following()


def test_two_iterations_do_not_share_their_place():
    dataset = ArrayDataset((1, 1), torch.zeros(2, 1), torch.arange(2))
    first, second = dataset.iter_func(), dataset.iter_func()
    assert [first()[1].item(), second()[1].item(), first()[1].item()] == [0, 0, 1]


def test_accuracy_accumulates_over_batches():
    dataset = ArrayDataset((2, 2), torch.zeros(4, 2), torch.zeros(4))
    metrics = dataset.metrics()
    assert dataset.validate(metrics, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])) == "top1=50.0000%"
    assert dataset.validate(metrics, torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 1])) == "top1=75.0000%"
    assert dataset.metrics() == {"correct": 0, "seen": 0}


@pytest.mark.parametrize(("inputs", "labels"), [
    (torch.zeros(3, 2), torch.zeros(4)), (torch.zeros(3, 5), torch.zeros(3))])
def test_inputs_and_labels_must_fit(inputs, labels):
    with pytest.raises(InvalidArgumentError, match="do not fit"):
        ArrayDataset((1, 2), inputs, labels)


def test_a_data_set_of_ones_own_takes_one_class():
    @register_dataset("ones")
    class Ones(Dataset):
        def __iter__(self):
            yield torch.ones(self.input_shape), torch.zeros(self.input_shape[0])
    try:
        assert DS_REG["ones"]((2, 3)).iter_func()()[0].shape == (2, 3)
        with pytest.raises(InvalidArgumentError, match="registered already"):
            register_dataset("ones")(Ones)
    finally:
        del DS_REG["ones"]
