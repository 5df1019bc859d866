"""Runs the pipeline again and again, each time killed a step later, and says when it got through.

A program: ``python -m tests.mrt_torch.pipeline.killed_runs FOLDER STRIDE [KEY]``. Run k is a child that dies by SIGKILL
at the k-th time that it renames or removes a file, or makes a folder: between those, nothing changes in the file system
but the contents of files of temporary names. Each run has a folder of its own, FOLDER/k, that begins with what a whole
run left there.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch

from mrt_torch.pipeline.run import run
from tests.mrt_torch.pipeline.runs import digits_run

EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


def killed_run(folder: Path, keys: tuple[str, ...], steps: int) -> bool:
    """Whether a run that dies at a step got through before."""
    child = os.fork()
    if child == 0:
        remaining = steps

        def count(event: str, _arguments: tuple) -> None:
            nonlocal remaining
            if event in EVENTS:
                remaining -= 1
                if remaining == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        changed = digits_run(folder, keys)  # other bytes than those that are there
        run(replace(changed, calibration=replace(changed.calibration, calibrate_num=1)), progress=False)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return status == 0


def main() -> None:
    """See the module."""
    torch.set_num_threads(1)  # a child of a process with threads may not use them
    folder, stride, keys = Path(sys.argv[1]), int(sys.argv[2]), tuple(sys.argv[3:])
    steps = 1
    while True:
        own = folder / str(steps)
        shutil.copytree(folder / "whole", own)
        if killed_run(own, keys, steps):
            break
        steps += stride
    sys.stdout.write(f"{steps}\n")


if __name__ == "__main__":
    main()
