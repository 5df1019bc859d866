"""Runs calibration data through an observed graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from typing import Any

import numpy as np
import torch
from torch import fx
from tqdm import tqdm

from mrt_torch.calibration.features import AFeature, Feature
from mrt_torch.calibration.histogram_observer import HistogramObserver
from mrt_torch.calibration.insert_observers import ObserverFactory, insert_observers
from mrt_torch.calibration.observers import Observer
from mrt_torch.calibration.plan import chosen_observers, operand_groups
from mrt_torch.calibration.sample import Sample
from mrt_torch.calibration.squared_error import squared_error_feature
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import describe, facts_of
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
        lambd: thresholds from mean and deviation, see ``AbsmaxObserver``.
        observer: makes the ``Observer`` of each activation: called with its node, or without arguments, such as a
            class; without it and ``lambd`` see ``default_observers``.

    Attributes:
        module: the graph that was given.
        observers: by the fx name of the node they watch.
        sample: a bounded ``Sample`` of the data, as the graph takes it.

    Raises:
        InvalidArgumentError: both ``lambd`` and ``observer``, or one that makes something else.
    """

    def __init__(self, module: fx.GraphModule, lambd: float | None = None, observer: ObserverFactory | None = None):
        self.module = module
        self._input = input_nodes(module.graph)[0]
        self.observed, self.observers = insert_observers(module, chosen_observers(module, lambd, observer))
        wrong = next((made for made in self.observers.values() if not isinstance(made, Observer)), None)
        if wrong is not None:
            raise InvalidArgumentError("an observer is a subclass of mrt_torch.calibration.Observer",
                                       why=f"saw {type(wrong).__name__}", remedy="derive its class from Observer")
        self.sample = Sample()

    def run(self, data: Any, device: torch.device, progress: bool | None = None, first: int = 0, step: int = 1) -> int:
        """Observe all batches of ``data`` on ``device``; returns how many there were.

        ``progress`` shows a bar; None shows one on a terminal only. Errors number the batches ``first``,
        ``first + step``, and so on, for data that is a part of more.

        Raises:
            CalibrationError: wrong data, or a value that is not finite; nothing of this call is kept then.
        """
        self.observed.to(device)
        count = 0
        total = None if hasattr(data, "shape") else length_hint(data, 0) or None
        before = {name: {key: buffer.clone() for key, buffer in observer.named_buffers(remove_duplicate=False)}
                  for name, observer in self.observers.items()}
        sample_before = self.sample.copy()
        try:
            with torch.no_grad():
                for batch in tqdm(batches(data), desc="calibrate", unit="batch", total=total, leave=False,
                                  disable=None if progress is None else not progress):
                    self._observe(batch, device, first + step * count)
                    count += 1
        except BaseException:
            for name, observer in self.observers.items():
                for key, buffer in before[name].items():
                    setattr(observer, key, buffer)
            self.sample = sample_before
            raise
        return count

    def _observe(self, batch: torch.Tensor, device: torch.device, index: int) -> None:
        check_shape(batch, self._input, CalibrationError)
        whole = not self._input.meta["val"].dtype.is_floating_point
        if whole and batch.is_floating_point() and not bool(torch.isfinite(batch).all()):
            raise _not_finite("the data itself", index)  # which would become some integer
        batch = batch.to(dtype=self._input.meta["val"].dtype)
        self.observed(batch.to(device=device))
        pending = torch.stack([observer.pending for observer in self.observers.values()]).cpu()
        finite = torch.isfinite(pending)
        if not bool(finite.all()):
            name = list(self.observers)[int((~finite).nonzero()[0])]
            node = next(n for n in self.module.graph.nodes if n.name == name)
            where = "the data itself" if node.op == "placeholder" else describe(node)
            raise _not_finite(where, index)
        for observer in self.observers.values():
            observer.commit()
        self.sample.add(batch, facts_of(self._input).batch_axis)

    def features(self) -> dict[str, Feature]:
        """Feature of every activation by fx node name; zero where the node has no elements.

        Raises:
            CalibrationError: ``run`` observed nothing yet.
        """
        return {name: self._feature(name, observer.feature) for name, observer in self.observers.items()}

    def operand_features(self) -> dict[tuple[str, int], Feature]:
        """The range that 8 bits of a convolution's or dense layer's data keep: that of the least squared error.

        Keys are the fx name of the operand and a number of channel groups: 1 gives the whole tensor (``MMFeature``),
        more, where a grouped convolution reads it, a range for each group (``MMLFeature``). Only operands that a
        ``HistogramObserver`` watches are there.

        Raises:
            CalibrationError: ``run`` observed nothing yet.
        """
        found: dict[tuple[str, int], Feature] = {}
        for name, groups in operand_groups(self.module).items():
            observer = self.observers[name]
            for count in groups if isinstance(observer, HistogramObserver) else ():
                if count > 1 and not observer.counts_by_channel:
                    continue  # one of the user, or of an optimizor, that counts the tensor as a whole
                found[name, count] = self._feature(name, lambda o=observer, c=count: squared_error_feature(o, c))
        return found

    def _feature(self, name: str, feature: Callable[[], Feature]) -> Feature:
        node = next(node for node in self.module.graph.nodes if node.name == name)
        if not node.meta["val"].numel():
            return AFeature(0.0)
        try:
            return feature()
        except CalibrationError as error:
            raise CalibrationError(error.what, where=describe(node), why=error.why, remedy=error.remedy) from error

    def thresholds(self) -> dict[str, float]:
        """Threshold of every activation by fx node name."""
        return {name: feature.get_threshold() for name, feature in self.features().items()}


def _not_finite(where: str, index: int) -> CalibrationError:
    return CalibrationError("calibration met a value that is not finite", where=f"{where}, batch {index}",
                            why="NaN or infinity; nothing of this calibration was kept",
                            remedy="check the data and its preprocessing, and the weights of the model")
