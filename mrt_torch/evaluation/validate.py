"""The validation loops that MRT documents. (MRT's ``utils``.)"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from mrt_torch.data.dataset import Batch, Dataset
from mrt_torch.evaluation.report import EvaluationReport
from mrt_torch.evaluation.run import evaluate
from mrt_torch.input_data import as_tensor

Judged = str | tuple[Any, float]
DataIterator = Callable[[], tuple[Any, Any]]


def multi_validate(base: Callable[[Any, Any], Judged], data_iter: DataIterator, *comps: Callable[[Any, Any], Judged],
                   iter_num: int = 10, logger: Any = None, batch_size: int = 16) -> list[str]:
    """Call evaluation functions on the same batches, and log what each of them says.

    A line is logged for each iteration: its number, the text and the milliseconds of every function, and the number of
    examples so far. (The original logged only the first of ``comps``, and failed on functions that return a text.)

    Args:
        base: maps (data, label) to a text, such as ``Dataset.validate`` returns, or to a pair of the accuracy and
            milliseconds. Where it gives no time, that of the call is taken.
        data_iter: returns the next (data, label); see ``Dataset.iter_func``. Validation ends where it raises
            StopIteration.
        comps: functions like ``base``.
        iter_num: most iterations.
        logger: has a method ``info``; None takes the one of this module.
        batch_size: examples of a batch whose label has no length.

    Returns:
        The last text of each function, in order; an empty list where there was no data.
    """
    logger = logging.getLogger(__name__) if logger is None else logger
    names = [_name(function) for function in (base, *comps)]
    texts: list[str] = []
    total = 0
    for iteration in range(iter_num):
        try:
            data, label = data_iter()
        except StopIteration:
            break
        judged = [_judged(function, data, label) for function in (base, *comps)]
        texts = [text for text, _ in judged]
        total += len(label) if getattr(label, "shape", None) or isinstance(label, (list, tuple)) else batch_size
        said = " | ".join(f"{name}: {text}" for name, text in zip(names, texts, strict=True))
        times = " ".join(f"{milliseconds:.2f}ms" for _, milliseconds in judged)
        logger.info("Iteration: %3d | %s | time: %s | Total Sample: %5d", iteration, said, times, total)
    return texts


def multi_eval_accuracy(base_func: Callable[[Any], Any], data_iter_func: DataIterator,
                        *comp_funcs: Callable[[Any], Any], iter_num: int = 10, logger: Any = None) -> EvaluationReport:
    """Top-1 accuracy of functions from inputs to scores (N, C), and how often they agree with the first one.

    Args:
        base_func: the function to compare with.
        data_iter_func: returns the next (data, label), labels (N,); ends where it raises StopIteration.
        comp_funcs: the others.
        iter_num: most batches.
        logger: gets the report by its method ``info``; None takes the one of this module.

    Raises:
        InvalidArgumentError: as ``evaluate`` does.
    """
    functions = (base_func, *comp_funcs)
    names = [_name(function) for function in functions]
    unique = [name if names.count(name) == 1 else f"{name} {index}" for index, name in enumerate(names)]
    report = evaluate(dict(zip(unique, functions, strict=True)), _Iterated(data_iter_func), iter_num)
    (logging.getLogger(__name__) if logger is None else logger).info("%s", report)
    return report


def eval_time_accuracy(base_func: Callable[[Any], Any], data_iter_func: DataIterator,
                       comp_func: Callable[[Any], Any] | None = None, iter_num: int = 10,
                       logger: Any = None) -> EvaluationReport:
    """``multi_eval_accuracy`` of one or two functions; the report has their times an image."""
    return multi_eval_accuracy(base_func, data_iter_func, *([] if comp_func is None else [comp_func]),
                               iter_num=iter_num, logger=logger)


class _Iterated(Dataset):
    """The batches that a function returns."""

    name = "iterator"

    def __init__(self, data_iter: DataIterator):
        super().__init__((1,))
        self._data_iter = data_iter

    def batches(self) -> Iterator[Batch]:
        while True:
            try:
                data, label = self._data_iter()
            except StopIteration:
                return
            yield as_tensor(data), as_tensor(label).reshape(-1)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _judged(function: Callable[[Any, Any], Judged], data: Any, label: Any) -> tuple[str, float]:
    """What a function says, and its milliseconds."""
    start = time.perf_counter()
    with torch.no_grad():
        result = function(data, label)
    elapsed = (time.perf_counter() - start) * 1000
    if isinstance(result, (tuple, list)) and len(result) == 2:
        return str(result[0]), float(result[1])
    return str(result), elapsed
