"""Names of nodes: fx never gives a name twice in one graph, not even after its first owner lost it."""

from __future__ import annotations

from torch import fx


def claim_name(node: fx.Node, name: str) -> None:
    """Give ``node`` exactly this name; another node that has it gets a name derived from it."""
    node._rename(name)
    if node.name == name:
        return
    for other in node.graph.nodes:
        if other.name == name:
            other._rename(f"{name}_node")
    node.name = name
