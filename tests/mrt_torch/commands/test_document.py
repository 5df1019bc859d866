"""``notebooks/command_line.md`` shows what the commands print. Oracle: the commands, run in its order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

import pytest

from mrt_torch.commands import commands as group
from tests.mrt_torch.commands.calling import call
from tests.mrt_torch.commands.document import ROOT, Shown, shown_commands

# What depends on the machine: figures, the folder, and which engines are installed.
VARYING = ((r"\S*/output/digits/", "output/digits/"), (r"-?\d[\d.,]*(e-?\d+)?%?", "#"), (r"\binfinite\b|null", "#"),
           (r"[─━┳┻╇┬┴┼\s]+", " "))
ENGINE = re.compile("│ (CVM runtime, |MXNet  )|Not installed: ")


def masked(lines: Iterable[str]) -> list[str]:
    """The lines without what depends on the machine."""
    found = []
    for line in (line for line in lines if not ENGINE.match(line)):
        for pattern, replacement in VARYING:
            line = re.sub(pattern, replacement, line)
        if line.strip():
            found.append(line.strip())
    return found


def printed(capsys, shown: Shown) -> list[str]:
    """What a command prints, cut as ``head`` or ``tail`` cuts it."""
    arguments, _, cut = shown.command.partition(" | ")
    status, output, errors = call(capsys, *shlex.split(arguments)[1:])
    assert status == shown.status, errors
    lines = (errors if status else output).splitlines()
    if cut:
        program, number = cut.split(" -")
        return lines[:int(number)] if program == "head" else lines[-int(number):]
    return lines


def test_every_command_prints_what_is_shown(capsys, tmp_path, monkeypatch):
    """Where this fails because outputs changed: python -m tests.mrt_torch.commands.document."""
    (tmp_path / "mrt_torch").symlink_to(ROOT / "mrt_torch")
    monkeypatch.chdir(tmp_path)
    for shown in shown_commands():
        assert masked(printed(capsys, shown)) == masked(shown.lines), shown.command


@pytest.mark.parametrize("name", group.commands)
def test_every_command_is_shown(name):
    """Oracle: the commands that there are."""
    assert any(shown.command.split()[1] == name for shown in shown_commands())
