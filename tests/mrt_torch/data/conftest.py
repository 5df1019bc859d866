"""The reference library of the detection data sets."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def gluoncv(mxnet) -> ModuleType:
    """gluoncv as an oracle; it refuses to be imported where it finds PyTorch 2, so PyTorch is hidden meanwhile."""
    images = pytest.importorskip("PIL.ImageFile", reason="gluoncv needs Pillow")
    truncated = images.LOAD_TRUNCATED_IMAGES  # gluoncv sets it for the whole process
    hidden, sys.modules["torch"] = sys.modules.get("torch"), None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module("gluoncv")
            for name in ("data.transforms.presets.ssd", "data.transforms.presets.yolo", "utils.metrics.coco_detection",
                         "utils.metrics.voc_detection"):
                importlib.import_module(f"gluoncv.{name}")
    except ImportError as error:
        pytest.skip(f"needs gluoncv, the oracle of this test: {error}")
    finally:
        images.LOAD_TRUNCATED_IMAGES = truncated
        with contextlib.suppress(KeyError):
            del sys.modules["torch"]
        if hidden is not None:
            sys.modules["torch"] = hidden
    return module
