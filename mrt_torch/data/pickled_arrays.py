"""NumPy arrays and byte strings as a pickle describes them: by the names of functions, none of which is called here.

``numpy.ndarray.__reduce__`` and ``__reduce_ex__`` say what is written: before protocol 5 an empty array that is then
given its contents, from protocol 5 on a buffer. Byte strings before protocol 3 are text that is to be encoded.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_RECONSTRUCT, _FROM_BUFFER, _SCALAR = "reconstruct", "from buffer", "scalar"
_ENCODE, _BYTES, _NDARRAY, _DTYPE = "encode", "bytes", "ndarray", "dtype"
GLOBALS = {
    ("numpy", "ndarray"): _NDARRAY, ("numpy", "dtype"): _DTYPE,
    ("_codecs", "encode"): _ENCODE, ("builtins", "bytes"): _BYTES, ("__builtin__", "bytes"): _BYTES,
    **{(f"numpy.{core}.{module}", name): meaning for core in ("core", "_core")  # renamed in NumPy 2
       for module, name, meaning in (("multiarray", "_reconstruct", _RECONSTRUCT), ("multiarray", "scalar", _SCALAR),
                                     ("numeric", "_frombuffer", _FROM_BUFFER))}}
_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")


class Unfinished:
    """Something that is no data yet: it may be an argument of a named function, and nothing else."""


@dataclass(frozen=True)
class Global(Unfinished):
    """One of ``GLOBALS``."""

    meaning: str


class Arguments(tuple, Unfinished):
    """A tuple that holds something unfinished."""


@dataclass(eq=False)
class ElementType(Unfinished):
    """The type of an array's elements, which is given its byte order later."""

    dtype: np.dtype


@dataclass(eq=False)
class EmptyArray(Unfinished):
    """An array before it was given its contents, and the places in the memory that wait for it."""

    places: list[int] = field(default_factory=list)


def apply_global(called: Any, arguments: Any) -> Any:
    """What calling a named function with ``arguments`` stands for.

    Raises:
        ValueError: no such call is known.
    """
    if not isinstance(called, Global) or not isinstance(arguments, tuple):
        raise ValueError("a call of something else than the functions that arrays are written with")
    if called.meaning == _RECONSTRUCT and arguments[:1] == (Global(_NDARRAY),):
        return EmptyArray()
    if called.meaning == _DTYPE and arguments and isinstance(arguments[0], str):
        if not _NUMBERS.fullmatch(arguments[0]):
            raise ValueError(f"an array of '{arguments[0]}', where numbers were expected")
        return ElementType(np.dtype(arguments[0]))
    if called.meaning == _SCALAR and len(arguments) == 2:
        return _array(arguments[1], arguments[0], (), "C")[()]
    if called.meaning == _FROM_BUFFER and len(arguments) >= 4:
        return _array_of_buffer(*arguments)
    if called.meaning == _ENCODE and len(arguments) == 2 and arguments[1] in ("latin1", "latin-1"):
        return _raw(arguments[0])
    if called.meaning == _BYTES and not arguments:
        return b""
    raise ValueError(f"unknown arguments of '{called.meaning}'")


def give_state(target: Any, state: Any) -> Any:
    """What ``target`` is once it has ``state``.

    Raises:
        ValueError: it cannot have it.
    """
    if isinstance(target, ElementType) and isinstance(state, tuple) and len(state) >= 2 and state[1] in tuple("<>|="):
        target.dtype = target.dtype.newbyteorder(state[1])
        return target
    if isinstance(target, EmptyArray) and isinstance(state, tuple) and len(state) == 5 and state[0] == 1:
        _, shape, dtype, column_major, data = state
        return _array(data, dtype, shape, "F" if column_major else "C")
    raise ValueError("the state of something else than an array")


def _array_of_buffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> np.ndarray:
    if order == "K" and isinstance(axes, tuple):  # contiguous once its axes are in another order
        return _array(data, dtype, shape, "C").transpose(axes)
    return _array(data, dtype, shape, order)


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, ElementType) or order not in ("C", "F"):
        raise ValueError("an array without a type of its elements or an order")
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("an array without a shape")
    raw = _raw(data)
    if len(raw) != math.prod(shape) * dtype.dtype.itemsize:
        raise ValueError(f"{len(raw)} bytes for an array of shape {shape} and type {dtype.dtype}")
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order=order).copy(order="K")


def _raw(data: Any) -> bytes:
    """Bytes, also where Python 2 or an old protocol wrote them as text."""
    if isinstance(data, str):
        return data.encode("latin-1")
    if not isinstance(data, (bytes, bytearray)):
        raise ValueError("an array without its bytes")
    return bytes(data)
