"""The one place that imports MXNet, an optional package."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np

from mrt_torch.errors import MissingDependencyError

# Aliases that MXNet 1.9.1 uses and NumPy 1.24 removed.
_NUMPY_ALIASES = {"bool": bool, "int": int, "float": float, "complex": complex, "object": object, "str": str}
_REMEDY = ('pip install "mrt-torch[mxnet]"; mxnet 1.9.1 with numpy 1.26 on Python 3.11 works. '
           "Reading and writing MXNet files needs no MXNet")


def import_mxnet() -> ModuleType:
    """Return the module ``mxnet``; aliases that NumPy removed (``numpy.bool``) are defined again.

    Raises:
        MissingDependencyError: MXNet is not installed, or cannot be imported with the installed NumPy or
            system libraries.
    """
    for name, builtin in _NUMPY_ALIASES.items():
        if name not in vars(np):  # asking with hasattr would warn
            setattr(np, name, builtin)
    try:
        return importlib.import_module("mxnet")
    except (ImportError, AttributeError, OSError) as error:
        installed = not (isinstance(error, ModuleNotFoundError) and error.name == "mxnet")
        raise MissingDependencyError("MXNet is installed but cannot be imported" if installed else
                                     "MXNet is not installed", why=f"{type(error).__name__}: {error}",
                                     remedy=_REMEDY) from error
