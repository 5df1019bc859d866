"""Refuses parameters that are NaN or infinite: no integer stands for them, and they spread through the network."""

from __future__ import annotations

import torch
from torch import fx

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import tensor_of
from mrt_torch.graph.facts import describe, source_name

CHECKPOINT = "training diverged, or the weights were loaded wrongly: take another checkpoint"


def check_finite(module: fx.GraphModule, remedy: str = CHECKPOINT) -> None:
    """Raise unless every parameter that a node reads is finite; ``remedy`` is what the error advises.

    Raises:
        InvalidGraphError: lists the parameters, and names the first node that reads one.
    """
    problems = []
    for node in module.graph.nodes:
        if node.op != "get_attr" or not node.users:
            continue
        tensor = tensor_of(module, node)
        if not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
            continue
        count = int((~torch.isfinite(tensor)).sum())
        problems.append((node, f"'{source_name(node)}': {count} of {tensor.numel()} values"))
    if problems:
        reader = next(iter(problems[0][0].users))
        parameters = "1 parameter of the model holds" if len(problems) == 1 else f"{len(problems)} parameters hold"
        raise InvalidGraphError(
            f"{parameters} NaN or infinity",
            where=f"parameter '{source_name(problems[0][0])}', read by {describe(reader)}",
            why="; ".join(text for _, text in problems[:20]),
            remedy=remedy)
