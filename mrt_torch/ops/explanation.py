"""Which rules fired on a graph, and why others did not, for people who ask: ``mrt-torch inspect --explain``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import fx

from mrt_torch.graph.facts import describe


@dataclass
class Explanation:
    """What the rules of a pass, one for each kind of operator, did to a graph.

    Attributes:
        fired: how often each rule fired, by the name of its Transformer.
        declined: for each rule, the nodes it left as they are at the fixed point, and why, in the order of the graph.
    """

    fired: Counter[str] = field(default_factory=Counter)
    declined: dict[str, dict[str, str]] = field(default_factory=dict)
    _reasons: dict[fx.Node, str] = field(default_factory=dict)

    def begin_sweep(self) -> None:
        """Forget why rules declined before: only the last sweep, in which none fires, tells."""
        self.declined.clear()
        self._reasons.clear()

    def give_reason(self, op: fx.Node, reason: str) -> None:
        self._reasons[op] = reason

    def record(self, rule: str, op: fx.Node, fired: bool, meant_for: str = "") -> None:
        """Count a rule's visit to a node; ``meant_for`` says what the rule does, for one that gives no reason."""
        if fired:
            self.fired[rule] += 1
        else:
            reason = self._reasons.get(op) or f"not such a case: {meant_for}"
            self.declined.setdefault(rule, {})[describe(op)] = reason

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        rules = sorted(self.fired.keys() | self.declined.keys())
        return {rule: {"fired": self.fired[rule], "declined": self.declined.get(rule, {})} for rule in rules}


def decline(op: fx.Node, reason: str, context: Mapping[str, Any]) -> fx.Node:
    """``op`` itself: the rule leaves it as it is. The reason is kept where the caller of the pass asked for it.

    A rule returns this where a reader would expect it to fire: ``return decline(op, "the transpose before it has two
    readers", context)``.
    """
    explanation = context.get("explanation")
    if explanation is not None:
        explanation.give_reason(op, reason)
    return op
