"""The annotation file of COCO for detection: pictures, categories and boxes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrt_torch.errors import InvalidFileError

_PICTURE = {"id": int, "width": int, "height": int, "file_name": str}
_CATEGORY = {"id": int, "name": str}
_ANNOTATION = {"id": int, "image_id": int, "category_id": int, "bbox": list, "area": (int, float)}
_LARGEST = 2**53  # exact in float64; ids of crowds have twelve digits
_REMEDY = "unpack annotations_trainval2017.zip of COCO again"


@dataclass(frozen=True)
class CocoAnnotations:
    """Pictures by rising id, categories in the order of the file, and the annotations of each picture by its id.

    All are the dictionaries of the file, without outlines.
    """

    pictures: tuple[dict[str, Any], ...]
    categories: tuple[dict[str, Any], ...]
    annotations: dict[int, list[dict[str, Any]]]

    def objects(self, index: int) -> np.ndarray:
        """Rows (M, 6) float64 of a picture: x1, y1, x2, y2, rank of the category, and 1 for a crowd.

        As in gluoncv's ``COCODetection`` a box (x, y, w, h) ends at the pixel ``x + w - 1``, is clipped to the picture,
        and is left out if that, or its area, is empty, or if it is marked to be ignored.
        """
        picture = self.pictures[index]
        right, bottom = picture["width"] - 1, picture["height"] - 1
        ranks = {category["id"]: rank for rank, category in enumerate(self.categories)}
        rows = []
        for annotation in self.annotations[picture["id"]]:
            x, y, width, height = annotation["bbox"]
            x1, x2 = (min(max(side, 0), right) for side in (x, x + max(width - 1, 0)))
            y1, y2 = (min(max(side, 0), bottom) for side in (y, y + max(height - 1, 0)))
            if annotation["area"] > 0 and x2 > x1 and y2 > y1 and annotation.get("ignore", 0) != 1:
                rows.append((x1, y1, x2, y2, ranks[annotation["category_id"]], bool(annotation.get("iscrowd", 0))))
        return np.array(rows, np.float64).reshape(-1, 6)


def read_coco_annotations(path: Path) -> CocoAnnotations:
    """The content of a file such as ``instances_val2017.json``.

    Raises:
        InvalidFileError: no JSON, or entries are missing, of wrong types, twice there, or name what is not there.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError("the annotations cannot be read", where=str(path), why=str(error), remedy=_REMEDY) \
            from error
    if not isinstance(content, dict):
        raise InvalidFileError("the annotations are no JSON object", where=str(path), remedy=_REMEDY)
    pictures = _entries(content, "images", _PICTURE, path)
    categories = _entries(content, "categories", _CATEGORY, path)
    annotations = _entries(content, "annotations", _ANNOTATION, path)
    of_picture: dict[int, list[dict[str, Any]]] = {picture: [] for picture in sorted(pictures)}
    for key, annotation in annotations.items():
        if annotation["category_id"] not in categories or annotation["image_id"] not in pictures or \
                not _is_box(annotation["bbox"]):
            raise InvalidFileError("an annotation is of no known category or picture, or has no box",
                                   where=f"{path}, annotation {key}", why=f"saw {annotation!r:.200}", remedy=_REMEDY)
        of_picture[annotation["image_id"]].append(annotation)
    return CocoAnnotations(tuple(pictures[key] for key in of_picture), tuple(categories.values()), of_picture)


def _entries(content: dict[str, Any], name: str, fields: dict[str, Any], path: Path) -> dict[int, dict[str, Any]]:
    """The dictionaries of a list by their id."""
    entries = content.get(name)
    if not isinstance(entries, list):
        raise InvalidFileError(f"the annotations have no list '{name}'", where=str(path), remedy=_REMEDY)
    found: dict[int, dict[str, Any]] = {}
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or not all(_is_of(entry.get(field), kind) for field, kind in fields.items()):
            raise InvalidFileError(f"an entry of '{name}' lacks what it needs", where=f"{path}, {name}[{place}]",
                                   why=f"expected {', '.join(fields)}, saw {entry!r:.200}", remedy=_REMEDY)
        if entry["id"] in found:
            raise InvalidFileError(f"two entries of '{name}' have one id", where=f"{path}, {name}[{place}]",
                                   why=f"id {entry['id']}", remedy=_REMEDY)
        found[entry["id"]] = {field: value for field, value in entry.items() if field != "segmentation"}
    return found


def _is_of(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and (not isinstance(value, (int, float)) or abs(value) <= _LARGEST)


def _is_box(box: list[Any]) -> bool:
    return len(box) == 4 and all(isinstance(side, (int, float)) and abs(side) <= _LARGEST for side in box)
