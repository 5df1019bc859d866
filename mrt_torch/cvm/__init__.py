"""The integer dialect: one torch operator for each operator of the CVM, exact on int32.

Importing this package defines ``torch.ops.cvm.*``. Left out are the two detection operators of the CVM,
``get_valid_counts`` and ``non_max_suppression``.
"""

from __future__ import annotations

from mrt_torch.cvm import (  # noqa: F401  each registers its operators
    clipping,
    elementwise,
    linear,
    lookup,
    movement,
    pooling,
    reduction,
    shape,
)
from mrt_torch.cvm.analysis import analyse, analyse_node, call_of, constant_of
from mrt_torch.cvm.gas import gas
from mrt_torch.cvm.interval import Interval, bits_for, precision_range
from mrt_torch.cvm.operator import MAXIMUM_PRECISION, OPERATORS, Call, CvmOperator, Operand
from mrt_torch.cvm.verify import reasons_against, verify

__all__ = ["MAXIMUM_PRECISION", "OPERATORS", "Call", "CvmOperator", "Interval", "Operand", "analyse",
           "analyse_node", "bits_for", "call_of", "constant_of", "gas", "precision_range", "reasons_against",
           "verify"]
