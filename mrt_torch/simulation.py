"""Float data on its way into an integer model. (MRT's ``sim_quant_helper``.)"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.input_data import as_tensor
from mrt_torch.quantization.precision import int_realize

Extension = Mapping[str, Mapping[str, Any]]


def _entry(name: str, inputs_ext: Extension) -> Mapping[str, Any]:
    if name not in inputs_ext or not {"scale", "target_bit"} <= set(inputs_ext[name]):
        raise InvalidArgumentError(f"the extension holds no scale and target_bit for input '{name}'",
                                   why=f"it has {sorted(inputs_ext)}", remedy="pass MRT.get_inputs_ext()")
    return inputs_ext[name]


def load_sim_data(data: torch.Tensor | np.ndarray, name: str, inputs_ext: Extension) -> torch.Tensor:
    """``data * scale`` in float64, not rounded."""
    return as_tensor(data).to(torch.float64) * _entry(name, inputs_ext)["scale"]


def load_real_data(data: torch.Tensor | np.ndarray, name: str, inputs_ext: Extension) -> torch.Tensor:
    """``data * scale`` rounded (ties away from zero) and clamped to ``target_bit`` bits; int32.

    Raises:
        InvalidArgumentError: the data holds a NaN, or the extension lacks the input.
    """
    return int_realize(load_sim_data(data, name, inputs_ext), _entry(name, inputs_ext)["target_bit"])
