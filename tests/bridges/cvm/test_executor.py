"""The CVM runtime as an executor."""

from __future__ import annotations

import numpy as np
import pytest

from bridges.cvm.executor import cpu, formal
from bridges.cvm.runtime import LIBRARY_VARIABLE
from mrt_torch.demo import load_digits
from mrt_torch.demo.run import quantize
from mrt_torch.errors import InvalidArgumentError, MissingDependencyError
from mrt_torch.model import Model


def test_without_the_library_it_is_a_missing_dependency(monkeypatch, tmp_path):
    """Oracle: the contract of executors."""
    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
    with pytest.raises(MissingDependencyError):
        cpu.run(tmp_path, np.zeros((1, 1), np.int32))


@pytest.mark.cvm_runtime
def test_the_batch_of_the_model_slices_the_input(tmp_path):
    """Oracle: the integer graph; a model of batch 2 takes 6 images, and not 5."""
    digits = load_digits()
    model = Model.load(digits.symbol_file, digits.params_file)
    model.prepare((1, 1, 8, 8))
    quantized = quantize(model, digits, seed=0)
    folder = quantized.to_cvm("digits", datadir=tmp_path, input_shape=(2, 1, 8, 8), target="cpu")
    integers = (digits.test_images[:6] * 100).int()
    expected = quantized.to_graph()(integers)[0].numpy()
    for executor in (cpu, formal):
        assert np.array_equal(executor.run(folder, integers.numpy())[0], expected)
        with pytest.raises(InvalidArgumentError):
            executor.run(folder, integers[:5].numpy())
