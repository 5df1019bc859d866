"""Fixtures for the tests of the CVM bridge; those marked ``cvm_runtime`` need the real runtime library."""

from __future__ import annotations

import os

import pytest

from bridges.cvm.runtime import LIBRARY_VARIABLE, CvmRuntime


def pytest_collection_modifyitems(items):
    if not os.environ.get(LIBRARY_VARIABLE):
        skip = pytest.mark.skip(reason=f"no CVM runtime library: ${LIBRARY_VARIABLE} is not set")
        for item in items:
            if item.get_closest_marker("cvm_runtime") and "bridges/cvm" in item.path.as_posix():
                item.add_marker(skip)


@pytest.fixture(scope="session")
def runtime() -> CvmRuntime:
    return CvmRuntime()
