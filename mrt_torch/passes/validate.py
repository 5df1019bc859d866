"""Refuses, before anything is changed, what no later pass could make into integers."""

from __future__ import annotations

from collections import defaultdict

from torch import fx

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe
from mrt_torch.ops.registry import TRANSFORMERS, apply_pass

MOST_AXES = 6


def unsupported(module: fx.GraphModule) -> list[str]:
    """One line for each operator without a Transformer (count, first node, nearest one), and for each node refused."""
    editor = GraphEditor(module)
    unknown: dict[object, list[fx.Node]] = defaultdict(list)
    reasons = []
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        if node.target not in TRANSFORMERS:
            unknown[node.target].append(node)
            continue
        reason = apply_pass("validate", node, editor=editor)
        if reason is None and len(shape_of(node)) > MOST_AXES:
            reason = f"it has {len(shape_of(node))} axes; the runtime takes {MOST_AXES} at most"
        if reason:
            reasons.append(f"{describe(node)}: {reason}")
    for target, nodes in unknown.items():
        nearest = TRANSFORMERS.nearest(target)
        times = "once" if len(nodes) == 1 else f"{len(nodes)} times"
        reasons.append(f"{target}, {times}, first at {describe(nodes[0])}" + (f"; {nearest}" if nearest else ""))
    return reasons


def validate(module: fx.GraphModule) -> int:
    """Raise unless every operator of a float graph can be quantized.

    Raises:
        UnsupportedOperatorError: lists all that cannot, each with its reason.
    """
    reasons = unsupported(module)
    if reasons:
        raise UnsupportedOperatorError(
            "the model holds operators that cannot be quantized", why="\n    ".join(["", *reasons]),
            remedy="split the model before them (Model.split), or register a Transformer for them")
    return 0
