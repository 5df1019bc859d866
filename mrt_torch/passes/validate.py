"""Refuses, before anything is changed, what no later pass could make into integers."""

from __future__ import annotations

import operator
from collections import defaultdict

import torch
from torch import fx

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe
from mrt_torch.ops.registry import TRANSFORMERS, apply_pass

MOST_AXES = 6


def unsupported(module: fx.GraphModule) -> list[str]:
    """One line for each operator without a Transformer (count, first node, nearest one), and for each node refused."""
    return [line for _, line in _problems(module)]


def _problems(module: fx.GraphModule) -> list[tuple[fx.Node, str]]:
    editor = GraphEditor(module)
    unknown: dict[object, list[fx.Node]] = defaultdict(list)
    reasons = []
    for node in module.graph.nodes:
        # An item of a tuple is judged by the operator that makes the tuple.
        if node.op != "call_function" or node.target is operator.getitem:
            continue
        if node.target not in TRANSFORMERS:
            unknown[node.target].append(node)
            continue
        reason = apply_pass("validate", node, editor=editor)
        single = isinstance(node.meta["val"], torch.Tensor)  # an operator of several outputs is none
        if reason is None and single and len(shape_of(node)) > MOST_AXES:
            reason = f"it has {len(shape_of(node))} axes; the runtime takes {MOST_AXES} at most"
        if reason:
            reasons.append((node, f"{describe(node)}: {reason}"))
    for target, nodes in unknown.items():
        nearest = TRANSFORMERS.nearest(target)
        times = "once" if len(nodes) == 1 else f"{len(nodes)} times"
        hint = f"; {nearest}" if nearest else ""
        reasons.append((nodes[0], f"{target}, {times}, first at {describe(nodes[0])}{hint}"))
    return reasons


def validate(module: fx.GraphModule) -> int:
    """Raise unless every operator of a float graph can be quantized.

    Raises:
        UnsupportedOperatorError: lists all that cannot, each with its reason.
    """
    problems = _problems(module)
    if problems:
        raise UnsupportedOperatorError(
            "the model holds operators that cannot be quantized", where=f"first at {describe(problems[0][0])}",
            why="\n    ".join(line for _, line in problems),
            remedy="split the model before them (Model.split), or register a Transformer for them")
    return 0
