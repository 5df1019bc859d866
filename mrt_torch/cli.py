"""The command ``mrt-torch``."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status: 0 success, 1 an error of the library, 2 wrong usage.

    Args:
        arguments: instead of those of the process.
    """
    try:
        from mrt_torch.commands import run_commands
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("click", "rich"):
            raise
        sys.exit(f"mrt-torch: {package}, which the command line needs, is not installed\n"
                 '  what to do: pip install "mrt-torch[cli]"')
    sys.exit(run_commands(arguments))
