"""Features of one tensor: what an optimizor starts from, and what a parameter is quantized by."""

from __future__ import annotations

from typing import Any

import torch

from mrt_torch.calibration.features import AFeature, ALFeature, Feature, MMFeature
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.input_data import as_tensor

#: Names of the quantizers. (MRT GEN)
SYMMETRIC, AFFINE, GROUPED = "UniformSymmetric", "UniformAffine", "GroupConv"


def raw_feature(data: Any, quant_type: str, groups: int | None = None, axis: int = 1) -> Feature:
    """The feature that a quantizer asks for.

    Args:
        data: tensor or array, not empty.
        quant_type: "UniformSymmetric": largest magnitude; "UniformAffine": extremes; "GroupConv": largest magnitude of
            each of ``groups`` equal slices of ``axis``, by default of each index.
        groups: see ``quant_type``.
        axis: 1 for activations, 0 for weights.

    Raises:
        InvalidArgumentError: an empty tensor, NaN or infinity; a number of groups that does not divide the axis; no
            such quantizer.
    """
    values = as_tensor(data)
    if values.numel() == 0:
        raise InvalidArgumentError("an empty tensor has no feature", remedy="pass a tensor with at least one element")
    values = values.to(torch.float64)
    if quant_type == SYMMETRIC:
        return AFeature(float(torch.stack(torch.aminmax(values)).abs().max()))
    if quant_type == AFFINE:
        return MMFeature(*map(float, torch.aminmax(values)))
    if quant_type != GROUPED:
        raise InvalidArgumentError("there is no such quantizer", why=f"saw {quant_type!r}",
                                   remedy=f"choose from {SYMMETRIC}, {AFFINE}, {GROUPED}")
    extent = values.shape[axis] if values.dim() > axis else 1
    groups = extent if groups is None else groups
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1 or extent % groups:
        raise InvalidArgumentError("the groups must divide the channels",
                                   why=f"saw {extent} channels and {groups!r} groups",
                                   remedy="pass the number of groups of the convolution")
    rows = values.movedim(axis, 0).reshape(groups, -1) if values.dim() > axis else values.reshape(1, -1)
    return ALFeature(rows.abs().amax(1).tolist())
