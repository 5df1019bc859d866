"""Small trees of files in the formats of PASCAL VOC and COCO, and seeded detections of what they show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

VOC_BOX = ("<object><name>{name}</name><pose>Left</pose><truncated>0</truncated>{difficult}<bndbox>"
           "<xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>")
SIZES = ((60, 45), (40, 80), (33, 33), (100, 90), (64, 48))  # width, height


def write_picture(path: Path, size: tuple[int, int], seed: int) -> None:
    """A smooth JPEG: decoders differ least on it."""
    from PIL import Image
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.RandomState(seed).randint(0, 256, (3, 4, 3)).astype(np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path, quality=95, subsampling=0)


def random_boxes(random: np.random.RandomState, count: int, width: int, height: int) -> np.ndarray:
    """Boxes (count, 4) of whole pixels from 1, as VOC writes them; x2 > x1 + 1, y2 > y1 + 1."""
    corners = np.stack((random.randint(1, width // 2, count), random.randint(1, height // 2, count)), 1)
    sides = np.stack((random.randint(3, width // 2, count), random.randint(3, height // 2, count)), 1)
    return np.concatenate((corners, corners + sides), 1)


def write_voc(root: Path, classes: tuple[str, ...], seed: int = 0) -> Path:
    """``root/voc`` with a picture for each of ``SIZES`` and 1 to 4 objects in each."""
    random, year = np.random.RandomState(seed), root / "voc" / "VOCdevkit" / "VOC2007"
    for folder in ("Annotations", "ImageSets/Main"):
        (year / folder).mkdir(parents=True)
    names = [f"{number + 1:06}" for number in range(len(SIZES))]
    (year / "ImageSets/Main/test.txt").write_text("\n".join(names) + "\n")
    for number, (name, (width, height)) in enumerate(zip(names, SIZES)):
        write_picture(year / "JPEGImages" / f"{name}.jpg", (width, height), number)
        objects = [VOC_BOX.format(name=classes[random.randint(4)], box=box,
                                  difficult=f"<difficult>{random.randint(4) == 0:d}</difficult>")
                   for box in random_boxes(random, 1 + number % 4, width, height)]
        write_annotation(year / "Annotations" / f"{name}.xml", (width, height), *objects)
    return root


def write_annotation(path: Path, size: tuple[int, int], *objects: str, head: str = "") -> None:
    width, height = size
    path.write_text(
        f"{head}<annotation><folder>VOC2007</folder><filename>{path.stem}.jpg</filename><size><width>{width}</width>"
        f"<height>{height}</height><depth>3</depth></size>{''.join(objects)}</annotation>")


def write_coco(root: Path, classes: list[str], seed: int = 0) -> Path:
    """``root/coco`` with the pictures of ``SIZES``, not in the order of their ids; some objects are crowds, one picture
    has none, and the ids of the categories leave numbers out."""
    random, folder = np.random.RandomState(seed), root / "coco"
    pictures, annotations = [], []
    for number, (width, height) in enumerate(SIZES):
        key, name = 900 - 37 * number, f"{900 - 37 * number:012}.jpg"
        write_picture(folder / "val2017" / name, (width, height), number)
        pictures.append({"id": key, "width": width, "height": height, "file_name": name,
                         "coco_url": f"http://images.cocodataset.org/val2017/{name}"})
        for box in random_boxes(random, (number * 2) % 5, width, height).tolist():
            sides = [box[2] - box[0] + 0.25, box[3] - box[1] + 0.5]
            annotations.append({
                "id": 900100000000 + len(annotations), "image_id": key, "category_id": 1 + 2 * random.randint(4),
                "bbox": [box[0] + 0.5, box[1] - 1.25, *sides], "area": sides[0] * sides[1] * 0.7,
                "iscrowd": int(random.randint(5) == 0), "segmentation": [[1, 2, 3, 4, 5, 6]]})
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps({
        "info": {}, "licenses": [], "images": pictures, "annotations": annotations,
        "categories": [{"id": 1 + 2 * rank, "name": name, "supercategory": "x"} for rank, name in enumerate(classes)]}))
    return root


def detections_near(labels: torch.Tensor, size: int, seed: int, classes: int = 4,
                    rows: int = 12) -> tuple[torch.Tensor, ...]:
    """Answers (ids, scores, boxes) of a detector that finds most objects roughly, some twice, and others that are not
    there; boxes may leave the picture, and scores are all different."""
    random = np.random.RandomState(seed)
    ids, boxes = np.full((len(labels), rows, 1), -1.0), np.full((len(labels), rows, 4), -1.0)
    scores = -np.ones((len(labels), rows, 1))
    order = random.permutation(len(labels) * rows).reshape(len(labels), rows, 1)
    for picture, objects in enumerate(labels.numpy()):
        found = [row for row in objects if row[4] >= 0 and random.rand() < 0.8
                 for _ in range(1 + (random.rand() < 0.3))]
        for place in range(min(rows, len(found) + 3)):
            if place < len(found):
                ids[picture, place] = found[place][4] if random.rand() < 0.9 else random.randint(classes)
                boxes[picture, place] = found[place][:4] + random.normal(0, 0.5 + 2 * random.rand(), 4)
            else:
                ids[picture, place] = random.randint(classes + 1)
                boxes[picture, place] = np.sort(random.uniform(-5, size + 5, (2, 2)), 0).reshape(4)
            scores[picture, place] = (order[picture, place] + 1) / (order.size + 1)
    return tuple(torch.from_numpy(array).float() for array in (ids, scores, boxes))
