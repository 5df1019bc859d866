"""Walks a graph and calls one pass of every node's Transformer."""

from __future__ import annotations

import logging

from torch import fx

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.ops.registry import apply_pass

logger = logging.getLogger(__name__)
MOST_SWEEPS = 100


def transform_nodes(module: fx.GraphModule, name: str) -> int:
    """Sweep with the pass ``name`` (rewrite or fuse_transpose) until nothing changes; return how often it fired.

    Every rule removes an operator that no rule brings back, or moves a transpose towards the outputs without adding
    one, so the sweeps end.

    Raises:
        InvalidGraphError: they did not end, because of a rule added by the user.
    """
    firings = 0
    for _ in range(MOST_SWEEPS):
        fired = _sweep(module, name)
        firings += fired
        if not fired:
            return firings
    raise InvalidGraphError(f"the pass '{name}' reaches no fixed point",
                            why=f"it still fires after {MOST_SWEEPS} sweeps",
                            remedy="a registered Transformer undoes what another one does")


def _sweep(module: fx.GraphModule, name: str) -> int:
    editor = GraphEditor(module)
    fired, erased = 0, set()
    for node in list(module.graph.nodes):
        if node in erased or node.op != "call_function":
            continue
        with editor.before(node):
            replacement = apply_pass(name, node, editor=editor)
        if replacement is not node:
            erased |= editor.replace(node, replacement)
            fired += 1
    return fired


def rewrite(module: fx.GraphModule) -> int:
    """Replace operators by equivalents that have an integer form; returns the number of firings."""
    return transform_nodes(module, "rewrite")


def fuse_transpose(module: fx.GraphModule) -> int:
    """Move transposes towards the outputs and merge them; returns the number of firings."""
    return transform_nodes(module, "fuse_transpose")
