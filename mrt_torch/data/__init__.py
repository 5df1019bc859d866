"""Data sets by name, and what judges the answers to them."""

from mrt_torch.data.accuracy import ClassificationAccuracy
from mrt_torch.data.cifar10 import Cifar10Dataset
from mrt_torch.data.coco import COCODataset
from mrt_torch.data.dataset import (
    DS_REG,
    ArrayDataset,
    Dataset,
    DatasetInParts,
    dataset_called,
    register_dataset,
)
from mrt_torch.data.digits import DigitsDataset
from mrt_torch.data.image_folder import ImageFolderDataset
from mrt_torch.data.imagenet import ImageNetDataset
from mrt_torch.data.metric import Metric, Predictions
from mrt_torch.data.mnist import MnistDataset
from mrt_torch.data.npz_file import NpzDataset
from mrt_torch.data.quickdraw import QuickDrawDataset
from mrt_torch.data.stdrandom import StdRandomDataset
from mrt_torch.data.trec import TrecDataset
from mrt_torch.data.voc import VOCDataset

__all__ = [
    "ArrayDataset",
    "COCODataset",
    "Cifar10Dataset",
    "ClassificationAccuracy",
    "DS_REG",
    "Dataset",
    "DatasetInParts",
    "DigitsDataset",
    "ImageFolderDataset",
    "ImageNetDataset",
    "Metric",
    "MnistDataset",
    "NpzDataset",
    "Predictions",
    "QuickDrawDataset",
    "StdRandomDataset",
    "TrecDataset",
    "VOCDataset",
    "dataset_called",
    "register_dataset",
]
