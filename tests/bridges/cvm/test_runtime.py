"""What the runtime wrapper does without the library: finding it, and sorting its output buffer."""

from __future__ import annotations

import os

import numpy as np
import pytest

from bridges.cvm.captured_output import capture
from bridges.cvm.runtime import LIBRARY_VARIABLE, CvmRuntime, separate_heads
from mrt_torch.errors import MissingDependencyError


def test_no_library_configured(monkeypatch):
    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
    with pytest.raises(MissingDependencyError, match=LIBRARY_VARIABLE):
        CvmRuntime()


def test_library_does_not_exist(tmp_path):
    with pytest.raises(MissingDependencyError, match="does not exist"):
        CvmRuntime(tmp_path / "libcvm_runtime.so")


@pytest.mark.skipif(bool(os.environ.get(LIBRARY_VARIABLE)), reason="the real library may be in the process")
def test_file_that_is_no_library(tmp_path):
    (tmp_path / "libcvm_runtime.so").write_text("no library")
    with pytest.raises(MissingDependencyError, match="cannot be used"):
        CvmRuntime(tmp_path / "libcvm_runtime.so")


@pytest.mark.parametrize("dtype", [np.int8, np.int32])
def test_rows_of_several_heads_are_interleaved(dtype):
    """Oracle: the buffer written row by row as the runtime's SaveTensor does."""
    heads = [np.arange(-4, 4).reshape(2, 4), np.arange(100, 102).reshape(2, 1),
             np.arange(50, 56).reshape(1, 2, 3)]
    buffer = np.concatenate([head.reshape(2, -1)[row] for row in range(2) for head in heads]).astype(dtype)
    for seen, head in zip(separate_heads(buffer, [head.shape for head in heads]), heads, strict=True):
        assert seen.dtype == np.int32
        np.testing.assert_array_equal(seen, head)


def test_single_head_of_any_shape():
    values = np.arange(-60, 60).astype(np.int8)
    (seen,) = separate_heads(values, [(2, 3, 4, 5)])
    np.testing.assert_array_equal(seen, values.reshape(2, 3, 4, 5))


def test_capture_takes_what_is_written_to_the_descriptors(capfd):
    with capture() as printed:
        os.write(1, b"to stdout\n")
        os.write(2, b"to stderr\n")
    os.write(1, b"after\n")
    assert printed.text == "to stdout\nto stderr\n"
    assert capfd.readouterr() == ("after\n", "")


def test_capture_restores_after_an_error(capfd):
    with pytest.raises(ValueError), capture() as printed:
        os.write(1, b"before the error")
        raise ValueError
    os.write(1, b"visible")
    assert printed.text == "before the error"
    assert capfd.readouterr().out == "visible"
