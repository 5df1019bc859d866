"""Configurations in the INI form of MRT."""

from __future__ import annotations

import configparser
import os

from mrt_torch.errors import InvalidFileError


def read_ini(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """The text of every option by section, as ``configparser`` reads it; ``%`` is a character like others.

    Lines that begin with ``#`` or ``;`` are comments, also between the lines of a value; indented lines continue a
    value.

    Raises:
        InvalidFileError: there is no such file, it is no text, or no configuration.
    """
    # [DEFAULT] is read as a section like others: which option is whose matters for messages and devices.
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        with open(path, encoding="utf-8-sig") as file:
            parser.read_file(file, os.fspath(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFileError("the configuration cannot be read", where=os.fspath(path), why=str(error),
                               remedy="name a text file in UTF-8") from error
    except configparser.Error as error:
        raise InvalidFileError("this is no configuration", where=os.fspath(path), why=_reason(error),
                               remedy="write sections as [CALIBRATION], options as Batch=16, each once, and indent "
                                      "the further lines of a value") from error
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _reason(error: configparser.Error) -> str:
    """What is wrong, with the number of the line."""
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno} stands before the first section: {error.line!r:.200}"
    if isinstance(error, configparser.DuplicateOptionError):
        return f"line {error.lineno}: option `{error.option}` in section `{error.section}` is given twice"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"line {error.lineno}: section `{error.section}` is given twice"
    if isinstance(error, configparser.ParsingError):
        return ", ".join(f"line {number} is no option" for number, _ in error.errors)
    return str(error)
