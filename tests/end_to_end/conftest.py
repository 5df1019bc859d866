"""Fixtures of whole networks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import gluoncv_export


@pytest.fixture(scope="session")
def gluoncv_files(mxnet, tmp_path_factory):
    """Files of a network for pictures of a size; made once."""
    made: dict[tuple[str, int], Path] = {}

    def files(network: str, size: int) -> tuple[str, str]:
        if (network, size) not in made:
            stem = tmp_path_factory.mktemp(network) / "net"
            done = subprocess.run([sys.executable, gluoncv_export.__file__, "gluoncv", network, str(size), stem],
                                  capture_output=True, text=True)
            if done.returncode == gluoncv_export.MISSING:
                pytest.skip(f"needs gluoncv, whose networks are split here: {done.stderr.strip().splitlines()[-1]}")
            assert done.returncode == 0, done.stderr
            made[network, size] = stem
        stem = made[network, size]
        return f"{stem}-symbol.json", f"{stem}-0000.params"
    return files
