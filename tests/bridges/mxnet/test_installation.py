"""Importing MXNet in fresh processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
import numpy as np
before = dict(os.environ)
from bridges.mxnet.installation import import_mxnet
from mrt_torch.errors import MissingDependencyError
{prepare}
try:
    print(import_mxnet().__version__, np.bool is bool)
except MissingDependencyError as error:
    print(str(error).replace(chr(10), " "))
{after}
"""


def run(prepare="", after=""):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(prepare=prepare, after=after)], capture_output=True, text=True,
        timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_not_installed():
    message = run("sys.modules['mxnet'] = None")
    assert "MXNet is not installed" in message and "mrt-torch[mxnet]" in message


@pytest.mark.parametrize("error", ["OSError('libgomp.so.1: cannot open')", "AttributeError('np.product')"])
def test_broken_installation_is_told_from_none(error):
    """Oracle: the reason is quoted."""
    prepare = f"import importlib\ndef fail(name):\n    raise {error}\nimportlib.import_module = fail"
    message = run(prepare)
    assert "cannot be imported" in message and error.split("'")[1] in message


def test_aliases_and_nothing_else(mxnet):
    """numpy.bool exists afterwards; the environment is as it was."""
    output = run(after="assert dict(os.environ) == before")
    assert output.split() == [mxnet.__version__, "True"]
