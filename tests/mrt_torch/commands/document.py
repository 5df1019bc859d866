"""The commands and outputs in ``notebooks/command_line.md``.

``python -m tests.mrt_torch.commands.document`` runs them again, with the engines that are installed, and writes what
they print.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "notebooks" / "command_line.md"
STATUS = "echo $?"
SHOWN_FOLDER = "/home/you/mrt-torch"


@dataclass(frozen=True)
class Shown:
    """A command of the page, the lines it prints and its status."""

    command: str
    lines: tuple[str, ...]
    status: int


def shown_commands() -> Iterator[Shown]:
    """All commands of the page, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    parts = [part.splitlines() for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    for (command, *lines), (after, *status) in zip(parts, [*parts[1:], [""]], strict=True):
        if command != STATUS:
            yield Shown(command, tuple(lines), int(status[0]) if after == STATUS else 0)


def write_page() -> None:
    """Run every command in a new folder, and put what it prints in place of what is shown."""
    lines, status, page = [], 0, PAGE.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(ROOT / "mrt_torch", Path(folder) / "mrt_torch")
        in_block = False
        for line in page:
            in_block = line.startswith("```console") or (in_block and not line.startswith("```"))
            if line == f"$ {STATUS}":
                lines += [line, str(status)]
            elif in_block and line.startswith("$ "):
                command = line[2:].replace("mrt-torch", f"{sys.executable} -m mrt_torch", 1)
                done = subprocess.run(f"set -o pipefail; {command}", shell=True, executable="/bin/bash", cwd=folder,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                status = done.returncode
                printed = done.stdout.replace(os.path.realpath(folder), SHOWN_FOLDER).rstrip().splitlines()
                lines += [line, *(printed_line.rstrip() for printed_line in printed)]
            elif not in_block or line.startswith("```"):
                lines.append(line)
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_page()
