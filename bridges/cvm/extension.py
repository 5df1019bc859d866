"""The ``ext`` file beside a deployed model: scales of its input and heads, which the runtime does not read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import fx

from mrt_torch.errors import InvalidFileError
from mrt_torch.extension_file import load_ext
from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.facts import facts_of, set_facts


def load_extension(path: Path) -> dict[str, Any] | None:
    """The one JSON object of the file; None where there is no file.

    Raises:
        InvalidFileError: the file is of another form.
    """
    if not path.exists():
        return None
    values = load_ext(path)
    if len(values) != 1 or not isinstance(values[0], dict):
        raise InvalidFileError("the extension of a deployed CVM model is one JSON object on one line",
                               where=str(path), why=f"it holds {len(values)} values",
                               remedy="export the model again, or remove the file: the scales are then 1")
    return values[0]


def set_scales(module: fx.GraphModule, extension: Mapping[str, Any]) -> None:
    """Scales of the input and of the heads, where the extension has them in the documented form."""
    inputs, heads = input_nodes(module.graph), output_nodes(module.graph)
    described = extension.get("inputs_ext")
    if isinstance(described, dict) and len(described) == 1:
        (only,) = described.values()
        if isinstance(only, dict) and _is_scale(only.get("scale")):
            set_facts(inputs[0], scale=float(only["scale"]))
    scales = extension.get("oscales")
    if isinstance(scales, list) and len(scales) == len(heads):
        for head, scale in zip(heads, scales, strict=True):
            if _is_scale(scale) and facts_of(head).scale is None:
                set_facts(head, scale=float(scale))


def _is_scale(value: Any) -> bool:
    # JSON has integers beyond any float
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= sys.float_info.max
