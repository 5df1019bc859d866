"""Every error of the main path, once, as the command line prints it."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

from rich.console import Console

from mrt_torch.commands import PROGRAM, run_commands
from mrt_torch.errors import MRTError
from tests.hostile.error_cases import CASES, ErrorCase


def printed(case: ErrorCase, folder: Path) -> str:
    """What a user sees on standard error: of the command where one shows the error, else in the command's form."""
    source, out = folder / "in", folder / "out"
    source.mkdir()
    out.mkdir()
    if case.command is not None:
        stream = io.StringIO()
        arguments = case.command(source)
        with contextlib.redirect_stderr(stream), contextlib.redirect_stdout(stream):
            run_commands(arguments)
        shown = " ".join(Path(argument).name if str(folder) in argument else argument for argument in arguments)
        return f"$ {PROGRAM} {shown}\n{stream.getvalue()}".replace(f"{source}/", "")
    try:
        case.provoke(source, out)
    except MRTError as error:
        return f"{PROGRAM}: {error}\n"
    return "no error\n"


def run(console: Console, names: list[str]) -> None:
    """Print the errors whose name contains one of ``names``, or all."""
    for case in CASES:
        if names and not any(name in case.name for name in names):
            continue
        with tempfile.TemporaryDirectory() as folder:
            text = printed(case, Path(folder))
            left = sorted(path.name for path in (Path(folder) / "out").rglob("*"))
        console.rule(f"{case.name}: {case.kind.__name__}", align="left")
        console.print(text, markup=False, highlight=False, end="", soft_wrap=True)
        if left:
            console.print(f"left behind: {left}")
