"""Whole-graph passes, one verb a file."""

from mrt_torch.passes.fuse_constant import fuse_constant
from mrt_torch.passes.fuse_functions import fuse_functions
from mrt_torch.passes.fuse_multiple_inputs import fuse_multiple_inputs, name_input
from mrt_torch.passes.fuse_multiple_outputs import fuse_multiple_outputs
from mrt_torch.passes.merge_axes import merge_axes
from mrt_torch.passes.prepare import prepare
from mrt_torch.passes.prepare_for_compile import prepare_for_compile
from mrt_torch.passes.quantize import quantize
from mrt_torch.passes.simplify import Simplification, simplify
from mrt_torch.passes.split import merge, split
from mrt_torch.passes.transformers import fuse_transpose, rewrite
from mrt_torch.passes.validate import unsupported, validate

__all__ = ["Simplification", "fuse_constant", "fuse_functions", "fuse_multiple_inputs", "fuse_multiple_outputs",
           "fuse_transpose", "merge", "merge_axes", "name_input", "prepare", "prepare_for_compile", "quantize",
           "rewrite", "simplify", "split", "unsupported", "validate"]
