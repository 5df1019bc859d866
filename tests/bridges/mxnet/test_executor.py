"""MXNet as an executor; that it gives the same integers is tested with the demo."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from bridges.mxnet.executor import executor
from mrt_torch.errors import MissingDependencyError


def test_without_mxnet_it_is_a_missing_dependency(monkeypatch, tmp_path):
    """Oracle: the contract of executors."""
    monkeypatch.setitem(sys.modules, "mxnet", None)
    with pytest.raises(MissingDependencyError):
        executor.run(tmp_path / "net-symbol.json", np.zeros((1, 1), np.int32))
