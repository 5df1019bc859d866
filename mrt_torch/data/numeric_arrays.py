"""Arrays of numbers from the files of numpy, without executing anything."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mrt_torch.errors import InvalidFileError


def load_array(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file, left in the file until it is read.

    Raises:
        InvalidFileError: no whole file of that format, or one of objects.
    """
    with _damage_refused(path, "write it with numpy.save, numbers only"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive")
    return _numbers(array, str(path))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a ``.npz`` file by name.

    Raises:
        InvalidFileError: no whole file of that format, or one that holds objects.
    """
    with _damage_refused(path, "write it with numpy.savez, numbers only"), zipfile.ZipFile(path):  # no archive: raises
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive.items())
    return {name: _numbers(array, f"{path}, array '{name}'") for name, array in arrays.items()}


@contextlib.contextmanager
def _damage_refused(path: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # numpy and zipfile raise ValueError, TokenError, zlib.error, MemoryError and more
        raise InvalidFileError("a file of numpy cannot be read", where=str(path),
                               why=f"{type(error).__name__}: {error}", remedy=remedy) from error


def _numbers(array: np.ndarray, where: str) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":  # other members of an archive are bytes
        raise InvalidFileError("an array holds no real numbers", where=where,
                               why=f"its type is {getattr(array, 'dtype', type(array).__name__)}",
                               remedy="store integers or floats")
    return array
