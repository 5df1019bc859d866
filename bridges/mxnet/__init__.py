"""MXNet models: symbol and parameter files, without MXNet, and live objects where it is installed."""

from bridges.mxnet.bridge import MXNetModel, bridge
from bridges.mxnet.importer import import_symbol
from bridges.mxnet.installation import import_mxnet
from bridges.mxnet.names import unify_names
from bridges.mxnet.registry import register_converter

__all__ = ["MXNetModel", "bridge", "import_mxnet", "import_symbol", "register_converter", "unify_names"]
