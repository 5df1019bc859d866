"""Quick, Draw!. Oracle: the arrays that were saved."""

import numpy as np
import pytest
import torch

from mrt_torch.data import QuickDrawDataset
from mrt_torch.errors import InvalidArgumentError, InvalidFileError

DRAWINGS = np.random.default_rng(0).normal(size=(20, 1, 28, 28)) * 100
LABELS = np.arange(20)
SHAPE = (8, 1, 28, 28)


def saved(root, part: str = "_test", drawings=DRAWINGS, labels=LABELS):
    (root / "quickdraw").mkdir(exist_ok=True)
    np.save(root / "quickdraw" / f"quickdraw_X{part}.npy", drawings)
    np.save(root / "quickdraw" / f"quickdraw_y{part}.npy", labels)


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", ">f4"])
def test_drawings_are_given_unchanged_and_in_order(tmp_path, dtype):
    saved(tmp_path, drawings=np.abs(DRAWINGS).astype(dtype))
    batches = list(QuickDrawDataset(SHAPE, root=tmp_path).batches())
    assert [len(labels) for _, labels in batches] == [8, 8, 4]
    inputs, labels = (torch.cat(parts) for parts in zip(*batches))
    assert inputs.dtype == torch.float32 and labels.dtype == torch.int64
    np.testing.assert_array_equal(inputs.numpy(), np.abs(DRAWINGS).astype(dtype).astype("f4"))
    assert labels.tolist() == LABELS.tolist()


def test_training_drawings_come_once_each_in_one_random_order(tmp_path):
    saved(tmp_path, part="")
    dataset = QuickDrawDataset(SHAPE, root=tmp_path, is_train=True)
    inputs, labels = (torch.cat(parts) for parts in zip(*dataset.batches()))
    assert sorted(labels.tolist()) == LABELS.tolist() != labels.tolist()
    np.testing.assert_array_equal(inputs.numpy(), DRAWINGS[labels.numpy()].astype("f4"))
    assert torch.equal(torch.cat([again for _, again in dataset.batches()]), labels)
    other = QuickDrawDataset(SHAPE, root=tmp_path, is_train=True)
    assert torch.equal(torch.cat([again for _, again in other.batches()]), labels)


@pytest.mark.parametrize(("drawings", "labels", "why"), [
    (DRAWINGS[:, 0], LABELS, "expected"), (DRAWINGS, LABELS[:-1], "expected"), (DRAWINGS, LABELS[:, None], "expected"),
    (DRAWINGS, LABELS - 0.5, "is no class"), (DRAWINGS.astype(str), LABELS, "no real numbers"),
])
def test_files_of_something_else_are_refused(tmp_path, drawings, labels, why):
    saved(tmp_path, drawings=drawings, labels=labels)
    with pytest.raises(InvalidFileError, match=why):
        QuickDrawDataset(SHAPE, root=tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InvalidFileError, match="no quickdraw_X_test.npy; no quickdraw_y_test.npy"):
        QuickDrawDataset(SHAPE, root=tmp_path)
    with pytest.raises(InvalidFileError, match="no quickdraw_X.npy; no quickdraw_y.npy"):
        QuickDrawDataset(SHAPE, root=tmp_path, is_train=True)


def test_another_shape_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"expected \(N, 1, 28, 28\)"):
        QuickDrawDataset((1, 3, 28, 28), root=tmp_path)
