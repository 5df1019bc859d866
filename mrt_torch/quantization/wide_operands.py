"""Which convolutions and dense layers take operands of more than 8 bits, for a budget of extra operations."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from mrt_torch.quantization.operands import PART_BITS
from mrt_torch.quantization.sensitivity import SensitivityTable
from mrt_torch.quantization.weighted_sum import widest_beside

if TYPE_CHECKING:
    from mrt_torch.quantization.context import QuantizationContext

NEGLIGIBLE = 1e-3  # of all noise


def may_be_wider(context: QuantizationContext) -> set[str]:
    """Names of the weighted sums of a context whose operand would gain by more than 8 bits.

    Not those whose operand has 8 bits at most, as the graph's input most often has and what is picked from it, whose
    sum fits no more, or whose precision is set already.
    """
    return {op.name for op, sums in context.weighted_sums.items()
            if op.name not in context.settings.node_precisions and len(sums.data.parts) == 1
            and not context.is_constant(op.args[0]) and context.held(op.args[0]).value_range.precision > PART_BITS
            and widest_beside(context, op.args[1]) > PART_BITS}


def choose_wide_operands(rows: SensitivityTable, candidates: Collection[str], budget: float, bits: int
                         ) -> dict[str, int]:
    """Bits of the operands worth more than 8, by fx node name.

    A wide operand costs its node's multiply-accumulates once more and takes away the noise of its operand. Nodes are
    taken by noise for each operation, most first, as long as they fit what is left of the budget; those whose noise is
    below a thousandth of all noise are not.

    Args:
        rows: the sensitivities.
        candidates: the nodes to choose from, see ``may_be_wider``.
        budget: share of the network's multiply-accumulates that may be spent in addition.
        bits: of a wide operand.
    """
    least = NEGLIGIBLE * sum(row.isolated for row in rows)
    worth = [row for row in rows if row.operand > least and row.node in candidates and row.share > 0]
    chosen: dict[str, int] = {}
    for row in sorted(worth, key=lambda row: (-row.operand / row.share, row.node)):
        if row.share <= budget:
            budget -= row.share
            chosen[row.node] = bits
    return chosen
