"""Models that MXNet holds in memory: symbols with their arrays, and gluon blocks."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from bridges.mxnet.params_file import read_params, strip_prefixes
from bridges.mxnet.symbol import Symbol
from bridges.mxnet.symbol_file import parse_symbol
from mrt_torch.errors import InvalidArgumentError

Params = Mapping[str, np.ndarray]


def _kinds(model: Any) -> set[str]:
    """Names of the MXNet classes an object is of: none where MXNet was never imported."""
    if "mxnet" not in sys.modules:
        return set()
    return {cls.__name__ for cls in type(model).__mro__ if cls.__module__.partition(".")[0] == "mxnet"}


def is_live(model: Any) -> bool:
    """Whether an object is an ``mx.sym.Symbol`` or a gluon block."""
    return bool(_kinds(model) & {"Symbol", "Block"})


def read_live(model: Any, parameters: Any = None) -> tuple[Symbol, Params]:
    """The symbol of a live model, and its parameters by name without ``arg:``/``aux:``.

    Args:
        model: an ``mx.sym.Symbol``, or a gluon ``HybridBlock`` with initialised parameters. A block of several inputs
            must have been hybridized and run once; its inputs are called ``data0``, ``data1``, ... as ``export`` does,
            and a single one ``data``.
        parameters: of a symbol: NDArrays or numpy arrays by name, or the path of a parameter file. None for a block.

    Raises:
        InvalidArgumentError: the block is not initialised, cannot be traced, or is no HybridBlock; or the parameters
            are not what the model needs.
        InvalidFileError: the symbol holds control flow, or the parameter file is corrupt.
    """
    kinds = _kinds(model)
    if "Symbol" in kinds:
        return parse_symbol(model.tojson(), source=f"symbol '{model.name}'"), _read_params(parameters)
    if "HybridBlock" not in kinds:
        raise InvalidArgumentError("the gluon block has no symbol", where=_name(model),
                                   why=f"{type(model).__name__} is no HybridBlock",
                                   remedy="derive it from HybridBlock, or export its symbol yourself")
    if parameters is not None:
        raise InvalidArgumentError("a gluon block has its own parameters", where=_name(model),
                                   why="parameters were given too", remedy="give the block alone")
    symbol = _symbol_of(model)
    return parse_symbol(symbol.tojson(), source=_name(model)), _params_of(model)


def _name(block: Any) -> str:
    return f"block '{getattr(block, 'name', '')}' ({type(block).__name__})"


def _read_params(parameters: Any) -> Params:
    if parameters is None:
        return {}
    if isinstance(parameters, (str, os.PathLike)):
        return strip_prefixes(read_params(parameters))
    if not isinstance(parameters, Mapping):
        raise InvalidArgumentError("the parameters of a symbol are a mapping from names to arrays",
                                   why=f"saw {type(parameters).__name__}",
                                   remedy="pass one dictionary, such as {**arg_params, **aux_params}")
    return strip_prefixes({name: _as_array(name, array) for name, array in parameters.items()})


def _as_array(name: str, array: Any) -> np.ndarray:
    array = array.asnumpy() if hasattr(array, "asnumpy") else array
    if not isinstance(array, np.ndarray):
        raise InvalidArgumentError("a parameter must be an array", where=f"parameter '{name}'",
                                   why=f"saw {type(array).__name__}", remedy="pass NDArrays or numpy arrays")
    return array


def _symbol_of(block: Any) -> Any:
    """What the block computed when it last ran hybridized, else what it computes for one input called ``data``."""
    mx = sys.modules["mxnet"]
    cached = getattr(block, "_cached_graph", ())
    if cached:
        return cached[1]
    try:
        outputs = block(mx.sym.var("data"))
    except Exception as error:  # the block's own code runs here
        raise InvalidArgumentError("the gluon block cannot be traced", where=_name(block),
                                   why=f"{type(error).__name__}: {str(error).strip().splitlines()[0]:.200}"
                                   if str(error).strip() else type(error).__name__,
                                   remedy="call block.hybridize() and run it once on its inputs first") from error
    return mx.sym.Group(_leaves(outputs))


def _leaves(outputs: Any) -> list[Any]:
    return [leaf for item in outputs for leaf in _leaves(item)] if isinstance(outputs, (list, tuple)) else [outputs]


def _params_of(block: Any) -> Params:
    arrays, missing = {}, []
    for name, parameter in block.collect_params().items():
        try:
            arrays[name] = parameter.list_data()[0].asnumpy()
        except RuntimeError:  # also MXNet's error of parameters whose shape is not known yet
            missing.append(name)
    if missing:
        raise InvalidArgumentError("parameters of the gluon block have no values", where=_name(block),
                                   why=f"{len(missing)}, first '{missing[0]}'",
                                   remedy="call block.initialize() or load_parameters, and run it once where shapes "
                                          "follow from the data")
    return arrays
