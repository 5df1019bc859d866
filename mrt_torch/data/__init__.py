"""Data sets by name."""

from mrt_torch.data.dataset import DS_REG, ArrayDataset, Dataset, register_dataset

__all__ = ["DS_REG", "ArrayDataset", "Dataset", "register_dataset"]
