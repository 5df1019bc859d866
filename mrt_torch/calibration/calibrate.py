"""Runs calibration data through an observed graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import fx
from tqdm import tqdm

from mrt_torch.calibration.insert_observers import insert_observers
from mrt_torch.calibration.observers import AbsmaxObserver
from mrt_torch.errors import CalibrationError
from mrt_torch.graph.editor import input_nodes, shape_of
from mrt_torch.graph.facts import describe


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
        yield as_tensor(item[0] if isinstance(item, (tuple, list)) else item)
    if empty:
        raise CalibrationError("there is no calibration data", why="the iterable is empty or used up",
                               remedy="pass a list or a DataLoader, which can be read again, not a generator")


def as_tensor(array: Any) -> torch.Tensor:
    """A tensor from a tensor, a numpy array or an MXNet NDArray."""
    if hasattr(array, "asnumpy"):
        array = array.asnumpy()
    if not isinstance(array, (torch.Tensor, np.ndarray)):
        raise CalibrationError("a batch must be a tensor or an array", why=f"saw {type(array).__name__}",
                               remedy="pass torch tensors or numpy arrays")
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()
    return torch.as_tensor(array)


def check_batch(batch: torch.Tensor, node: fx.Node) -> None:
    """Raise unless a batch has the shape of an input, its batch axis apart, and at least one row.

    Raises:
        CalibrationError: seen and expected shapes.
    """
    expected = shape_of(node)
    if batch.dim() != len(expected) or tuple(batch.shape[1:]) != expected[1:] or batch.shape[0] == 0:
        raise CalibrationError("a batch has the wrong shape", where=describe(node),
                               why=f"saw {tuple(batch.shape)}, expected (N, {', '.join(map(str, expected[1:]))})",
                               remedy="give the data the shape the model was prepared for")


class Calibrator:
    """Observes a prepared float graph; batches and calls accumulate, in any order with the same result.

    Args:
        module: prepared float graph with one input.
        lambd: thresholds from mean and deviation, see ``AbsmaxObserver``; None takes the largest magnitude.
    """

    def __init__(self, module: fx.GraphModule, lambd: float | None = None):
        self._module = module
        self._input = input_nodes(module.graph)[0]
        self.observed, self.observers = insert_observers(module, lambda: AbsmaxObserver(lambd))

    def run(self, data: Any, device: torch.device, progress: bool | None = None) -> int:
        """Observe all batches of ``data`` on ``device``; returns how many there were.

        ``progress`` shows a bar; None shows one on a terminal only.

        Raises:
            CalibrationError: wrong data, or a value that is not finite; nothing of this call is kept then.
        """
        self.observed.to(device)
        count = 0
        total = len(data) if hasattr(data, "__len__") and not hasattr(data, "shape") else None
        before = {name: observer.threshold.clone() for name, observer in self.observers.items()}
        try:
            with torch.no_grad():
                for batch in tqdm(batches(data), desc="calibrate", unit="batch", total=total, leave=False,
                                  disable=None if progress is None else not progress):
                    self._observe(batch, device, count)
                    count += 1
        except BaseException:
            for name, observer in self.observers.items():
                observer.threshold = before[name]
                observer.discard()
            raise
        return count

    def _observe(self, batch: torch.Tensor, device: torch.device, index: int) -> None:
        check_batch(batch, self._input)
        self.observed(batch.to(device=device, dtype=self._input.meta["val"].dtype))
        pending = torch.stack([observer.pending for observer in self.observers.values()]).cpu()
        finite = torch.isfinite(pending)
        if not bool(finite.all()):
            name = list(self.observers)[int((~finite).nonzero()[0])]
            node = next(n for n in self._module.graph.nodes if n.name == name)
            where = "the data itself" if node.op == "placeholder" else describe(node)
            raise CalibrationError("calibration met a value that is not finite", where=f"{where}, batch {index}",
                                   why="NaN or infinity; nothing of this calibration was kept",
                                   remedy="check the data and its preprocessing, and the weights of the model")
        for observer in self.observers.values():
            observer.commit()

    def thresholds(self) -> dict[str, float]:
        """Threshold of every activation by fx node name."""
        stacked = torch.stack([observer.threshold for observer in self.observers.values()]).cpu().tolist()
        return dict(zip(self.observers, stacked, strict=True))
