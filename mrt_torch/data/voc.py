"""The test pictures of PASCAL VOC 2007. (MRT main2, ``voc``.)"""

from __future__ import annotations

import logging
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mrt_torch.data.dataset import register_dataset
from mrt_torch.data.detection_dataset import COLUMNS, DetectionDataset
from mrt_torch.data.metric import Metric
from mrt_torch.data.required_files import required_files
from mrt_torch.data.voc_metric import VOC07MeanAveragePrecision
from mrt_torch.errors import InvalidFileError

LARGEST_ANNOTATION = 1 << 20  # bytes; the largest of VOC 2007 has 12 thousand
_LOGGER = logging.getLogger(__name__)


@register_dataset("voc")
class VOCDataset(DetectionDataset):
    """``VOCdevkit/VOC2007``: the pictures that ``ImageSets/Main/test.txt`` lists, in that order.

    Preprocessing is that of gluoncv's ``YOLO3DefaultValTransform``, boxes are those of its ``VOCDetection``: the file's
    less 1, and boxes that are empty or leave the picture are left out, with a warning. The metric is the mean average
    precision at an intersection over union of 0.5 (``VOC07MeanAveragePrecision``).
    """

    classes = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
               "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")

    def _load_data(self) -> None:
        self._year = self.folder / "VOCdevkit" / "VOC2007"
        listed, = required_files(
            self.name, self._year, ("ImageSets/Main/test.txt",),
            remedy="unpack VOCtest_06-Nov-2007.tar in the folder above VOCdevkit, or give the root of the data sets")
        try:
            self._names = listed.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidFileError("the list of pictures cannot be read", where=str(listed), why=str(error),
                                   remedy="unpack VOCtest_06-Nov-2007.tar again") from error
        wrong = [name for name in self._names if Path(name).name != name]
        if wrong or not self._names:
            raise InvalidFileError("the list of pictures holds no names of files", where=str(listed),
                                   why=f"saw {wrong[0] if wrong else 'nothing'}",
                                   remedy="give one name without folder and ending on each line")

    def __len__(self) -> int:
        return len(self._names)

    def picture(self, index: int) -> Path:
        return self._year / "JPEGImages" / f"{self._names[index]}.jpg"

    def objects(self, index: int) -> np.ndarray:
        return read_annotation(self._year / "Annotations" / f"{self._names[index]}.xml", self.classes)

    def metrics(self) -> Metric:
        height, width = self.input_shape[2:]
        return VOC07MeanAveragePrecision(self.classes, width, height)


class _PlainTree(ElementTree.TreeBuilder):
    """Refuses declarations of a document type, which could define entities that grow or name other files."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError(f"a declaration of the document type '{name}'")


def read_annotation(path: Path, classes: tuple[str, ...]) -> np.ndarray:
    """The objects of an annotation of VOC: rows (M, 6) float64 of x1, y1, x2, y2 (from 0), class, difficult.

    Objects of other classes are left out.

    Raises:
        InvalidFileError: the file is missing, too large, or no annotation.
    """
    try:
        if path.stat().st_size > LARGEST_ANNOTATION:
            raise ValueError(f"{path.stat().st_size} bytes, at most {LARGEST_ANNOTATION} expected")
        parser = ElementTree.XMLParser(target=_PlainTree())
        parser.feed(path.read_bytes())
        root = parser.close()
        width, height = _number(root, "size/width"), _number(root, "size/height")
        rows = [row for element in root.iter("object")
                if (row := _object(element, classes)) is not None and _fits(row, width, height, path)]
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
        raise InvalidFileError("an annotation cannot be read", where=str(path), why=str(error),
                               remedy="unpack the data set again") from error
    return np.array(rows, np.float64).reshape(-1, COLUMNS)


def _object(element: ElementTree.Element, classes: tuple[str, ...]) -> list[float] | None:
    name = element.findtext("name", "").strip().lower()
    if name not in classes:
        return None
    box = [_number(element, f"bndbox/{side}") - 1 for side in ("xmin", "ymin", "xmax", "ymax")]
    return [*box, classes.index(name), float(element.findtext("difficult", "0").strip() == "1")]


def _number(element: ElementTree.Element, path: str) -> float:
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"no {path} in <{element.tag}>")
    return float(text)


def _fits(row: list[float], width: float, height: float, path: Path) -> bool:
    x1, y1, x2, y2 = row[:4]
    fits = 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    if not fits:
        _LOGGER.warning("%s: left out a box outside of the picture: %s of %g x %g", path, row[:4], width, height)
    return fits
