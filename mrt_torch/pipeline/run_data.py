"""The data set of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mrt_torch.data.dataset import Dataset, dataset_called
from mrt_torch.pipeline.blamed_option import blamed
from mrt_torch.pipeline.input_shape import set_batch
from mrt_torch.pipeline.run_configuration import RunConfiguration


@dataclass(frozen=True)
class FirstBatches(Sequence):
    """Inputs of the first batches of a data set."""

    dataset: Dataset
    count: int

    def __len__(self) -> int:
        return min(self.count, -(-len(self.dataset) // self.dataset.batch_size))

    def __getitem__(self, index: int) -> torch.Tensor:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.dataset.batch(index)[0]


def dataset_of(configuration: RunConfiguration, batch: int) -> Dataset:
    """The data set of a run, in batches of a size.

    Raises:
        InvalidArgumentError: there is none of that name, or it has other inputs.
        InvalidFileError: its files are missing or corrupt.
    """
    section, shape = configuration.calibration, set_batch(configuration.input_shape, batch)
    with blamed("CALIBRATION", "Dataset"):
        dataset = dataset_called(section.dataset)
    with blamed("CALIBRATION", "Dataset", "Dataset_dir"):
        return dataset(shape, root=section.dataset_dir)
