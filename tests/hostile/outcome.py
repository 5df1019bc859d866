"""Runs one mutated file through its reader and import, and measures what that takes."""

from __future__ import annotations

import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from mrt_torch.errors import MRTError
from tests.hostile.formats import Sample

SECONDS_PER_FILE = 10
ALLOWED_BESIDE_FILE = 64 * 2 ** 20
ALLOWED_PER_BYTE = 3
ACCEPTED = "accepted"
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class OutOfTime(BaseException):
    """The file took longer than ``SECONDS_PER_FILE``; no handler for ordinary errors stops it."""


@dataclass(frozen=True)
class Outcome:
    """What a reader made of a file.

    Attributes:
        kind: ``accepted``, the class of the library's error, or the description of a fault.
        fault: whether the outcome breaks the promise: another exception, no time left, too much memory, or an error
            without a place, a reason or a remedy.
        seconds: time of reading and importing.
        allocated: the larger of what tracemalloc saw (Python objects and NumPy arrays, also untouched ones; None of it
            when not traced) and the growth of the process's largest resident size (everything, torch's tensors
            included), in bytes.
        ratio: ``allocated`` as a part of what is allowed.
    """

    kind: str
    fault: bool
    seconds: float
    allocated: int
    ratio: float


def try_file(sample: Sample, mutated: bytes, folder: Path, trace: bool) -> Outcome:
    """Write the files of a sample with the mutated one, and load them.

    Args:
        sample: whose other files stay intact.
        mutated: content of its victim.
        folder: empty but for files of earlier calls.
        trace: whether tracemalloc runs, which takes four times as long.
    """
    for path in folder.iterdir():
        path.unlink()
    files = {**sample.files, sample.victim: mutated}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    allowed = ALLOWED_PER_BYTE * sum(map(len, files.values())) + ALLOWED_BESIDE_FILE
    if trace:
        tracemalloc.start()
    resident = _reset_peak()
    begin = time.perf_counter()
    try:
        with _limited_time():
            kind, fault = _classify(lambda: sample.load(folder))
        seconds = time.perf_counter() - begin
        traced = tracemalloc.get_traced_memory()[1] if trace else 0
    finally:
        tracemalloc.stop()
    allocated = max(traced, _peak() - resident)
    if allocated > allowed:
        kind, fault = f"{kind}, with {allocated >> 20} MiB", True
    return Outcome(kind, fault, seconds, allocated, allocated / allowed)


def _classify(load: Callable[[], Any]) -> tuple[str, bool]:
    try:
        load()
    except MRTError as error:
        missing = [part for part in ("where", "why", "remedy") if not getattr(error, part)]
        if missing:
            return f"{type(error).__name__} '{error.what}' without {', '.join(missing)}", True
        return type(error).__name__, False
    except OutOfTime:
        return f"more than {SECONDS_PER_FILE} s", True
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}", True
    return ACCEPTED, False


@contextmanager
def _limited_time() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTime
    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS_PER_FILE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _reset_peak() -> int:
    """Forget the largest resident size so far; returns the resident size in bytes, 0 where Linux does not tell."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return _peak()
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(key: str) -> int:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))
