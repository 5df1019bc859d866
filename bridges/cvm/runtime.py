"""The CVM runtime library: load a deployed model and run it, bit for bit what a chain node computes.

Source: cvm-runtime's C API (``cvm/c_api.h``). The library is not part of this package: build cvm-runtime and
set ``CVM_RUNTIME_LIBRARY`` to its ``libcvm_runtime.so``.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bridges.cvm.captured_output import capture
from bridges.cvm.crash_guard import refuse_crashes
from bridges.cvm.params_file import LARGEST_FILE, parse_params
from bridges.cvm.symbol_file import INPUT_NAME, CvmSymbol, Shape
from bridges.cvm.symbol_parser import parse_symbol
from mrt_torch.cvm.interval import Interval
from mrt_torch.errors import (
    InvalidArgumentError,
    InvalidFileError,
    MissingDependencyError,
    RuntimeLibraryError,
    UnsupportedOperatorError,
)

LIBRARY_VARIABLE = "CVM_RUNTIME_LIBRARY"
DEVICES = {"cpu": 0, "formal": 2}
# These change the layout of the output buffer, and one of them writes beyond it.
UNSUPPORTED_POSTPROCESSES = ("argmax", "detection")
LOADED_LIBRARIES = Path("/proc/self/maps")

_LOG_PREFIX = re.compile(r"^(ERROR: *)?\[\d+:\d+:\d+\] \S+:\d+:")
_FUNCTIONS = {
    "CVMAPILoadModel": [ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int,
                        ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int],
    "CVMAPIFreeModel": [ctypes.c_void_p],
    "CVMAPIInference": [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p],
    "CVMAPIGetGasFromGraphFile": [ctypes.c_char_p, ctypes.POINTER(ctypes.c_ulonglong)],
} | {name: [ctypes.c_void_p, ctypes.POINTER(ctypes.c_ulonglong)] for name in (
    "CVMAPIGetInputLength", "CVMAPIGetOutputLength", "CVMAPIGetInputTypeSize", "CVMAPIGetOutputTypeSize",
    "CVMAPIGetStorageSize", "CVMAPIGetGasFromModel")}


class CvmRuntime:
    """The runtime library of one process.

    Args:
        library: path of ``libcvm_runtime.so``; None takes it from the environment variable
            ``CVM_RUNTIME_LIBRARY``.

    Raises:
        MissingDependencyError: there is no such library, or it cannot be loaded.
        RuntimeLibraryError: another CVM library is in this process already; a second one would abort it.
    """

    def __init__(self, library: str | os.PathLike[str] | None = None):
        path = _find_library(library)
        _check_single_library(path)
        try:
            self._library = ctypes.CDLL(str(path))
            for name, arguments in _FUNCTIONS.items():
                function = getattr(self._library, name)
                function.argtypes, function.restype = arguments, ctypes.c_int
        except (OSError, AttributeError) as error:
            raise MissingDependencyError(
                "the CVM runtime library cannot be used", where=str(path), why=str(error),
                remedy="build cvm-runtime for this machine") from error

    def load(self, symbol: bytes, params: bytes, device: str = "cpu") -> CvmModel:
        """Load a deployed model on the back end ``"cpu"`` or ``"formal"`` (the plain, specified arithmetic).

        Raises:
            InvalidArgumentError: unknown device.
            InvalidFileError: the files are malformed in a way that could crash the process.
            RuntimeLibraryError: the runtime refused the model; quotes what it printed.
            UnsupportedOperatorError: the model asks for a postprocess of its outputs.
        """
        if device not in DEVICES:
            raise InvalidArgumentError(f"unknown CVM device {device!r}",
                                       remedy=f"use one of {sorted(DEVICES)}")
        graph = parse_symbol(symbol)
        parse_params(params)
        if max(len(symbol), len(params)) > LARGEST_FILE:
            raise InvalidFileError("the model is too large for the CVM runtime",
                                   why=f"its files have {len(symbol)} and {len(params)} bytes, the runtime "
                                       f"takes {LARGEST_FILE} each",
                                   remedy="deploy a smaller model")
        refuse_crashes(graph)
        if graph.postprocess in UNSUPPORTED_POSTPROCESSES:
            raise UnsupportedOperatorError(f"the postprocess '{graph.postprocess}' is not supported",
                                           remedy="export the model without it")
        handle = ctypes.c_void_p()
        self.call("CVMAPILoadModel", symbol, len(symbol), params, len(params), ctypes.byref(handle),
                  DEVICES[device], 0, what="the CVM runtime refused the model")
        return CvmModel(self, handle, graph)

    def gas_of_graph(self, symbol: bytes) -> int:
        """Gas of one inference, from the ``symbol`` file alone.

        Raises:
            InvalidFileError: the file is malformed in a way that could crash the process.
            RuntimeLibraryError: the runtime refused the graph; quotes what it printed.
        """
        refuse_crashes(parse_symbol(symbol))
        gas = ctypes.c_ulonglong()
        self.call("CVMAPIGetGasFromGraphFile", symbol, ctypes.byref(gas),
                  what="the CVM runtime refused the graph")
        return gas.value

    def call(self, function: str, *arguments: object, what: str) -> None:
        """Call a C function and raise RuntimeLibraryError with what it printed unless it returns 0."""
        with capture() as printed:
            status = getattr(self._library, function)(*arguments)
        if status != 0:
            raise RuntimeLibraryError(what, where=f"{function} returned {status}", why=_message(printed.text),
                                      remedy="correct the model as the message says")


class CvmModel:
    """A model in the runtime; a context manager that frees it.

    Attributes:
        input_shape: shape of the input, batch included.
        head_shapes: shape of each output.
    """

    def __init__(self, runtime: CvmRuntime, handle: ctypes.c_void_p, symbol: CvmSymbol):
        self._runtime = runtime
        self._handle = handle
        self._free = weakref.finalize(self, runtime.call, "CVMAPIFreeModel", handle,
                                      what="the CVM runtime could not free the model")
        variable = next(i for i in symbol.variables if symbol.nodes[i].name == INPUT_NAME)
        entry = symbol.entry((variable, 0))
        self.input_shape: Shape = symbol.shapes[entry]
        self.input_precision = symbol.precisions[entry]
        self.head_shapes: list[Shape] = symbol.head_shapes
        self._input_dtype = _stored_dtype(self._number("CVMAPIGetInputTypeSize"))
        self._output_dtype = _stored_dtype(self._number("CVMAPIGetOutputTypeSize"))
        self._output_bytes = self._number("CVMAPIGetOutputLength")

    def run(self, values: np.ndarray) -> list[np.ndarray]:
        """Outputs (int32, one per head) for one input of the model's shape.

        Raises:
            InvalidArgumentError: the input is no integer array of the model's shape, or exceeds its precision
                (the runtime would clamp it silently).
            RuntimeLibraryError: inference failed; quotes what the runtime printed.
        """
        self._check_open()
        values = np.asarray(values)
        if values.dtype.kind not in "iu" or values.shape != self.input_shape:
            raise InvalidArgumentError("the input does not fit the CVM model",
                                       why=f"saw {values.dtype} of shape {values.shape}, "
                                           f"expected integers of shape {self.input_shape}",
                                       remedy="quantize the input with load_real_data and the model's inputs_ext")
        bound = Interval.symmetric(self.input_precision)
        seen = Interval(int(values.min()), int(values.max()))
        if not bound.contains(seen):
            raise InvalidArgumentError("the input exceeds its precision",
                                       why=f"values {seen.minimum}..{seen.maximum}, {self.input_precision} "
                                           f"bits hold {bound.minimum}..{bound.maximum}",
                                       remedy="quantize the input with the scale in the model's extension")
        buffer = np.ascontiguousarray(values, self._input_dtype)
        result = np.empty(self._output_bytes, np.uint8)
        self._runtime.call("CVMAPIInference", self._handle, buffer.ctypes.data, buffer.nbytes,
                           result.ctypes.data, what="inference in the CVM runtime failed")
        return separate_heads(result.view(self._output_dtype), self.head_shapes)

    @property
    def gas(self) -> int:
        """Gas of one inference."""
        return self._number("CVMAPIGetGasFromModel")

    @property
    def storage_size(self) -> int:
        """Bytes of all tensors, with shared storage counted once."""
        return self._number("CVMAPIGetStorageSize")

    def close(self) -> None:
        """Free the model; further calls on it raise."""
        self._free()

    def __enter__(self) -> CvmModel:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _number(self, function: str) -> int:
        self._check_open()
        number = ctypes.c_ulonglong()
        self._runtime.call(function, self._handle, ctypes.byref(number),
                           what="the CVM runtime gives no answer")
        return number.value

    def _check_open(self) -> None:
        if not self._free.alive:
            raise RuntimeLibraryError("the CVM model is closed", remedy="load it again")


def separate_heads(values: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
    """The heads (int32) in an output buffer of int8 or int32.

    One head is stored as it is; of several the rows over the last axis are interleaved: row 0 of every head,
    then row 1 of every head, and so on. All heads have the same number of rows.
    """
    widths = [shape[-1] for shape in shapes]
    rows = values.reshape(math.prod(shapes[0][:-1]), sum(widths))
    ends = np.cumsum(widths)
    return [np.ascontiguousarray(rows[:, end - width:end], np.int32).reshape(shape)
            for width, end, shape in zip(widths, ends, shapes, strict=True)]


def _stored_dtype(size: int) -> np.dtype:
    return np.dtype(np.int8 if size == 1 else np.int32)


def _message(printed: str) -> str:
    """The lines that say why, without time stamps, source positions and stack traces."""
    lines = [_LOG_PREFIX.sub("", line).strip() for line in printed.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("[bt]", "Stack trace returned"))]
    return "; ".join(list(dict.fromkeys(lines))[:5]) or "it printed nothing"


def _find_library(library: str | os.PathLike[str] | None) -> Path:
    chosen = library if library is not None else os.environ.get(LIBRARY_VARIABLE)
    if not chosen:
        raise MissingDependencyError(
            "the CVM runtime library is not configured",
            why=f"no path was given and {LIBRARY_VARIABLE} is not set",
            remedy=f"build cvm-runtime and set {LIBRARY_VARIABLE} to its libcvm_runtime.so")
    path = Path(chosen)
    if not path.is_file():
        raise MissingDependencyError("the CVM runtime library does not exist", where=str(path),
                                     remedy=f"correct the path, or {LIBRARY_VARIABLE}")
    return path.resolve()


def _check_single_library(path: Path) -> None:
    """Two CVM libraries in one process register the same operators twice, which aborts the process."""
    if not LOADED_LIBRARIES.exists():
        return
    mapped = {Path(line.split(maxsplit=5)[-1]) for line in LOADED_LIBRARIES.read_text().splitlines()}
    others = sorted(str(other) for other in mapped
                    if other.name.startswith(("libcvm.so", "libcvm_runtime.so")) and other.resolve() != path)
    if others:
        raise RuntimeLibraryError("another CVM library is loaded in this process", where=str(path),
                                  why=f"loaded is {others[0]}; a second one would abort the process",
                                  remedy="use one library in a process")
