"""The embedded digits as a data set. Oracle: the images of the demo."""

import pytest
import torch

from mrt_torch.data import DigitsDataset
from mrt_torch.demo import load_digits
from mrt_torch.errors import InvalidArgumentError


@pytest.mark.parametrize("is_train", [False, True])
def test_examples_are_those_of_the_demo(is_train):
    digits = load_digits()
    dataset = DigitsDataset((100, 1, 8, 8), root="nowhere", is_train=is_train)
    inputs, labels = (torch.cat(parts) for parts in zip(*dataset.batches()))
    assert len(dataset) == (256 if is_train else 449)
    assert torch.equal(inputs, digits.calibration_images if is_train else digits.test_images)
    assert torch.equal(labels, digits.calibration_labels if is_train else digits.test_labels)
    assert inputs.dtype == torch.float32 and labels.dtype == torch.int64


def test_another_shape_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"expected \(N, 1, 8, 8\)"):
        DigitsDataset((1, 1, 28, 28))
