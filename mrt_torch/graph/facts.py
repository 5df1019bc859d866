"""What the library knows about a node: one frozen record at ``node.meta["mrt"]``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import fx

if TYPE_CHECKING:  # the operators of mrt_torch.cvm import this module
    from mrt_torch.cvm.interval import Interval

FACTS = "mrt"


@dataclass(frozen=True)
class NodeFacts:
    """Facts of one node; None where not yet known.

    Attributes:
        source_name: the node's name in the model the user gave (fx names are sanitised).
        source_operator: the operator's name in that model, for messages.
        scale: integer value = float value * scale (integer stage).
        precision: bits the CVM runtime infers, or is told, for the node (integer stage).
        value_range: proven interval of the node's integers (integer stage).
        threshold: calibrated bound of the magnitude of the float values.
        batch_axis: axis of an input that is the batch; meaningful for inputs only, see ``graph.free_axis``.
        output_names: of the output node of a lower half: the keys of the split, which its outputs are known by whatever
            preparation makes of their nodes.
    """

    source_name: str | None = None
    source_operator: str | None = None
    scale: float | None = None
    precision: int | None = None
    value_range: Interval | None = None
    threshold: float | None = None
    batch_axis: int = 0
    output_names: tuple[str, ...] | None = None


def facts_of(node: fx.Node) -> NodeFacts:
    """Facts of a node; an empty record when none were set."""
    return node.meta.get(FACTS) or NodeFacts()


def set_facts(node: fx.Node, **changes) -> NodeFacts:
    """Replace the named facts of a node, keep the others."""
    node.meta[FACTS] = replace(facts_of(node), **changes)
    return node.meta[FACTS]


def source_name(node: fx.Node) -> str:
    """The user's name of a node, or its fx name."""
    return facts_of(node).source_name or node.name


def describe(node: fx.Node) -> str:
    """Where a node stands, for messages: names, operator and the user's source line when there is one."""
    operator = facts_of(node).source_operator or str(node.target)
    text = f"node '{source_name(node)}' ({operator})"
    trace = node.meta.get("stack_trace")
    if trace:
        lines = [line.strip() for line in trace.strip().splitlines()]
        files = [i for i, line in enumerate(lines) if line.startswith("File ")]
        if files:
            text += ", " + ": ".join(lines[files[-1]:files[-1] + 2])
    return text
