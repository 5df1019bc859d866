"""The MXNet bridge as the core sees it."""

from __future__ import annotations

import os
from typing import Any

from torch import fx

from bridges.mxnet.export_float import export_float
from bridges.mxnet.export_integer import export_integer
from bridges.mxnet.export_restored import export_restored
from bridges.mxnet.live import is_live, read_live
from bridges.mxnet.model import MXNetModel
from bridges.mxnet.names import unify_repeated_calls
from bridges.mxnet.params_file import read_params, strip_prefixes
from bridges.mxnet.symbol_file import read_symbol
from mrt_torch.errors import InvalidFileError
from mrt_torch.graph.stage import Stage


class MXNetBridge:
    """Reads and writes ``-symbol.json`` with ``.params``."""

    name = "mxnet"

    def recognises(self, path: str, parameters_path: str | None) -> bool:
        """``*.json`` with ``*.params``, or ``*-symbol.json`` alone."""
        if parameters_path is None:
            return path.endswith("-symbol.json")
        return path.endswith(".json") and parameters_path.endswith(".params")

    def load(self, path: str, parameters_path: str | None) -> MXNetModel:
        """The model of a symbol file and a parameter file; without one, the file beside the symbol is taken.

        Raises:
            InvalidFileError: a file is missing or corrupt.
        """
        symbol = unify_repeated_calls(read_symbol(path))
        parameters_path = parameters_path or _parameters_beside(path)
        return MXNetModel(symbol, strip_prefixes(read_params(parameters_path), parameters_path))

    def accepts(self, model: Any) -> bool:
        """Whether ``model`` is an ``mx.sym.Symbol`` or a gluon ``HybridBlock``; MXNet is not imported to find out."""
        return is_live(model)

    def load_object(self, model: Any, parameters: Any) -> MXNetModel:
        """The model of a live object; see ``read_live``."""
        symbol, params = read_live(model, parameters)
        return MXNetModel(unify_repeated_calls(symbol), params)

    def save(self, module: fx.GraphModule, stage: Stage, path: str, parameters_path: str | None) -> None:
        """Write a float or integer graph, or one of both, as an MXNet symbol.

        Raises:
            ExportError: lists what MXNet cannot express.
        """
        parameters_path = parameters_path or _parameters_name(path)
        if stage is Stage.INTEGER:
            export_integer(module, path, parameters_path)
        elif stage is Stage.RESTORED:
            export_restored(module, path, parameters_path)
        else:
            export_float(module, path, parameters_path)


def _parameters_name(path: str) -> str:
    return path.removesuffix(".json").removesuffix("-symbol") + "-0000.params"


def _parameters_beside(path: str) -> str:
    name = _parameters_name(path)
    if not os.path.exists(name):
        raise InvalidFileError("the parameters of the MXNet model are missing", where=path, why=f"there is no {name}",
                               remedy="pass the .params file as second argument")
    return name


bridge = MXNetBridge()
