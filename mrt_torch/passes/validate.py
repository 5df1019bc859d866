"""Refuses, before anything is changed, what no later pass could make into integers."""

from __future__ import annotations

import operator
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import fx

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe
from mrt_torch.ops.registry import TRANSFORMERS, apply_pass

MOST_AXES = 6


@dataclass(frozen=True)
class Refusal:
    """A node that cannot be quantized, with the reason; without one, all nodes of an operator without a Transformer."""

    nodes: tuple[fx.Node, ...]
    reason: str | None = None

    def __str__(self) -> str:
        first = self.nodes[0]
        if self.reason is not None:
            return f"{describe(first)}: {self.reason}"
        nearest = TRANSFORMERS.nearest(first.target)
        times = "once" if len(self.nodes) == 1 else f"{len(self.nodes)} times"
        hint = f"; {nearest}" if nearest else ""
        return f"{first.target}, {times}, first at {describe(first)}{hint}"


def find_refusals(module: fx.GraphModule) -> list[Refusal]:
    """Everything in a float graph that cannot be quantized."""
    editor = GraphEditor(module)
    unknown: dict[object, list[fx.Node]] = defaultdict(list)
    refusals = []
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
            refusals.append(Refusal((node,), reason))
    return refusals + [Refusal(tuple(nodes)) for nodes in unknown.values()]


def unsupported(module: fx.GraphModule) -> list[str]:
    """One line for each operator without a Transformer (count, first node, nearest one), and for each node refused."""
    return [str(refusal) for refusal in find_refusals(module)]


def validate(module: fx.GraphModule) -> int:
    """Raise unless every operator of a float graph can be quantized.

    Raises:
        UnsupportedOperatorError: lists all that cannot, each with its reason.
    """
    refusals = find_refusals(module)
    if refusals:
        raise UnsupportedOperatorError(
            "the model holds operators that cannot be quantized", where=f"first at {describe(refusals[0].nodes[0])}",
            why="\n    ".join(map(str, refusals)),
            remedy="split the model before them (Model.split; 'mrt-torch inspect --suggest-split' names the keys), or "
                   "register a Transformer for them")
    return 0
