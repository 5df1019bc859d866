"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from mrt_torch.errors import InvalidArgumentError


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to a temporary name beside `path`, then rename it to `path`.

    A reader sees the old file or the new one, never a part; after a failure the old file is untouched.

    Raises:
        InvalidArgumentError: `path` is a folder, or its parent folder does not exist.
        OSError: the operating system refused (permissions, disk full).
    """
    path = Path(path)
    if path.is_dir():
        raise InvalidArgumentError("a file cannot be written over a folder", where=str(path),
                                   remedy="give the name of a file")
    temporary = _temporary_sibling(path)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary folder beside `path`; rename it to `path` if the block succeeds.

    An existing folder at `path` is replaced as a whole. If the block raises, the temporary folder is
    removed and an existing `path` stays as it was.

        with atomic_directory("model.mrt") as folder:
            (folder / "graph.json").write_bytes(graph)

    Raises:
        InvalidArgumentError: `path` is a file or link, is the current folder or holds it, or its parent
            folder does not exist.
        OSError: the operating system refused (permissions, disk full).
    """
    path = Path(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InvalidArgumentError("a folder cannot replace a file or a link", where=str(path),
                                   remedy="remove it first, or give another name")
    if Path.cwd().is_relative_to(path.resolve()):
        raise InvalidArgumentError("the current folder, or a folder above it, cannot be replaced",
                                   where=str(path), remedy="give the name of a new folder")
    with temporary_directory(path) as temporary:
        yield temporary
        _move_into_place(temporary, path)


@contextlib.contextmanager
def temporary_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a new folder in the folder of `path`, for what is on its way there; it is removed at the end.

    Raises:
        InvalidArgumentError: the parent folder does not exist.
    """
    temporary = _temporary_sibling(Path(path))
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # after a rename there is nothing left at this name


def _move_into_place(temporary: Path, path: Path) -> None:
    if not path.exists():
        os.rename(temporary, path)
        return
    # A folder cannot be renamed over a filled one: set the old one aside, and back if the new one fails.
    replaced = _temporary_sibling(path)
    os.rename(path, replaced)
    try:
        os.rename(temporary, path)
    except BaseException:
        os.rename(replaced, path)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _temporary_sibling(path: Path) -> Path:
    """An unused name in the folder of `path`: a rename is atomic only inside one file system."""
    if not path.parent.is_dir():
        raise InvalidArgumentError("the parent folder does not exist", where=str(path),
                                   remedy="create the folder, or correct the path")
    return path.parent / f"{_temporary_prefix(path)}{secrets.token_hex(8)}"


def _temporary_prefix(path: Path) -> str:
    return f".tmp-{path.name}-"


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what a process that was killed while it wrote `path` left beside it; nobody else may be writing it."""
    path = Path(path)
    for leftover in path.parent.glob(f"{glob.escape(_temporary_prefix(path))}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
