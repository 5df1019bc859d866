"""Runs an exported integer symbol with MXNet, exactly."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from bridges.mxnet.attributes import Attributes
from bridges.mxnet.installation import import_mxnet
from bridges.mxnet.params_file import read_params, split_prefixes
from bridges.mxnet.symbol import Symbol, SymbolNode
from bridges.mxnet.symbol_file import format_symbol, read_symbol
from mrt_torch.errors import InvalidArgumentError, InvalidGraphError

LARGEST_EXACT = 2 ** 53  # float64 holds every integer up to here
ONEDNN_SWITCH = "MXNET_MKLDNN_ENABLED"


def run_symbol(symbol_path: str | os.PathLike[str], params_path: str | os.PathLike[str],
               data: Mapping[str, Any] | Any, ctx: Any = None) -> list[np.ndarray]:
    """Outputs of an integer symbol computed by MXNet in float64: all sums are integers below 2**53, so exact.

    Args:
        symbol_path: what ``export_integer`` wrote.
        params_path: its parameters.
        data: integers by input name, or those of the only input; arrays or CPU tensors of any numeric type.
        ctx: MXNet context, ``mx.cpu()`` by default.

    Returns:
        One int64 array for each head.

    Raises:
        MissingDependencyError: MXNet is not installed.
        InvalidArgumentError: oneDNN is not switched off, or ``data`` does not fit the inputs or holds no
            integers.
        InvalidFileError: a file is corrupt.
        InvalidGraphError: an output is no integer, so the symbol is no integer model.
    """
    _require_plain_mxnet()
    mx = import_mxnet()
    import bridges.mxnet.cvm_op  # noqa: F401  (registers the Custom operators; needs MXNet)
    model = read_symbol(symbol_path)
    symbol = mx.sym.load_json(format_symbol(model))
    parameters, _ = split_prefixes(read_params(params_path), str(params_path))
    arrays = {**parameters, **_inputs(model, parameters, data)}
    ctx = ctx or mx.cpu()
    arguments = {name: mx.nd.array(arrays[name], ctx=ctx, dtype="float64")
                 for name in symbol.list_arguments()}
    try:
        outputs = symbol.bind(ctx, arguments, grad_req="null").forward(is_train=False)
        arrays = [output.asnumpy() for output in outputs]  # waits: MXNet reports errors of operators here
    except mx.MXNetError as error:
        raise InvalidArgumentError("MXNet cannot run the symbol on these data", where=str(symbol_path),
                                   why=str(error).strip().splitlines()[-1],
                                   remedy="check the shapes of the data; any batch will do") from error
    return [_to_integers(array, name) for array, name in zip(arrays, symbol.list_outputs())]


def _require_plain_mxnet() -> None:
    # MXNet reads the variable once, at the first operator of the process, and cannot be asked what it read.
    if os.environ.get(ONEDNN_SWITCH) != "0":
        raise InvalidArgumentError(
            "MXNet is not told to compute without oneDNN", where=f"environment variable {ONEDNN_SWITCH}",
            why=f"it is {os.environ.get(ONEDNN_SWITCH)!r}; with oneDNN, models with Custom operators may "
                "compute garbage without an error",
            remedy=f"set {ONEDNN_SWITCH}=0 before Python starts, or in os.environ before MXNet runs anything")


def _inputs(symbol: Symbol, parameters: Mapping[str, np.ndarray],
            data: Mapping[str, Any] | Any) -> dict[str, np.ndarray]:
    """The data by input name, checked."""
    variables = {node.name: node for node in symbol.variables if node.name not in parameters}
    if not isinstance(data, Mapping):
        if len(variables) != 1:
            raise InvalidArgumentError("one array is given for a model with another number of inputs",
                                       why=f"the inputs are {list(variables)}",
                                       remedy="give a mapping from names to arrays")
        data = {next(iter(variables)): data}
    if sorted(data) != sorted(variables):
        raise InvalidArgumentError("data does not fit the model's inputs",
                                   why=f"given are {sorted(data)}, the inputs are {sorted(variables)}",
                                   remedy="give all inputs; a parameter among them is missing in the file")
    return {name: _checked(np.asarray(array), variables[name]) for name, array in data.items()}


def _checked(array: np.ndarray, variable: SymbolNode) -> np.ndarray:
    where = f"input '{variable.name}'"
    if array.dtype.kind not in "iufb":
        raise InvalidArgumentError("the input holds no numbers", where=where, why=f"it is {array.dtype}",
                                   remedy="pass an array of numbers")
    attributes = Attributes(variable.operator, variable.name, variable.attributes)
    expected = attributes.optional_integers("__shape__") or array.shape
    batch = attributes.optional_integer("__batch_axis__", 0)
    fixed = [own == declared for axis, (own, declared) in enumerate(zip(array.shape, expected)) if axis != batch]
    # Without axes MXNet takes the shape for unknown, and computes on memory it never wrote.
    if array.ndim != len(expected) or array.ndim == 0 or not all(fixed):
        raise InvalidArgumentError("the input has the wrong shape", where=where,
                                   why=f"it is {array.shape}; the model declares {expected}",
                                   remedy="only the batch may differ")
    values = array.astype(np.float64)
    if not _are_integers(values):
        raise InvalidArgumentError("the input holds numbers that are no integers below 2**53", where=where,
                                   remedy="quantize the input with its scale first")
    return values


def _are_integers(values: np.ndarray) -> bool:
    return bool(np.all(np.rint(values) == values) and np.all(np.abs(values) < LARGEST_EXACT))


def _to_integers(values: np.ndarray, name: str) -> np.ndarray:
    if not _are_integers(values):
        raise InvalidGraphError("an output is no integer", where=f"output '{name}'",
                                why=f"values of {values.dtype}",
                                remedy="run a symbol that export_integer wrote")
    return values.astype(np.int64)
