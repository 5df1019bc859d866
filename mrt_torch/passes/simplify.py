"""Runs the rules of all operators until none of them fires."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from torch import fx

from mrt_torch.errors import InvalidGraphError
from mrt_torch.ops.explanation import Explanation
from mrt_torch.passes.fuse_constant import fuse_constant
from mrt_torch.passes.transformers import fuse_transpose, rewrite

logger = logging.getLogger(__name__)
MOST_ROUNDS = 20


@dataclass
class Simplification:
    """What the rewriting rules did to a graph.

    Attributes:
        fuse_functions: the functions of one tensor that became one operator, before validation.
        fuse_transpose, rewrite: what the rules of these passes did.
        constants: operators on constants that were folded.
        rounds: how often all three passes ran; none of them fired in the last.
    """

    fuse_functions: Explanation = field(default_factory=Explanation)
    fuse_transpose: Explanation = field(default_factory=Explanation)
    rewrite: Explanation = field(default_factory=Explanation)
    constants: int = 0
    rounds: int = 0

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"rounds": self.rounds, "fuse_constant": self.constants,
                "fuse_functions": self.fuse_functions.to_json(),
                "fuse_transpose": self.fuse_transpose.to_json(), "rewrite": self.rewrite.to_json()}


def simplify(module: fx.GraphModule, report: Simplification | None = None) -> int:
    """Alternate fuse_transpose, rewrite and fuse_constant until a round changes nothing; returns the firings.

    Transposes are fused before rewrite, which turns pooling and activations into operators they cannot pass, and again
    after it, because rewrite uncovers neighbours.

    Raises:
        InvalidGraphError: it does not end, because a Transformer added by the user undoes what another one does.
    """
    total = 0
    for round_number in range(1, MOST_ROUNDS + 1):
        transposes = fuse_transpose(module, report and report.fuse_transpose)
        rewritten = rewrite(module, report and report.rewrite)
        constants = fuse_constant(module)
        if report is not None:
            report.constants += constants
            report.rounds = round_number
        logger.info("round %d: fuse_transpose fired %d times, rewrite %d, fuse_constant %d", round_number, transposes,
                    rewritten, constants)
        if not transposes + rewritten + constants:
            return total
        total += transposes + rewritten + constants
    raise InvalidGraphError("the rewriting rules reach no fixed point together",
                            why=f"they still fire after {MOST_ROUNDS} rounds",
                            remedy="a registered Transformer undoes what another one does")
