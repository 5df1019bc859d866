"""``python -m mrt_torch.main2 CONFIG.ini``: run a configuration; and the helpers that read one. (MRT main2 API.)

The helpers keep MRT's names and arguments; ``config`` is a ``configparser.ConfigParser``.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from configparser import ConfigParser
from typing import Any

import torch

from mrt_torch.errors import InvalidArgumentError, MRTError
from mrt_torch.pipeline.checkpoint import require_files
from mrt_torch.pipeline.devices import read_devices
from mrt_torch.pipeline.input_shape import batch_axis, set_batch
from mrt_torch.pipeline.option_reader import REQUIRED, OptionReader
from mrt_torch.pipeline.read_configuration import parse_overrides
from mrt_torch.pipeline.value_types import ARRAY, BOOL, FLOAT, INT, PAIR, STR, TUPLE, element_of
from mrt_torch.pipeline.values import INVALID, parse_value

__all__ = ["ARRAY", "PAIR", "batch_axis", "bool_t", "float_t", "int_t", "main", "set_batch", "str_t", "tuple_t"]

str_t, int_t, bool_t, tuple_t, float_t = STR, INT, BOOL, TUPLE, FLOAT

EXIT_FAILURE, EXIT_USAGE = 1, 2


def _check(expression: bool, section: str, option: str, message: str = INVALID) -> None:
    """Raise unless ``expression`` holds.

    Raises:
        InvalidArgumentError: with ``message``, the section and the option.
    """
    if not expression:
        raise InvalidArgumentError(message, where=_where(section, option), remedy="correct the option")


def _get_path(config: ConfigParser, section: str, option: str, is_dir: bool = False, dpath: Any = REQUIRED) -> str:
    """The absolute path of a file, or folder, that is there; ``dpath`` where the option is absent or empty.

    Raises:
        InvalidArgumentError: there is no value, or no such file or folder.
    """
    given = _get_val(config, section, option, dval=dpath)
    path = os.path.abspath(os.path.expanduser(given))
    found, message = (os.path.isdir, "Not a valid dir `{}`") if is_dir else (os.path.exists, "File `{}` not found")
    _check(found(path), section, option, message.format(given))
    return path


def _get_ctx(config: ConfigParser, section: str, dctx: str | torch.device | Sequence[str | torch.device] = "cpu"
             ) -> torch.device | list[torch.device]:
    """The torch device that ``Device_type`` and ``Device_ids`` name, a list of them for several ids.

    ``dctx`` where there is no type. Whether torch has the device shows when it is used.

    Raises:
        InvalidArgumentError: see ``mrt_torch.pipeline.devices.read_devices``.
    """
    inherited = [dctx] if isinstance(dctx, (str, torch.device)) else dctx
    names = read_devices(_reader(config), section, [str(device) for device in inherited])
    devices = [torch.device(name) for name in names]
    return devices[0] if len(devices) == 1 else devices


def _get_val(config: ConfigParser, section: str, option: str, dtype: str = str_t, dval: Any = REQUIRED) -> Any:
    """The value of an option as ``dtype``: one of ``str_t``, ``int_t``, ``bool_t``, ``tuple_t``, ``float_t``, ``ARRAY``
    or ``PAIR`` of them; ``dval`` where it is absent or empty.

    Raises:
        InvalidArgumentError: there is no value, or it is not of that type.
    """
    value = _reader(config).read(section, option, dtype, dval)
    return list(value) if element_of(dtype) and value is not dval else value


def _cast_val(section: str, option: str, val_: str, dtype: str = str_t) -> Any:
    """The value that a text stands for, as for ``_get_val``; the text is parsed, never executed.

    Raises:
        InvalidArgumentError: it is not of that type; the section and the option are named.
    """
    return parse_value(val_, dtype, _where(section, option))


def _load_fname(prefix: str | os.PathLike[str], suffix: str | None = None, with_ext: bool = False) -> tuple[str, ...]:
    """The files of a stage: ``<prefix>[.<suffix>].json``, ``.params`` and with ``with_ext`` also ``.ext``."""
    stem = os.fspath(prefix) + (f".{suffix}" if suffix is not None else "")
    return tuple(stem + ending for ending in (".json", ".params", ".ext")[:3 if with_ext else 2])


def _checkpoint_exist(sec: str, *flist: str | os.PathLike[str]) -> None:
    """Raise unless all files of the checkpoint of a stage are there.

    Raises:
        InvalidArgumentError: one is missing.
    """
    require_files(sec, flist, InvalidArgumentError)


def _reader(config: ConfigParser) -> OptionReader:
    """What each section of a parser shows, its ``[DEFAULT]`` among them, as it is written."""
    return OptionReader({"DEFAULT": config.defaults(), **{name: dict(config.items(name, raw=True))
                                                          for name in config.sections()}})


def _where(section: str, option: str) -> str:
    return f"option `{option}` in section `{section}`"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a configuration and print its summary.

    Args:
        arguments: instead of those of the process.

    Returns:
        0 success, 1 an error of the library, 2 wrong usage; messages go to standard error.
    """
    parser = argparse.ArgumentParser("python -m mrt_torch.main2", description="Run a configuration of MRT.")
    parser.add_argument("config", metavar="CONFIG.ini", help="the configuration, or one in TOML")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.Key=VALUE", dest="overrides",
                        help="replace a value of the configuration; may be repeated")
    try:
        given = parser.parse_args(arguments)
        overrides = parse_overrides(given.overrides)
    except InvalidArgumentError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    except SystemExit as stop:  # argparse has told why; 0 after --help
        return int(stop.code or 0)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")  # `Verbosity` lets more through
    from mrt_torch.pipeline.run import run_configuration_file  # whose stages import this module
    try:
        summary = run_configuration_file(given.config, overrides=overrides)
    except (MRTError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILURE
    sys.stdout.write(f"{summary}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
