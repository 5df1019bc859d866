"""Models on devices, each of which answers its part of every batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import nn

from mrt_torch.data.metric import Predictions
from mrt_torch.device import available_device
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.input_data import as_tensor
from mrt_torch.model import Model


def checked_devices(devices: Sequence[str | torch.device]) -> list[torch.device]:
    """The devices that a user names, with their numbers.

    Raises:
        InvalidArgumentError: there are none, or one is not here.
    """
    if isinstance(devices, str) or not isinstance(devices, Sequence) or not devices:
        raise InvalidArgumentError("an evaluation takes a list of devices", why=f"saw {devices!r}",
                                   remedy="pass ['cpu'], or ['cuda:0', 'cuda:1']")
    return [torch.empty(0, device=available_device(device)).device for device in devices]


def on_device(model: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """A Model or a module on a device, which shares what lies there already; another callable as it is."""
    if isinstance(model, Model):
        return Model(model.to_graph(ctx=device), model.stage, record=model.record, prepared=model.prepared,
                     joined=model.joined)
    if isinstance(model, nn.Module) and any(tensor.device != device
                                            for tensor in chain(model.parameters(), model.buffers())):
        return deepcopy(model).to(device)
    return model


class PlacedModel:
    """A model on devices, in an evaluation.

    Args:
        model: maps a batch of inputs to a tensor or several, whose axis 0 counts the examples.
        devices: each gets a part of every batch, as even as can be.
        pool: of as many threads as devices; they call the model at the same time.
    """

    def __init__(self, model: Callable[..., Any], devices: Sequence[torch.device], pool: ThreadPoolExecutor):
        self._devices, self._pool = devices, pool
        self._copies = [on_device(model, device) for device in devices]

    def answer(self, inputs: torch.Tensor, batch_axis: int = 0) -> tuple[Predictions, int]:
        """What the model says to a batch, on the CPU, and how many nanoseconds it took.

        The time is that of the model alone: the inputs are on their devices before, and all is computed at its end.

        Raises:
            InvalidArgumentError: it returns no tensors, another number of examples, or a NaN.
        """
        parts = [part for part in inputs.tensor_split(len(self._devices), batch_axis) if part.shape[batch_axis]]
        parts = [part.to(device) for part, device in zip(parts, self._devices)]
        for device in self._devices:
            _synchronize(device)
        start = time.perf_counter_ns()
        calls = list(self._pool.map(_call, self._copies, parts, self._devices)) if len(parts) > 1 else [
            _call(self._copies[0], parts[0], self._devices[0])]
        elapsed = time.perf_counter_ns() - start
        answers = [_checked(call, part.shape[batch_axis]) for call, part in zip(calls, parts, strict=True)]
        outputs = tuple(torch.cat(several) for several in zip(*answers, strict=True))
        return outputs[0] if len(outputs) == 1 else outputs, elapsed


def _call(model: Callable[..., Any], inputs: torch.Tensor, device: torch.device) -> Any:
    with torch.no_grad():  # a setting of each thread
        answer = model(inputs)
    _synchronize(device)
    return answer


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _checked(answer: Any, examples: int) -> list[torch.Tensor]:
    """The outputs on the CPU."""
    outputs = [as_tensor(output).detach().cpu()
               for output in (answer if isinstance(answer, (tuple, list)) else (answer,))]
    shapes = [tuple(output.shape) for output in outputs]
    if not outputs or any(shape[:1] != (examples,) for shape in shapes):
        raise InvalidArgumentError("a model answers to another number of examples than it was given",
                                   why=f"{examples} examples, and outputs of shapes {shapes}",
                                   remedy="return tensors whose axis 0 counts the examples")
    for index, output in enumerate(outputs):
        if output.is_floating_point() and bool(output.isnan().any()):
            raise InvalidArgumentError("a model answers with NaN",
                                       why=f"{int(output.isnan().sum())} of {output.numel()} numbers of output {index}",
                                       remedy="check the data and its preprocessing, and the weights of the model")
    return outputs
