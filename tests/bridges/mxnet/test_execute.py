"""Running exported symbols: what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.mxnet.execute import run_symbol
from bridges.mxnet.export_integer import export_integer
from bridges.mxnet.params_file import write_params
from mrt_torch.errors import InvalidArgumentError, InvalidFileError, InvalidGraphError
from tests.bridges.cvm.operator_cases import OperatorCase


@pytest.fixture
def paths(tmp_path):
    case = OperatorCase("broadcast_add", (2, 3), (torch.tensor([5], dtype=torch.int32),), {})
    export_integer(case.graph(), tmp_path / "m.json", tmp_path / "m.params")
    return tmp_path / "m.json", tmp_path / "m.params"


@pytest.mark.parametrize("value", [None, "1"])
def test_onednn_must_be_off(paths, monkeypatch, value):
    """Asked before MXNet is imported."""
    if value is None:
        monkeypatch.delenv("MXNET_MKLDNN_ENABLED", raising=False)
    else:
        monkeypatch.setenv("MXNET_MKLDNN_ENABLED", value)
    with pytest.raises(InvalidArgumentError, match="MXNET_MKLDNN_ENABLED=0"):
        run_symbol(*paths, np.zeros((2, 3)))


def test_any_numeric_type_and_context(mxnet, paths):
    """Oracle: x + 5."""
    values = np.arange(6).reshape(2, 3)
    for data in (values, values.astype(np.float32), values.astype(np.int8), torch.from_numpy(values),
                 values.tolist()):
        (result,) = run_symbol(*paths, data, mxnet.cpu(0))
        assert result.dtype == np.int64 and np.array_equal(result, values + 5)


@pytest.mark.parametrize("data", [np.full((2, 3), 0.5), np.full((2, 3), np.nan), np.full((2, 3), 2.0 ** 60),
                                  np.array([["a"] * 3] * 2), {"other": np.zeros((2, 3))}, {}])
def test_unfit_data(mxnet, paths, data):
    with pytest.raises(InvalidArgumentError):
        run_symbol(*paths, data)


@pytest.mark.parametrize("shape", [(), (3,), (2, 4), (1, 2, 3)])
def test_unfit_shape(mxnet, paths, shape):
    """Only the batch may differ from the declared shape."""
    with pytest.raises(InvalidArgumentError, match="wrong shape"):
        run_symbol(*paths, np.zeros(shape))


def test_what_mxnet_refuses(mxnet, tmp_path):
    """A graph for one batch only; MXNet's own message is quoted, shortened to one line."""
    case = OperatorCase("reshape", (2, 3), (), {"shape": "(3, 2)"})
    export_integer(case.graph(), tmp_path / "m.json", tmp_path / "m.params")
    with pytest.raises(InvalidArgumentError, match="MXNet cannot run") as caught:
        run_symbol(tmp_path / "m.json", tmp_path / "m.params", np.zeros((5, 3)))
    assert len(str(caught.value).splitlines()) == 4


def test_corrupt_symbol(mxnet, paths):
    paths[0].write_text("{")
    with pytest.raises(InvalidFileError):
        run_symbol(*paths, np.zeros((2, 3)))


def test_missing_parameters(mxnet, paths):
    """They count as inputs that are not given."""
    write_params(paths[1], {"arg:other": np.zeros(1)})
    with pytest.raises(InvalidArgumentError, match="c0"):
        run_symbol(*paths, {"data": np.zeros((2, 3))})


def test_parameters_without_prefix(mxnet, paths):
    write_params(paths[1], {"c0": np.ones(1)})
    with pytest.raises(InvalidFileError, match="arg:"):
        run_symbol(*paths, np.zeros((2, 3)))


def test_an_output_that_is_no_integer(mxnet, paths):
    """A symbol of real parameters is no integer model."""
    write_params(paths[1], {"arg:c0": np.array([0.5])})
    with pytest.raises(InvalidGraphError, match="no integer"):
        run_symbol(*paths, np.zeros((2, 3)))
