"""What calibration found, in files: features as JSON, and the sample of the data as safetensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from mrt_torch.atomic_file import atomic_write
from mrt_torch.calibration.features import Feature, get_feature
from mrt_torch.errors import InvalidArgumentError, InvalidFileError

NAME = "sample"


def features_to_json(features: Mapping[str, Feature], operand_features: Mapping[tuple[str, int], Feature]
                     ) -> tuple[dict[str, list], list[list]]:
    """JSON values of both: ``{name: serialized}`` and ``[[name, groups, serialized], ...]``."""
    return ({name: feature.serialize() for name, feature in features.items()},
            [[*key, feature.serialize()] for key, feature in operand_features.items()])


def features_from_json(features: Any, operand_features: Any
                       ) -> tuple[dict[str, Feature], dict[tuple[str, int], Feature]]:
    """What ``features_to_json`` was given.

    Raises:
        InvalidArgumentError: other values.
    """
    try:
        named = {str(name): get_feature(serialized) for name, serialized in features.items()}
        operands = {(name, groups): get_feature(serialized) for name, groups, serialized in operand_features}
        wrong = [key for key in operands if not isinstance(key[0], str) or type(key[1]) is not int or key[1] < 1]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not a name and a number of groups")
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidArgumentError("the features are not those that were written", why=str(error),
                                   remedy="write them again") from error
    return named, operands


def sample_digest(sample: torch.Tensor | None) -> str | None:
    """BLAKE2b of a sample's type, shape and bytes, by which a file is known again; None for none."""
    if sample is None:
        return None
    header = f"{sample.dtype} {tuple(sample.shape)} ".encode()
    return blake2b(header + sample.contiguous().numpy().tobytes(), digest_size=16).hexdigest()


def save_sample(path: str | os.PathLike[str], sample: torch.Tensor | None) -> None:
    """Write the sample; without one, remove what an earlier calibration left there."""
    if sample is None:
        Path(path).unlink(missing_ok=True)
    else:
        atomic_write(path, safetensors.torch.save({NAME: sample.contiguous()}))


def load_sample(path: str | os.PathLike[str]) -> torch.Tensor | None:
    """The sample that was written; None where there was none.

    Raises:
        InvalidFileError: the file is corrupt.
    """
    if not Path(path).exists():
        return None
    try:
        return safetensors.torch.load(Path(path).read_bytes())[NAME]
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise InvalidFileError("the sample of the calibration data cannot be read", where=os.fspath(path),
                               why=str(error), remedy="calibrate and save again") from error
