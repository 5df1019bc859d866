"""Programs other than this library that run an exported model: oracles of the promise of the same integers.

An executor is found through the entry-point group ``mrt_torch.executors``, like a bridge.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Protocol

import numpy as np

GROUP = "mrt_torch.executors"


class Executor(Protocol):
    """Runs the files of a quantized model.

    Attributes:
        title: what runs them, for a person.
        form: the export it takes: "mxnet" or "cvm".
    """

    title: str
    form: str

    def run(self, path: str | os.PathLike[str], integers: np.ndarray) -> list[np.ndarray]:
        """Integer outputs, one array for each head, of the model at ``path``.

        Args:
            path: the symbol file ("mxnet", parameters beside it) or the folder ("cvm").
            integers: input of any batch.

        Raises:
            MissingDependencyError: the program is not installed.
        """


def executors() -> list[Executor]:
    """All executors that installed packages declare, in the order of their names."""
    return [entry.load() for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)]
