"""The integer dialect: one torch operator for each operator of the CVM, exact on int32.

Importing this package defines ``torch.ops.cvm.*``: the 37 operators of the CVM, and composite ones, which
``prepare_for_compile`` replaces by those.
"""

from __future__ import annotations

from mrt_torch.cvm import (  # noqa: F401  each registers its operators
    clipping,
    composite,
    detection,
    elementwise,
    linear,
    lookup,
    movement,
    pooling,
    reduction,
    shape,
)
from mrt_torch.cvm.analysis import analyse, analyse_node, call_of, constant_of, selected_output
from mrt_torch.cvm.gas import gas
from mrt_torch.cvm.interval import Interval, bits_for, precision_range
from mrt_torch.cvm.operator import MAXIMUM_PRECISION, OPERATORS, Call, CvmOperator, Operand
from mrt_torch.cvm.verify import reasons_against, verify

__all__ = ["MAXIMUM_PRECISION", "OPERATORS", "Call", "CvmOperator", "Interval", "Operand", "analyse",
           "analyse_node", "bits_for", "call_of", "constant_of", "gas", "precision_range", "reasons_against",
           "selected_output", "verify"]
