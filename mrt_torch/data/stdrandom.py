"""Random numbers in place of data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from mrt_torch.data.dataset import Batch, Dataset, register_dataset
from mrt_torch.data.metric import Predictions

EXAMPLES = 4096
SEED = 0
_STEPS = 2**24  # uniform numbers k / 2^24 are exact in float32


class NoMetric:
    """Judges nothing: there are no right answers."""

    def update(self, predictions: Predictions, labels: torch.Tensor) -> None:
        """Nothing to count."""

    def values(self) -> dict[str, float]:
        """No figures."""
        return {}

    def counts(self) -> dict[str, int]:
        """No counts."""
        return {}

    def load_counts(self, counts: Mapping[str, int]) -> None:
        """Nothing to hold."""

    def __str__(self) -> str:
        return "no metric: the labels are random"


@register_dataset("stdrandom")
class StdRandomDataset(Dataset):
    """``EXAMPLES`` inputs (1, 3) and labels (1,), float32 uniform in [0, 1) from a fixed seed; reads no files.

    The labels have nothing to do with the inputs, so its metric has no figures. (MRT main2, dataset ``stdrandom``.)
    """

    def _check_shape(self) -> None:
        self._require_shape(self.input_shape[1:] == (1, 3), "(N, 1, 3)")

    def _load_data(self) -> None:
        # The legacy generator: numpy promises its stream for ever.
        integers = np.random.RandomState(SEED).randint(0, _STEPS, (EXAMPLES, 4))
        numbers = torch.from_numpy((integers / _STEPS).astype(np.float32))
        self._inputs, self._labels = numbers[:, None, :3], numbers[:, 3:]

    def __len__(self) -> int:
        return EXAMPLES

    def __getitem__(self, index: int) -> Batch:
        return self._inputs[index], self._labels[index]

    def metrics(self) -> NoMetric:
        return NoMetric()
