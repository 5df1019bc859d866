"""Fixtures shared by all tests: the optional MXNet oracle and the developer models beside the repository."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def mxnet() -> ModuleType:
    """MXNet 1.9.1 as an oracle, with oneDNN off so that it computes plainly."""
    os.environ["MXNET_MKLDNN_ENABLED"] = "0"
    for name, builtin in {"bool": bool, "int": int, "float": float, "complex": complex, "object": object,
                          "str": str}.items():
        if name not in vars(np):  # MXNet uses aliases that NumPy 1.24 removed
            setattr(np, name, builtin)
    try:
        return pytest.importorskip("mxnet", reason="MXNet, the oracle of this test, is not installed",
                                   exc_type=ImportError)
    except (AttributeError, OSError) as error:  # other versions of NumPy, or of system libraries
        pytest.skip(f"MXNet, the oracle of this test, cannot be imported here: {error}")


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
