"""Calls the command line in this process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mrt_torch.cli import main


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """Status, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return stop.value.code, printed.out, printed.err


def call_json(capsys, *arguments: object) -> Any:
    """What a command that succeeds prints with ``--json``; nothing else is on standard output."""
    status, output, errors = call(capsys, *arguments, "--json")
    assert status == 0, errors
    return json.loads(output)


def refused(capsys, *arguments: object) -> str:
    """The message of a command that fails on an error of the library."""
    status, output, errors = call(capsys, *arguments)
    assert (status, output) == (1, "")
    assert errors.startswith("mrt-torch: ") and "Traceback" not in errors
    return errors


def misused(capsys, *arguments: object) -> str:
    """The message of a command that is called wrongly."""
    status, output, errors = call(capsys, *arguments)
    assert (status, output) == (2, "")
    assert "Traceback" not in errors
    return errors
