"""The files of an MRT's state."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mrt_torch.calibration.features import Feature
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from mrt_torch.extension_file import load_ext, save_ext
from mrt_torch.graph.editor import input_nodes
from mrt_torch.input_data import check_shape
from mrt_torch.model import SAFETENSORS, Model
from mrt_torch.model_file import write_model
from mrt_torch.quantization.buffers import Buffer, get_buffer
from mrt_torch.quantization.calibrated_file import (
    features_from_json,
    features_to_json,
    load_sample,
    sample_digest,
    save_sample,
)
from mrt_torch.quantization.settings import QuantizationSettings

LINES = 7
SAMPLE = ".sample.safetensors"


@dataclass(frozen=True)
class SavedState:
    """What MRT.save writes; see the attributes of MRT.

    Attributes:
        quantized: None before quantize.
        buffers: empty before quantize.
    """

    model: Model
    quantized: Model | None
    settings: QuantizationSettings
    features: Mapping[str, Feature]
    operand_features: Mapping[tuple[str, int], Feature]
    sample: torch.Tensor | None
    buffers: Mapping[str, Buffer] = field(default_factory=dict)


def stem_of(model_name: str, datadir: str | os.PathLike[str]) -> str:
    """What the names of the files begin with."""
    return str(Path(datadir) / f"{model_name}.mrt")


def save_state(stem: str, state: SavedState, tensors: str = SAFETENSORS) -> None:
    """Write ``<stem>.json`` and its ``tensors``, the same of the quantized model, ``.ext`` and the sample.

    ``.ext`` holds, a line each: output names, features, operand features, settings, output scales, buffers, digest
    of the sample.
    """
    Path(stem).parent.mkdir(parents=True, exist_ok=True)
    write_model(state.model, stem + ".json", stem + tensors)
    if state.quantized:
        write_model(state.quantized, stem + ".quantized.json", stem + ".quantized" + tensors)
    save_sample(stem + SAMPLE, state.sample)
    scales = list(state.quantized.record.output_scales) if state.quantized else None
    save_ext(stem + ".ext", state.model.output_names(), *features_to_json(state.features, state.operand_features),
             state.settings.to_json(), scales, {name: buffer.serialize() for name, buffer in state.buffers.items()},
             sample_digest(state.sample))


def load_state(stem: str, tensors: str = SAFETENSORS) -> SavedState:
    """What ``save_state`` wrote.

    Raises:
        InvalidFileError: a file is missing or corrupt.
    """
    lines = load_ext(stem + ".ext")
    if len(lines) != LINES:
        raise InvalidFileError("the ext file is not one of MRT.save", where=stem + ".ext",
                               why=f"it has {len(lines)} lines, expected {LINES}",
                               remedy="load a name that MRT.save wrote")
    _, features, operand_features, settings, scales, buffers, digest = lines
    model = Model.load(stem + ".json", stem + tensors)
    try:
        named, operands = features_from_json(features, operand_features)
        state = SavedState(model, None, QuantizationSettings.from_json(settings), named, operands,
                           _sample_of(model, stem + SAMPLE, digest),
                           {name: get_buffer(value) for name, value in buffers.items()})
    except (InvalidArgumentError, AttributeError) as error:
        raise not_of_one_save(stem, error) from error
    if scales is None:
        return state
    quantized = Model.load(stem + ".quantized.json", stem + ".quantized" + tensors)
    return SavedState(**{**vars(state), "quantized": quantized})


def _sample_of(model: Model, path: str, digest: str | None) -> torch.Tensor | None:
    """The sample, if it is the one that was saved, and one of the model's input."""
    sample, inputs = load_sample(path), input_nodes(model.module.graph)
    if sample_digest(sample) != digest:
        raise InvalidFileError("the sample is not the one that was saved", where=path,
                               why="it is missing" if sample is None else "its contents differ",
                               remedy="keep the files of one save together, or calibrate and save again")
    if sample is None or not inputs:
        return sample
    check_shape(sample, inputs[0], InvalidFileError)
    wanted = inputs[0].meta["val"].dtype
    if sample.dtype != wanted or not bool(torch.isfinite(sample).all()):
        raise InvalidFileError("the sample is not one of the model's data", where=path,
                               why=f"expected finite numbers of {wanted}, saw {sample.dtype}",
                               remedy="keep the files of one save together, or calibrate and save again")
    return sample


def not_of_one_save(stem: str, error: Any) -> InvalidFileError:
    """The error for files that do not belong together."""
    return InvalidFileError("the files are not of one MRT.save", where=stem + ".ext", why=str(error),
                            remedy="keep the files of one save together, or save again")
