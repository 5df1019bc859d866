"""The log file of a run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

LIBRARY = logging.getLogger("mrt_torch")


class _Forward(logging.Handler):
    """Hands records on as if nobody had changed the library's logger."""

    def emit(self, record: logging.LogRecord) -> None:
        if LIBRARY.parent is not None:
            LIBRARY.parent.handle(record)


@contextlib.contextmanager
def logging_to(path: Path, verbosity: int) -> Iterator[Callable[[str], None]]:
    """Append what the library logs meanwhile to a file, from INFO on, or from ``verbosity`` where that is lower.

    Other handlers get what they would get without the file, or what ``verbosity`` asks for, if it is not 0. Gives a
    function that writes a text to the file alone.
    """
    wanted = verbosity or LIBRARY.getEffectiveLevel()
    file, forward = logging.FileHandler(path, encoding="utf-8"), _Forward(wanted)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level, propagate = LIBRARY.level, LIBRARY.propagate
    LIBRARY.setLevel(min(wanted, logging.INFO))
    LIBRARY.propagate = False
    LIBRARY.addHandler(file)
    LIBRARY.addHandler(forward)
    try:
        yield lambda text: file.emit(LIBRARY.makeRecord(__name__, logging.INFO, "", 0, text, (), None))
    finally:
        LIBRARY.removeHandler(forward)
        LIBRARY.removeHandler(file)
        LIBRARY.setLevel(level)
        LIBRARY.propagate = propagate
        file.close()
