"""Arrays of one's own. Oracle: the arrays that were saved."""

import numpy as np
import pytest
import torch

from mrt_torch.data import NpzDataset
from mrt_torch.errors import InvalidFileError

INPUTS, LABELS = np.arange(30, dtype="u1").reshape(5, 2, 3), np.array([4, 0, 1, 2, 2])


def saved(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("names", [("inputs", "labels"), ("images", "labels"), ("x", "y")])
@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None].astype("f4")])
def test_arrays_are_given_in_order(tmp_path, names, labels):
    saved(tmp_path / "npz" / "test.npz", **dict(zip(names, (INPUTS, labels))))
    batches = list(NpzDataset((2, 2, 3), root=tmp_path).batches())
    assert [tuple(inputs.shape) for inputs, _ in batches] == [(2, 2, 3), (2, 2, 3), (1, 2, 3)]
    inputs, read = (torch.cat(parts) for parts in zip(*batches))
    assert inputs.dtype == torch.float32 and torch.equal(inputs, torch.from_numpy(INPUTS).float())
    assert read.dtype == torch.int64 and read.tolist() == LABELS.tolist()


def test_training_has_its_own_file(tmp_path):
    for name, labels in (("test", LABELS), ("train", LABELS[::-1])):
        saved(tmp_path / "npz" / f"{name}.npz", x=INPUTS, y=labels)
    assert [label.item() for _, label in NpzDataset((1, 2, 3), root=tmp_path, is_train=True)] == LABELS[::-1].tolist()


@pytest.mark.parametrize("is_train", [False, True])
def test_the_root_may_be_a_file(tmp_path, is_train):
    path = saved(tmp_path / "mine.npz", x=INPUTS, y=LABELS)
    assert len(NpzDataset((1, 2, 3), root=str(path), is_train=is_train)) == 5


@pytest.mark.parametrize(("arrays", "why"), [
    ({"x": INPUTS, "labels": LABELS}, r"it holds \['labels', 'x'\]"), ({}, r"it holds \[\]"),
    ({"x": INPUTS, "y": LABELS[:4]}, "no inputs with"), ({"x": INPUTS[..., 0], "y": LABELS}, "no inputs with"),
    ({"x": INPUTS, "y": np.int64(1)}, "no inputs with"), ({"x": INPUTS, "y": np.zeros((5, 2), int)}, "no inputs with"),
    ({"x": INPUTS, "y": LABELS - 1}, "is no class"),
    ({"x": INPUTS.astype(object), "y": LABELS}, "allow_pickle=False"),
])
def test_files_of_something_else_are_refused(tmp_path, arrays, why):
    path = saved(tmp_path / "npz" / "test.npz", **arrays)
    with pytest.raises(InvalidFileError, match=why) as caught:
        NpzDataset((1, 2, 3), root=tmp_path)
    assert str(path) in caught.value.where and caught.value.remedy


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidFileError, match="there is no train.npz"):
        NpzDataset((1, 2, 3), root=tmp_path, is_train=True)
