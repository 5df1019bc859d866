"""The graph API of MRT GEN under its documented names. (``mrt.V2.tfm_pass``.)

    model.prepare(shape)
    cfg_dict = deserialize({"re:conv.*": {"opt_info": {"opt_type": "KLDivergence"}}})
    cfg_dict = sym_config_infos(model, None, cfg_dict)
    symbol, params = sym_slice_channel(model, None, cfg_dict)
    features = sym_calibrate(symbol, params, data, cfg_dict)
    precs, buffers = {}, {}
    symbol, params = quantize(symbol, params, features, precs, buffers, cfg_dict, {}, set(), 8, 10.0)

A symbol is a prepared Model or its GraphModule, and the same kind comes back; params maps names to tensors.
"""

from mrt_torch.configuration import deserialize
from mrt_torch.passes.calibrate import sym_calibrate
from mrt_torch.passes.configure import sym_config_infos
from mrt_torch.passes.quantize_symbol import quantize
from mrt_torch.passes.separate_bias import sym_separate_bias
from mrt_torch.passes.separate_pad import sym_separate_pad
from mrt_torch.passes.slice_channel import sym_slice_channel

__all__ = ["deserialize", "quantize", "sym_calibrate", "sym_config_infos", "sym_separate_bias", "sym_separate_pad",
           "sym_slice_channel"]
