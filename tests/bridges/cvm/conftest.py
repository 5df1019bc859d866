"""Fixtures for the tests of the CVM bridge."""

from __future__ import annotations

import pytest

from bridges.cvm.runtime import CvmRuntime


@pytest.fixture(scope="session")
def runtime() -> CvmRuntime:
    return CvmRuntime()
