"""Detectors of gluoncv, and what the original's configurations say of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

SSD_BOXES = "ssd0_normalizedboxcenterdecoder0_box_decode0"
SSD_CLASS = "ssd0_multiperclassdecoder0_"
YOLO = "yolov30_yolooutputv3"
CALIBRATION = 3  # pictures


@dataclass(frozen=True)
class Case:
    """A detector, the section SPLIT_MODEL of its configuration, and what MERGE_MODEL declares of scales."""

    network: str
    size: int
    keys: tuple[str, ...]
    output_precision: int | None
    attribute_deps: dict[str, dict[str, str]]
    oscale_maps: dict[str, str]


def ssd(keys: tuple[str, ...], ids: str, output_precision: int | None) -> Case:
    scores = keys[-2]
    return Case("ssd_512_mobilenet1.0_voc", 128, keys, output_precision,
                {"_greater_scalar": {"scalar": scores}, "_contrib_box_nms": {"valid_thresh": scores}},
                {"ssd0_slice_axis41": ids, "ssd0_slice_axis42": scores, "ssd0_slice_axis43": SSD_BOXES})


def yolo(output_precision: int | None) -> Case:
    keys = tuple(f"{YOLO}{scale}_{node}0" for node in ("expand_dims", "tile") for scale in range(3))
    return Case("yolo3_mobilenet1.0_voc", 64, keys, output_precision, {"_contrib_box_nms": {"valid_thresh": keys[0]}},
                {"yolov30_slice_axis1": "None", "yolov30_slice_axis2": keys[0], "yolov30_slice_axis3": keys[3]})


CASES = {
    "ssd, 30 bits": ssd(("ssd0_softmax0", SSD_BOXES), "None", 30),
    "ssd, three keys": ssd((f"{SSD_CLASS}zeros_like0", f"{SSD_CLASS}slice_axis0", SSD_BOXES),
                           f"{SSD_CLASS}zeros_like0", None),
    "yolo, 30 bits": yolo(30),
    "yolo": yolo(None),
}


def overlap(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union of corner boxes (n, 4) and (m, 4): (n, m)."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (first, second)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)
