"""Configurations in TOML: the same sections and keys, with values of TOML's own types."""

from __future__ import annotations

import os
from typing import Any

from mrt_torch.errors import InvalidFileError, MissingDependencyError

LARGEST = 2**63


def read_toml(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """The value of every option by section.

    A text is read as in the INI form; lists, maps and numbers may have their own types.

    Raises:
        InvalidFileError: there is no such file, or it is no TOML, or not of tables with options.
        MissingDependencyError: Python is older than 3.11.
    """
    try:
        import tomllib
    except ModuleNotFoundError as error:
        raise MissingDependencyError("this Python cannot read TOML", where=os.fspath(path),
                                     why="its library has no tomllib, which came with Python 3.11",
                                     remedy="write the configuration as .ini, or use Python 3.11") from error
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise InvalidFileError("the configuration cannot be read", where=os.fspath(path), why=str(error),
                               remedy="name a TOML file") from error
    except (ValueError, RecursionError) as error:  # also of numbers with too many digits, and of encodings
        raise InvalidFileError("this is no TOML", where=os.fspath(path), why=str(error) or "it is nested too deeply",
                               remedy="correct the line, or write the configuration as .ini") from error
    for section, values in document.items():
        _check_section(section, values, os.fspath(path))
    return document


def _check_section(section: str, values: Any, path: str) -> None:
    where = f"section `{section:.200}` of {path}"
    if not isinstance(values, dict):
        raise InvalidFileError("an option stands outside of the sections", where=where,
                               remedy="write it below a line such as [DEFAULT]")
    names = [name.lower() for name in values]
    if len(set(names)) != len(names):
        raise InvalidFileError("an option is given twice", where=where,
                               why=f"saw {', '.join(name for name in values if names.count(name.lower()) > 1)}",
                               remedy="keep one; names of options are read in any case")
    if _holds_large(values):
        raise InvalidFileError("a number is too large", where=where, why="it has more than 64 bits",
                               remedy="write a smaller one")


def _holds_large(value: Any) -> bool:
    if isinstance(value, int):
        return not -LARGEST <= value < LARGEST
    nested = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds_large(entry) for entry in nested)
