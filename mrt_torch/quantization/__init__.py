"""From features to integers: buffers, quantizers, requantization, precision."""

from mrt_torch.quantization.buffers import Buffer, SBuffer, SLBuffer, SZBuffer, get_buffer
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import cvm_float, get_bit, get_bit_cnt, get_range, int_realize, scale
from mrt_torch.quantization.quantizers import (
    GroupConvQuant,
    Quantizer,
    UAQuantizer,
    USQuantizer,
    get_quantizer,
    register_quantizer,
)
from mrt_torch.quantization.requant import realize, requant, requant_operator, requant_parameter
from mrt_torch.quantization.requantize import RequantizationRule, Rescaling, choose_rescaling
from mrt_torch.quantization.settings import DEFAULT_OPERATOR_PRECISIONS, QuantizationSettings

__all__ = [
    "DEFAULT_OPERATOR_PRECISIONS", "Buffer", "GroupConvQuant", "QuantizationContext", "QuantizationSettings",
    "Quantized", "Quantizer", "RequantizationRule", "Rescaling", "SBuffer", "SLBuffer", "SZBuffer", "UAQuantizer",
    "USQuantizer", "choose_rescaling", "cvm_float", "get_bit", "get_bit_cnt", "get_buffer", "get_quantizer",
    "get_range", "int_realize", "realize", "register_quantizer", "requant", "requant_operator", "requant_parameter",
    "scale",
]
