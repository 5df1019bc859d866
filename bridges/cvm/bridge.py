"""The CVM bridge as the core sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import fx

from bridges.cvm.export import export_cvm
from bridges.cvm.load import load_cvm


class CvmBridge:
    """Reads and writes folders of deployed models."""

    name = "cvm"

    def load(self, directory: str | os.PathLike[str]) -> tuple[fx.GraphModule, Mapping[str, Any] | None]:
        """The integer graph and the extension of a deployed model; see ``load_cvm``."""
        return load_cvm(directory)

    def save(self, module: fx.GraphModule, directory: str | os.PathLike[str], extension: Mapping[str, Any],
             data: torch.Tensor | None = None) -> Path:
        """Write an integer graph; see ``export_cvm``."""
        return export_cvm(module, directory, extension=extension, data=data)


bridge = CvmBridge()
