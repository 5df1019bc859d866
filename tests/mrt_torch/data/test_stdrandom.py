"""Random numbers. Oracles: a second data set, the moments of the uniform distribution, and numpy's frozen stream."""

import numpy as np
import pytest
import torch

from mrt_torch.data import StdRandomDataset
from mrt_torch.errors import InvalidArgumentError


def test_numbers_are_uniform_and_the_same_again():
    """Oracle: mean 1/2 and variance 1/12, to five standard errors of 12288 numbers."""
    inputs = torch.cat([inputs for inputs, _ in StdRandomDataset((100, 1, 3)).batches()])
    assert inputs.shape == (4096, 1, 3) and inputs.dtype == torch.float32
    assert 0 <= inputs.min() and inputs.max() < 1
    assert abs(inputs.mean() - 1 / 2) < 5 * (1 / 12 / inputs.numel()) ** 0.5
    assert abs(inputs.var() - 1 / 12) < 5 * (1 / 180 / inputs.numel()) ** 0.5
    assert torch.equal(inputs, torch.cat([again for again, _ in StdRandomDataset((7, 1, 3)).batches()]))


def test_the_first_example_is_the_same_on_every_machine():
    """Oracle: the Mersenne Twister with seed 0 by numpy's legacy generator, 24 bits of each number."""
    expected = np.random.RandomState(0).randint(0, 2**24, 4)
    inputs, label = StdRandomDataset((1, 1, 3))[0]
    assert [*(inputs[0] * 2**24).tolist(), *(label * 2**24).tolist()] == expected.tolist()


def test_its_metric_has_no_figures():
    """Oracle: labels that have nothing to do with the inputs."""
    dataset = StdRandomDataset((5, 1, 3))
    inputs, labels = dataset.iter_func()()
    metrics = dataset.metrics()
    assert "no metric" in dataset.validate(metrics, inputs, labels)
    metrics.load_counts(metrics.counts())
    assert metrics.values() == {}


def test_another_shape_is_refused():
    """Oracle: the shape of the documents."""
    with pytest.raises(InvalidArgumentError, match=r"expected \(N, 1, 3\)"):
        StdRandomDataset((5, 3))
