"""Read and write MXNet parameter files (`model-0000.params`, what `mx.nd.save` makes) without MXNet."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np

from bridges.mxnet.params_reader import (
    DTYPES,
    LIST_MAGIC,
    LONGEST_NAME,
    MOST_ARRAYS,
    MOST_DIMENSIONS,
    V2_MAGIC,
    ParamsReader,
)
from bridges.mxnet.symbol import show
from mrt_torch.atomic_file import atomic_write
from mrt_torch.errors import InvalidArgumentError, InvalidFileError

_WRITTEN_FLAGS = {DTYPES[flag]: flag for flag in range(7)}  # the types every MXNet from 1.0 on reads
_DENSE = 0
_CPU = (1, 0)  # device type and number


def read_params(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the arrays of a parameter file by name, in the file's order.

    All formats up to MXNet 1.9.1 are read (`params_reader`). Names are kept as they are ("arg:conv0_weight"):
    see `split_prefixes`. The arrays are writable, contiguous and of the file's dtype, and share one block of
    memory; bfloat16, which NumPy lacks, is widened to float32 (exactly).

    Raises:
        InvalidFileError: the file cannot be read, is truncated or corrupt, or holds sparse arrays, entries
            without an array or arrays without a name.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # asked first: opening a pipe would wait for ever
            raise OSError("it is not a file")
        file = Path(path).open("rb")
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise InvalidFileError("MXNet parameters cannot be read", where=str(path), why=str(error),
                               remedy="check the path and the permissions") from error
    with file:
        return ParamsReader(file, os.fstat(file.fileno()).st_size, str(path)).read()


def write_params(path: str | os.PathLike[str], params: Mapping[str, np.ndarray]) -> None:
    """Write arrays in MXNet's V2 format, in the mapping's order and in one step; same arrays, same bytes.

    Args:
        path: the file, usually `<model>-0000.params`.
        params: arrays of float16/32/64, uint8 or int8/32/64 with at least one axis and one element (in this
            format a shape without axes means "no array").

    Raises:
        InvalidArgumentError: a name or array cannot be stored so that MXNet reads it back.
    """
    if len(params) > MOST_ARRAYS:
        _refuse("the mapping", f"it has {len(params)} arrays; {MOST_ARRAYS} is the limit", "split it")
    chunks: list[bytes | np.ndarray] = [struct.pack("<3Q", LIST_MAGIC, 0, len(params))]
    for name, array in params.items():
        chunks += _format_array(name, array)
    chunks.append(struct.pack("<Q", len(params)))
    for name in params:
        encoded = _encode_name(name)
        chunks += [struct.pack("<Q", len(encoded)), encoded]
    atomic_write(path, b"".join(chunks))


def split_prefixes(params: Mapping[str, np.ndarray],
                   source: str = "parameters") -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the arguments ("arg:name") and the auxiliary states ("aux:name"), without their prefixes.

    Raises:
        InvalidFileError: a name has neither prefix (`source` is named as the origin).
    """
    parts: dict[str, dict[str, np.ndarray]] = {"arg": {}, "aux": {}}
    for name, array in params.items():
        prefix, colon, rest = name.partition(":")
        if not colon or prefix not in parts:
            raise InvalidFileError("parameters cannot be told apart", where=f"{source}, {show(name)}",
                                   why='the name starts with neither "arg:" nor "aux:"',
                                   remedy="use strip_prefixes, which takes names as they are")
        parts[prefix][rest] = array
    return parts["arg"], parts["aux"]


def strip_prefixes(params: Mapping[str, np.ndarray], source: str = "parameters") -> dict[str, np.ndarray]:
    """Return the arrays by name, without the prefixes "arg:" and "aux:" where there are any.

    Raises:
        InvalidFileError: two names differ in the prefix alone (`source` is named as the origin).
    """
    stripped: dict[str, np.ndarray] = {}
    for name, array in params.items():
        bare = name[4:] if name.startswith(("arg:", "aux:")) else name
        if bare in stripped:
            raise InvalidFileError("two parameters have the same name", where=f"{source}, {show(name)}",
                                   why=f"there is another {show(bare)} once arg: and aux: are taken off",
                                   remedy="rename one of them in the model and in the file")
        stripped[bare] = array
    return stripped


def _format_array(name: str, array: np.ndarray) -> tuple[bytes, np.ndarray]:
    where = f"the parameter {show(name)}"
    if not isinstance(array, np.ndarray):
        _refuse(where, f"it is a {type(array).__name__}", "convert it to a NumPy array")
    flag = _WRITTEN_FLAGS.get(array.dtype.newbyteorder("<"))
    if flag is None:
        _refuse(where, f"its dtype is {array.dtype}",
                f"convert it to one of {', '.join(map(str, _WRITTEN_FLAGS))}")
    if not 0 < array.ndim <= MOST_DIMENSIONS or array.size == 0:
        _refuse(where, f"its shape is {array.shape}, which means 'no array' in this format",
                f"reshape it to 1 to {MOST_DIMENSIONS} axes with at least one element")
    header = struct.pack(f"<Iii{array.ndim}q3i", V2_MAGIC, _DENSE, array.ndim, *array.shape, *_CPU, flag)
    return header, np.ascontiguousarray(array, DTYPES[flag])


def _encode_name(name: str) -> bytes:
    try:
        encoded = name.encode("utf-8")
    except (AttributeError, UnicodeEncodeError):
        _refuse(f"the name {show(name)}", "it is not a Unicode text", "rename the parameter")
    if len(encoded) > LONGEST_NAME:
        _refuse(f"the name {show(name)}", f"it has {len(encoded)} bytes; {LONGEST_NAME} is the limit",
                "shorten it")
    return encoded


def _refuse(where: str, why: str, remedy: str) -> NoReturn:
    raise InvalidArgumentError("MXNet parameters cannot be written", where=where, why=why, remedy=remedy)
