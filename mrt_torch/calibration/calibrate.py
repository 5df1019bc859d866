"""Runs calibration data through an observed graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from typing import Any

import numpy as np
import torch
from torch import fx
from tqdm import tqdm

from mrt_torch.calibration.insert_observers import insert_observers
from mrt_torch.calibration.observers import AbsmaxObserver, Observer
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import describe
from mrt_torch.input_data import as_tensor, check_shape


def batches(data: Any) -> Iterator[torch.Tensor]:
    """Batches of any data the user hands over: one array, an iterable of arrays, or a DataLoader.

    Items that are tuples or lists are (input, label, ...): their first element is taken.

    Raises:
        CalibrationError: something else, or nothing at all.
    """
    if isinstance(data, (torch.Tensor, np.ndarray)) or hasattr(data, "asnumpy"):
        data = [data]
    if not isinstance(data, Iterable):
        raise CalibrationError("calibration data must be an array, an iterable of arrays or a DataLoader",
                               why=f"saw {type(data).__name__}", remedy="pass batches through MRT.set_data")
    empty = True
    for item in data:
        empty = False
        yield as_tensor(item[0] if isinstance(item, (tuple, list)) and item else item, CalibrationError)
    if empty:
        raise CalibrationError("there is no calibration data", where="MRT.set_data",
                               why="the iterable is empty or used up",
                               remedy="pass a list or a DataLoader, which can be read again, not a generator")


class Calibrator:
    """Observes a prepared float graph; batches and calls accumulate, in any order with the same result.

    Args:
        module: prepared float graph with one input.
        lambd: thresholds from mean and deviation, see ``AbsmaxObserver``; None takes the largest magnitude.
        observer: makes an ``Observer`` for each activation, such as a class without arguments, instead.

    Raises:
        InvalidArgumentError: both ``lambd`` and ``observer``, or one that makes something else.
    """

    def __init__(self, module: fx.GraphModule, lambd: float | None = None,
                 observer: Callable[[], Observer] | None = None):
        self._module = module
        self._input = input_nodes(module.graph)[0]
        if lambd is not None and observer is not None:
            raise InvalidArgumentError("lambd is a setting of the built-in observer", why="an observer was given too",
                                       remedy="give one of them; an observer of your own has its own settings")
        make = observer or (lambda: AbsmaxObserver(lambd))
        self.observed, self.observers = insert_observers(module, make)
        wrong = next((made for made in self.observers.values() if not isinstance(made, Observer)), None)
        if wrong is not None:
            raise InvalidArgumentError("an observer is a subclass of mrt_torch.calibration.Observer",
                                       why=f"saw {type(wrong).__name__}", remedy="derive its class from Observer")

    def run(self, data: Any, device: torch.device, progress: bool | None = None) -> int:
        """Observe all batches of ``data`` on ``device``; returns how many there were.

        ``progress`` shows a bar; None shows one on a terminal only.

        Raises:
            CalibrationError: wrong data, or a value that is not finite; nothing of this call is kept then.
        """
        self.observed.to(device)
        count = 0
        total = None if hasattr(data, "shape") else length_hint(data, 0) or None
        before = {name: {key: buffer.clone() for key, buffer in observer.named_buffers()}
                  for name, observer in self.observers.items()}
        try:
            with torch.no_grad():
                for batch in tqdm(batches(data), desc="calibrate", unit="batch", total=total, leave=False,
                                  disable=None if progress is None else not progress):
                    self._observe(batch, device, count)
                    count += 1
        except BaseException:
            for name, observer in self.observers.items():
                for key, buffer in before[name].items():
                    setattr(observer, key, buffer)
            raise
        return count

    def _observe(self, batch: torch.Tensor, device: torch.device, index: int) -> None:
        check_shape(batch, self._input, CalibrationError)
        whole = not self._input.meta["val"].dtype.is_floating_point
        if whole and batch.is_floating_point() and not bool(torch.isfinite(batch).all()):
            raise _not_finite("the data itself", index)  # which would become some integer
        self.observed(batch.to(device=device, dtype=self._input.meta["val"].dtype))
        pending = torch.stack([observer.pending for observer in self.observers.values()]).cpu()
        finite = torch.isfinite(pending)
        if not bool(finite.all()):
            name = list(self.observers)[int((~finite).nonzero()[0])]
            node = next(n for n in self._module.graph.nodes if n.name == name)
            where = "the data itself" if node.op == "placeholder" else describe(node)
            raise _not_finite(where, index)
        for observer in self.observers.values():
            observer.commit()

    def thresholds(self) -> dict[str, float]:
        """Threshold of every activation by fx node name."""
        stacked = torch.stack([observer.threshold for observer in self.observers.values()]).cpu().tolist()
        return dict(zip(self.observers, stacked, strict=True))


def _not_finite(where: str, index: int) -> CalibrationError:
    return CalibrationError("calibration met a value that is not finite", where=f"{where}, batch {index}",
                            why="NaN or infinity; nothing of this calibration was kept",
                            remedy="check the data and its preprocessing, and the weights of the model")
