"""Fixtures shared by all tests: the optional MXNet oracle and the developer models beside the repository."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest

from bridges.cvm.runtime import LIBRARY_VARIABLE
from bridges.mxnet.installation import import_mxnet
from mrt_torch.errors import MissingDependencyError
from tests.bridges.mxnet.parity_tally import TALLY

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser):
    parser.addoption("--parity-table", action="store_true", help="print the comparisons with MXNet by operator")


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("--parity-table"):
        terminalreporter.section("comparisons with MXNet by operator")
        for line in TALLY.lines():
            terminalreporter.write_line(line)


def pytest_collection_modifyitems(items):
    """Tests marked ``cvm_runtime`` need the real runtime library."""
    if not os.environ.get(LIBRARY_VARIABLE):
        skip = pytest.mark.skip(reason=f"no CVM runtime library: ${LIBRARY_VARIABLE} is not set")
        for item in items:
            if item.get_closest_marker("cvm_runtime"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def mxnet() -> ModuleType:
    """MXNet 1.9.1 as an oracle, with oneDNN off so that it computes plainly."""
    os.environ["MXNET_MKLDNN_ENABLED"] = "0"
    try:
        return import_mxnet()
    except MissingDependencyError as error:
        pytest.skip(f"needs MXNet, the oracle of this test: {error.what} ({error.why})")


def _shared_folder(name: str) -> Path:
    folder = _SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs the developer files in {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Folder of the developer models."""
    return _shared_folder("models")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the developer data sets."""
    return _shared_folder("data")
