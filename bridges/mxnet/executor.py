"""MXNet as an executor of exported integer symbols."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from bridges.mxnet.execute import ONEDNN_SWITCH, run_symbol
from bridges.mxnet.installation import import_mxnet

# MXNet prints a paragraph for each operator that runs without oneDNN, unless this is 0.
FALLBACK_MESSAGES = "MXNET_STORAGE_FALLBACK_LOG_VERBOSE"


class MXNetExecutor:
    """MXNet itself, in float64: exact, see ``run_symbol``."""

    title = "MXNet"
    form = "mxnet"

    def run(self, path: str | os.PathLike[str], integers: np.ndarray) -> list[np.ndarray]:
        """Outputs of the symbol at ``path``, with ``<name>-0000.params`` beside it.

        Raises:
            MissingDependencyError: MXNet is not installed.
            InvalidArgumentError: the process uses MXNet with oneDNN already.
        """
        if "mxnet" not in sys.modules:  # it reads these once
            os.environ[ONEDNN_SWITCH] = "0"
            os.environ.setdefault(FALLBACK_MESSAGES, "0")
        import_mxnet()
        symbol_file = Path(path)
        stem = symbol_file.name.removesuffix(".json").removesuffix("-symbol")
        return run_symbol(symbol_file, symbol_file.with_name(f"{stem}-0000.params"), integers)


executor = MXNetExecutor()
