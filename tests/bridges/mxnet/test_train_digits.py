"""The script that makes the embedded model, with a short training."""

from __future__ import annotations

import pytest
import torch

from bridges.mxnet.train_digits import load_digits, train, write_files
from mrt_torch import Model

pytest.importorskip("sklearn", reason="scikit-learn, which holds the digits, is not installed")

# Both sides compute in float32, but the order of the sums may differ: for some hundred terms that is about 1e-6.
TOLERANCE = 1e-5


def test_files_hold_the_trained_network(tmp_path):
    """Oracle: the torch network that was trained; the same network writes the same bytes."""
    digits = load_digits()
    network = train(digits["train_images"][:128], digits["train_labels"][:128], epochs=2)
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        write_files(network, digits, folder)
    model = Model.load(folders[0] / "digits-symbol.json", folders[0] / "digits-0000.params")
    images = torch.from_numpy(digits["test_images"][:16]).float() / 16
    with torch.no_grad():
        expected = network(images)
    torch.testing.assert_close(model(images), expected, rtol=TOLERANCE, atol=TOLERANCE * expected.abs().max().item())
    files = [sorted(folder.iterdir()) for folder in folders]
    assert [path.name for path in files[0]] == ["digits-0000.params", "digits-symbol.json", "digits.safetensors"]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_training_is_repeatable():
    """Oracle: a second training."""
    digits = load_digits()
    first, second = (train(digits["train_images"][:64], digits["train_labels"][:64], epochs=1).state_dict()
                     for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
