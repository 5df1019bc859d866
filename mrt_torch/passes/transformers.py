"""Walks a graph and calls one pass of every node's Transformer."""

from __future__ import annotations

import inspect
from typing import Any

from torch import fx

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.ops.explanation import Explanation
from mrt_torch.ops.registry import TRANSFORMERS, apply_pass
from mrt_torch.ops.transformer import Transformer

MOST_SWEEPS = 100


def transform_nodes(module: fx.GraphModule, name: str, explanation: Explanation | None = None) -> int:
    """Sweep with the pass ``name`` (rewrite or fuse_transpose) until nothing changes; return how often it fired.

    Every rule removes an operator that no rule brings back, or moves a transpose towards the outputs without adding
    one, so the sweeps end.

    Args:
        module: float graph, edited in place.
        name: of the pass.
        explanation: is told what each rule did, and why it did nothing.

    Raises:
        InvalidGraphError: they did not end, because of a rule added by the user.
    """
    firings = 0
    for _ in range(MOST_SWEEPS):
        fired = _sweep(module, name, explanation)
        firings += fired
        if not fired:
            return firings
    raise InvalidGraphError(f"the pass '{name}' reaches no fixed point",
                            why=f"it still fires after {MOST_SWEEPS} sweeps",
                            remedy="a registered Transformer undoes what another one does")


def _sweep(module: fx.GraphModule, name: str, explanation: Explanation | None) -> int:
    editor = GraphEditor(module)
    fired, erased = 0, set()
    context: dict[str, Any] = {"editor": editor}
    if explanation is not None:
        explanation.begin_sweep()
        context["explanation"] = explanation
    for node in list(module.graph.nodes):
        if node in erased or node.op != "call_function":
            continue
        with editor.before(node):
            replacement = apply_pass(name, node, **context)
        changed = replacement is not node
        if explanation is not None and _has_rule(node, name):
            explanation.record(type(TRANSFORMERS.of_node(node)).__name__, node, changed, _meant_for(node, name))
        if changed:
            erased |= editor.replace(node, replacement)
            fired += 1
    return fired


def _has_rule(node: fx.Node, name: str) -> bool:
    """Whether the node's Transformer does something in the pass, now and then."""
    return getattr(type(TRANSFORMERS.of_node(node)), name) is not getattr(Transformer, name)


def _meant_for(node: fx.Node, name: str) -> str:
    """The first sentence about the rule of a node's Transformer."""
    text = inspect.getdoc(getattr(type(TRANSFORMERS.of_node(node)), name)) or ""
    return " ".join(text.partition("\n\n")[0].split())


def rewrite(module: fx.GraphModule, explanation: Explanation | None = None) -> int:
    """Replace operators by equivalents that have an integer form; returns the number of firings."""
    return transform_nodes(module, "rewrite", explanation)


def fuse_transpose(module: fx.GraphModule, explanation: Explanation | None = None) -> int:
    """Move transposes towards the outputs and merge them; returns the number of firings."""
    return transform_nodes(module, "fuse_transpose", explanation)
