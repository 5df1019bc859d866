"""The ``ext`` file: what a model needs beside its graph, one JSON value a line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mrt_torch.atomic_file import atomic_write
from mrt_torch.errors import InvalidArgumentError, InvalidFileError


def save_ext(path: str | os.PathLike[str], *infos: Any) -> None:
    """Write each of ``infos`` as one line of JSON.

    Raises:
        InvalidArgumentError: a value that JSON cannot hold; nothing is written (the original left an empty line).
    """
    lines = []
    for index, info in enumerate(infos):
        try:
            lines.append(json.dumps(info, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError("a value cannot be written as JSON", where=f"value {index} of {path}",
                                       why=str(error),
                                       remedy="pass numbers, strings, lists and dictionaries") from error
    atomic_write(path, "".join(line + "\n" for line in lines).encode())


def load_ext(path: str | os.PathLike[str]) -> tuple[Any, ...]:
    """The values of an ``ext`` file, one for each line.

    Raises:
        InvalidFileError: a line is not JSON, or the file is not text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFileError("the ext file cannot be read", where=str(path), why=str(error),
                               remedy="export the model again, or fetch the file again") from error
    lines = text.removesuffix("\n").split("\n") if text else []
    values = []
    for number, line in enumerate(lines, 1):
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise InvalidFileError("a line of the ext file is not JSON", where=f"{path}, line {number}",
                                   why=str(error), remedy="write the file again with save_ext") from error
    return tuple(values)
