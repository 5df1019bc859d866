"""From features to integers: buffers, quantizers, requantization, precision."""

from mrt_torch.quantization.buffers import Buffer, SBuffer, SLBuffer, SZBuffer, get_buffer
from mrt_torch.quantization.context import QuantizationContext, Quantized
from mrt_torch.quantization.precision import cvm_float, get_bit, get_bit_cnt, get_range, int_realize, scale
from mrt_torch.quantization.quantizers import Quantizer, USQuantizer
from mrt_torch.quantization.requant import realize, requant, requant_operator, requant_parameter
from mrt_torch.quantization.requantize import RequantizationRule, Rescaling, choose_rescaling
from mrt_torch.quantization.settings import DEFAULT_OPERATOR_PRECISIONS, QuantizationSettings

__all__ = [
    "DEFAULT_OPERATOR_PRECISIONS", "Buffer", "QuantizationContext", "QuantizationSettings", "Quantized", "Quantizer",
    "RequantizationRule", "Rescaling", "SBuffer", "SLBuffer", "SZBuffer", "USQuantizer", "choose_rescaling",
    "cvm_float", "get_bit", "get_bit_cnt", "get_buffer", "get_range", "int_realize", "realize", "requant",
    "requant_operator", "requant_parameter", "scale",
]
