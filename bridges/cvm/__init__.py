"""The CVM bridge: integer graphs to deployed models and back, and the runtime that runs them."""

from bridges.cvm.bridge import bridge
from bridges.cvm.export import export_cvm
from bridges.cvm.load import load_cvm
from bridges.cvm.runtime import CvmRuntime

__all__ = ["CvmRuntime", "bridge", "export_cvm", "load_cvm"]
