"""The processes of torch.distributed: joining them, and exchanging bytes between them. Nothing is pickled."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import distributed as dist

from mrt_torch.device import available_device
from mrt_torch.errors import CalibrationError


def is_distributed() -> bool:
    """Whether this process is one of several in a process group of torch.distributed."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@contextlib.contextmanager
def torchrun_group(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did, and leave them at the end; gives the device to use.

    The group talks through gloo; through nccl for CUDA devices, of which each process takes that of its local rank
    unless ``device`` has a number.

    Raises:
        InvalidArgumentError: there are fewer CUDA devices than processes.
        CalibrationError: the processes do not find each other.
    """
    if not dist.is_available() or dist.is_initialized() or int(os.environ.get("WORLD_SIZE", 1)) < 2:
        yield device
        return
    if device.type == "cuda":
        number = int(os.environ.get("LOCAL_RANK", 0)) if device.index is None else device.index
        device = available_device(torch.device("cuda", number))
        torch.cuda.set_device(device)
    with _communicating():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def exchange(message: bytes) -> Iterator[bytes]:
    """The messages of all processes by rank; each passes its own, of any length above 0.

    They arrive one by one, so that two at most are in memory; a process that stops reading leaves the others waiting.

    Raises:
        CalibrationError: a process is gone.
    """
    own = torch.frombuffer(bytearray(message), dtype=torch.uint8)
    device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    with _communicating():
        lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(dist.get_world_size())]
        dist.all_gather(lengths, torch.tensor([len(own)], device=device))
    for source, length in enumerate(lengths):
        mine = source == dist.get_rank()
        sent = own.to(device) if mine else torch.empty(int(length), dtype=torch.uint8, device=device)
        with _communicating():
            dist.broadcast(sent, source)
        yield message if mine else sent.cpu().numpy().tobytes()


@contextlib.contextmanager
def _communicating() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise CalibrationError("the processes lost each other", where="torch.distributed",
                               why=str(error).splitlines()[0] if str(error) else type(error).__name__,
                               remedy="look for the first error of another process, and start all of them again"
                               ) from error
