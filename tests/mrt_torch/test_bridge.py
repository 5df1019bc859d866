"""Oracle: the entry points of the installed distribution."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mrt_torch.bridge import Bridge, bridge_called, bridge_for, bridges
from mrt_torch.errors import InvalidFileError, MissingDependencyError, MRTError


def test_the_bridges_of_the_distribution_are_found():
    assert {"mxnet", "cvm"} <= set(bridges())
    assert bridge_called("mxnet") is bridges()["mxnet"] and isinstance(bridge_called("mxnet"), Bridge)


@pytest.mark.parametrize("path,parameters", [("net-symbol.json", "net-0000.params"), ("a/net-symbol.json", None),
                                             ("net.json", "net.params")])
def test_files_find_their_bridge_by_name(path, parameters):
    assert bridge_for(path, parameters).name == "mxnet"


@pytest.mark.parametrize("path,parameters", [("net.tflite", None), ("net.json", "net.pt"), ("", None)])
def test_files_without_a_bridge(path, parameters):
    with pytest.raises(InvalidFileError, match="installed bridges: .*mxnet"):
        bridge_for(path, parameters)


def test_a_bridge_that_is_not_installed():
    with pytest.raises(MissingDependencyError, match="tensorrt") as caught:
        bridge_called("tensorrt")
    assert isinstance(caught.value, MRTError) and isinstance(caught.value, ImportError)


def test_importing_the_library_imports_no_bridge_and_no_mxnet():
    code = "import sys, mrt_torch; sys.exit(any(m.split('.')[0] in ('bridges', 'mxnet', 'onnx') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
