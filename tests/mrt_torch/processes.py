"""Runs Python processes that start others, and leaves none behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 240  # seconds; a deadlock ends there


def run_python(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``python ARGUMENTS`` in the folder of the repository, with one thread; sums of floats depend on their number.

    Raises:
        subprocess.TimeoutExpired: after ``LONGEST`` seconds; the processes were told to end, then killed.
    """
    process = subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        output, errors = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its processes, which are in sessions of their own
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
