"""Whole-graph passes, one verb a file."""

from mrt_torch.configuration import deserialize
from mrt_torch.passes.absorb_high_biases import absorb_high_biases
from mrt_torch.passes.calibrate import sym_calibrate
from mrt_torch.passes.configure import sym_config_infos
from mrt_torch.passes.equalize_channels import equalize_channels
from mrt_torch.passes.fuse_constant import fuse_constant
from mrt_torch.passes.fuse_functions import fuse_functions
from mrt_torch.passes.fuse_multiple_inputs import fuse_multiple_inputs, name_input
from mrt_torch.passes.fuse_multiple_outputs import fuse_multiple_outputs
from mrt_torch.passes.merge_axes import merge_axes
from mrt_torch.passes.prepare import prepare
from mrt_torch.passes.prepare_for_compile import prepare_for_compile
from mrt_torch.passes.quantize import quantize
from mrt_torch.passes.separate_bias import sym_separate_bias
from mrt_torch.passes.separate_pad import sym_separate_pad
from mrt_torch.passes.simplify import Simplification, simplify
from mrt_torch.passes.slice_channel import sym_slice_channel
from mrt_torch.passes.split import merge, split
from mrt_torch.passes.transformers import fuse_transpose, rewrite
from mrt_torch.passes.validate import unsupported, validate

__all__ = ["Simplification", "absorb_high_biases", "deserialize", "equalize_channels", "fuse_constant",
           "fuse_functions", "fuse_multiple_inputs", "fuse_multiple_outputs", "fuse_transpose", "merge", "merge_axes",
           "name_input", "prepare", "prepare_for_compile", "quantize", "rewrite", "simplify", "split", "sym_calibrate",
           "sym_config_infos", "sym_separate_bias", "sym_separate_pad", "sym_slice_channel", "unsupported", "validate"]
