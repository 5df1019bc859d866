"""The passes of Model.prepare, in order."""

from __future__ import annotations

import logging
from functools import partial

from torch import fx

from mrt_torch.graph.finite import check_finite
from mrt_torch.graph.free_axis import is_batch_free
from mrt_torch.graph.runner import run_passes
from mrt_torch.graph.stage import Stage
from mrt_torch.passes.fuse_constant import fuse_constant
from mrt_torch.passes.fuse_functions import fuse_functions
from mrt_torch.passes.fuse_multiple_inputs import fuse_multiple_inputs, name_input
from mrt_torch.passes.fuse_multiple_outputs import fuse_multiple_outputs
from mrt_torch.passes.merge_axes import merge_axes
from mrt_torch.passes.simplify import Simplification, simplify
from mrt_torch.passes.validate import validate

logger = logging.getLogger(__name__)

# Splits become slices, constants fold and, after these, functions of one tensor are gathered before validate looks, so
# that it judges what is really left.
INPUT_PASSES = (
    (fuse_multiple_inputs, Stage.SOURCE),
    (name_input, Stage.SOURCE),
)
SOURCE_PASSES = (
    (fuse_multiple_outputs, Stage.SOURCE),
    (fuse_constant, Stage.SOURCE),
    (merge_axes, Stage.SOURCE),
)


def prepare(module: fx.GraphModule, report: Simplification | None = None, join_inputs: bool = True) -> fx.GraphModule:
    """Run all passes on a copy that shares the tensors; the given module stays as it is.

    ``report`` is told what the rewriting rules did. Without ``join_inputs`` the graph keeps its inputs and their names,
    as the upper half of a split model does.

    Raises:
        UnsupportedOperatorError: an operator cannot be quantized; all such are listed.
        InvalidGraphError: parameters hold NaN or infinity; all such are listed.
    """
    check_finite(module)
    passes = (*(INPUT_PASSES if join_inputs else ()), *SOURCE_PASSES,
              (partial(fuse_functions, explanation=report and report.fuse_functions), Stage.SOURCE),
              (validate, Stage.FLOAT), (partial(simplify, report=report), Stage.FLOAT))
    prepared = run_passes(module, passes).module
    if not is_batch_free(prepared):
        logger.warning("an output does not follow the batch on axis 0: unless that is meant (time-major, a constant), "
                       "an operator fixes or splits that axis, and the graph works for this batch only")
    check_finite(prepared, "they became so when constants were folded: look for a negative variance or a zero divisor")
    return prepared
