"""The passes of Model.prepare, in order."""

from __future__ import annotations

import logging

from torch import fx

from mrt_torch.graph.finite import check_finite
from mrt_torch.graph.runner import run_passes
from mrt_torch.graph.shapes import check_free_batch
from mrt_torch.graph.stage import Stage
from mrt_torch.passes.fuse_constant import fuse_constant
from mrt_torch.passes.fuse_multiple_inputs import fuse_multiple_inputs, name_input
from mrt_torch.passes.fuse_multiple_outputs import fuse_multiple_outputs
from mrt_torch.passes.transformers import fuse_transpose, rewrite
from mrt_torch.passes.validate import validate

logger = logging.getLogger(__name__)

# Splits become slices and constants fold before validate looks, so that it judges what is really left. Transposes
# are fused before rewrite, which turns pooling and activations into operators they cannot pass, and once more after
# it, because rewrite uncovers neighbours.
PASSES = (
    (fuse_multiple_inputs, Stage.SOURCE),
    (name_input, Stage.SOURCE),
    (fuse_multiple_outputs, Stage.SOURCE),
    (fuse_constant, Stage.SOURCE),
    (validate, Stage.FLOAT),
    (fuse_transpose, Stage.FLOAT),
    (rewrite, Stage.FLOAT),
    (fuse_transpose, Stage.FLOAT),
    (fuse_constant, Stage.FLOAT),
)


def prepare(module: fx.GraphModule) -> fx.GraphModule:
    """Run all passes on a copy that shares the tensors; the given module stays as it is.

    Raises:
        UnsupportedOperatorError: an operator cannot be quantized; all such are listed.
        InvalidGraphError: parameters hold NaN or infinity; all such are listed.
    """
    check_finite(module)
    prepared = run_passes(module, PASSES).module
    if not check_free_batch(prepared):
        logger.warning("the graph works for the batch it was prepared for only: an operator moves or fixes axis 0")
    check_finite(prepared, "they became so when constants were folded: look for a negative variance or a zero divisor")
    return prepared
