"""What native code prints: the only place where the CVM runtime says why it refused something."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Iterator

STDOUT, STDERR = 1, 2
# File descriptors belong to the whole process: one capture at a time.
_lock = threading.RLock()


class CapturedOutput:
    """Text that was written to the standard output and error within a ``capture`` block; set when it ends."""

    text: str = ""


@contextlib.contextmanager
def capture() -> Iterator[CapturedOutput]:
    """Redirect the file descriptors 1 and 2 to a temporary file within the block.

    Output of other threads in that time lands there too. A descriptor that is closed is left alone.
    """
    captured = CapturedOutput()
    with _lock, tempfile.TemporaryFile() as file:
        _flush()
        saved = {}
        for descriptor in (STDOUT, STDERR):
            with contextlib.suppress(OSError):  # closed: nothing can be printed there
                saved[descriptor] = os.dup(descriptor)
                os.dup2(file.fileno(), descriptor)
        try:
            yield captured
        finally:
            _flush()
            for descriptor, original in saved.items():
                os.dup2(original, descriptor)
                os.close(original)
            file.seek(0)
            captured.text = file.read().decode("utf-8", "replace")


def _flush() -> None:
    """Write out what Python and the C library still hold in their buffers."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    ctypes.CDLL(None).fflush(None)
