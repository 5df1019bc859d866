"""Images in folders, one for each class, or named in a list."""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from mrt_torch.data.dataset import register_dataset
from mrt_torch.data.image_classification import ImageClassification
from mrt_torch.data.image_files import SUFFIXES, decode_image
from mrt_torch.data.labels import class_labels
from mrt_torch.errors import InvalidFileError

LIST_NAME = "labels.csv"
_LAYOUT = (f"put a folder of images there for each class, or images with a file {LIST_NAME} that has the columns file "
           f"and label; images end in {', '.join(SUFFIXES)}")


@register_dataset("image_folder")
class ImageFolderDataset(ImageClassification):
    """Images with classes, preprocessed as for ImageNet; inputs (N, 3, H, H).

    With a file ``labels.csv`` in the folder: the images it names in its column ``file``, relative to the folder, with
    the classes of its column ``label``, in its order; other columns are ignored. Without: one folder for each class,
    whose images, those of its subfolders too, come in the order of their paths; a class is the rank of its folder's
    name. Names are compared by code point, so that the order is the same everywhere.

    Attributes:
        files: paths of the images.
        labels: (n,) int64.
    """

    files: list[Path]
    labels: torch.Tensor

    def _load_data(self) -> None:
        if not self.folder.is_dir():
            raise InvalidFileError(f"the folder of the data set '{self.name}' is missing", where=str(self.folder),
                                   remedy=_LAYOUT)
        labels_file = self.folder / LIST_NAME
        self.files, self.labels = _listed(labels_file) if labels_file.is_file() else _by_folder(self.folder)

    def __len__(self) -> int:
        return len(self.files)

    def decoded(self, index: int) -> tuple[np.ndarray, torch.Tensor]:
        return decode_image(self.files[index]), self.labels[index]


def _by_folder(folder: Path) -> tuple[list[Path], torch.Tensor]:
    files, labels = [], []
    classes = sorted((path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")),
                     key=lambda path: path.name)
    if not classes:
        raise InvalidFileError("there are no classes of images", where=str(folder),
                               why=f"it has neither folders nor a file {LIST_NAME}", remedy=_LAYOUT)
    for label, of_class in enumerate(classes):
        images = sorted((path for path in of_class.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()),
                        key=lambda path: path.relative_to(folder).parts)
        if not images:
            raise InvalidFileError("a class has no images", where=str(of_class), remedy=_LAYOUT)
        files += images
        labels += [label] * len(images)
    return files, torch.tensor(labels, dtype=torch.int64)


def _listed(path: Path) -> tuple[list[Path], torch.Tensor]:
    lines: dict[Path, int] = {}
    labels = []
    try:
        reader = csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline=""), strict=True)
        if not {"file", "label"} <= set(reader.fieldnames or ()):
            raise _invalid_list(path, 1, f"its columns are {reader.fieldnames}")
        for row in reader:
            line, name, label = reader.line_num, row["file"], row["label"]
            if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
                raise _invalid_list(path, line, f"{name!r} is no path inside the folder")
            if not (label and label.isascii() and label.isdigit() and len(label) < 10):
                raise _invalid_list(path, line, f"the label {label!r} is no whole number from 0")
            file = path.parent / name
            if not file.is_file():
                raise _invalid_list(path, line, f"there is no {file}")
            if file in lines:
                raise _invalid_list(path, line, f"line {lines[file]} has {name!r} too")
            lines[file] = line
            labels.append(int(label))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise _invalid_list(path, 1, str(error)) from error
    if not labels:
        raise _invalid_list(path, 1, "it lists no images")
    return list(lines), class_labels(np.array(labels), str(path))


def _invalid_list(path: Path, line: int, why: str) -> InvalidFileError:
    return InvalidFileError("a list of images cannot be used", where=f"{path}, line {line}", why=why, remedy=_LAYOUT)
