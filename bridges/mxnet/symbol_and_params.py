"""A symbol and its parameters, in files that belong together."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import numpy as np

from bridges.mxnet.params_file import write_params
from bridges.mxnet.symbol import Symbol
from bridges.mxnet.symbol_file import write_symbol

logger = logging.getLogger(__name__)


def write_model_files(symbol: Symbol, params: Mapping[str, np.ndarray], symbol_path: str | os.PathLike[str],
                      params_path: str | os.PathLike[str]) -> None:
    """Write the parameters, then the symbol: where a symbol is, its parameters are."""
    write_params(params_path, params)
    write_symbol(symbol, symbol_path)
    logger.info("wrote %d MXNet nodes and %d parameters", len(symbol.operators), len(params))
