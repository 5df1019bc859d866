"""Class labels. Oracle: the numbers themselves, and the rule that a class is a whole number from 0."""

import numpy as np
import pytest
import torch

from mrt_torch.data.labels import class_labels
from mrt_torch.errors import InvalidFileError


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i4", "i8", "u8", "f4", ">f8", "?"])
def test_every_type_of_number_becomes_int64(dtype):
    labels = class_labels(np.array([0, 1, 1], dtype), "file")
    assert labels.dtype == torch.int64 and labels.tolist() == [0, 1, 1]


def test_a_single_label_has_no_axes():
    assert class_labels(np.float32(7), "file").shape == ()


@pytest.mark.parametrize("wrong", [-1.0, 0.5, np.nan, np.inf, 10.0, 2.0**40])
def test_what_is_no_class_is_refused_with_its_place(wrong):
    with pytest.raises(InvalidFileError, match="whole number from 0 to 9") as caught:
        class_labels(np.array([3, 9, wrong]), "file", 10)
    assert caught.value.where == "file, label 2"
    with pytest.raises(InvalidFileError) as caught:
        class_labels(np.float64(wrong), "record", 10)
    assert caught.value.where == "record"


def test_text_is_refused():
    with pytest.raises(InvalidFileError, match="labels are no numbers"):
        class_labels(np.array(["cat"]), "file")
