"""Operator classes: what each float operator becomes in every pass."""

from mrt_torch.ops.activation import Clip, Dropout, LeakyReLU, Relu
from mrt_torch.ops.activation_functions import (
    Elu,
    Gelu,
    Hardshrink,
    Hardswish,
    LogSigmoid,
    Mish,
    Sigmoid,
    Silu,
    SmoothL1,
    Softplus,
    Softsign,
    Tanh,
    Threshold,
)
from mrt_torch.ops.adaptive_pooling import AdaptiveAveragePooling
from mrt_torch.ops.cast import Cast
from mrt_torch.ops.choice import NumberWhere, Where, WhereNumber
from mrt_torch.ops.comparison import (
    BroadcastEqual,
    BroadcastGreater,
    BroadcastGreaterEqual,
    BroadcastLesser,
    BroadcastLesserEqual,
    BroadcastNotEqual,
    EqualScalar,
    GreaterEqualScalar,
    GreaterScalar,
    LesserEqualScalar,
    LesserScalar,
    NotEqualScalar,
)
from mrt_torch.ops.composition import Composition
from mrt_torch.ops.convolution import Convolution
from mrt_torch.ops.creation import Arange, OnesLike, ZerosLike
from mrt_torch.ops.custom import Custom
from mrt_torch.ops.deconvolution import Deconvolution
from mrt_torch.ops.detection import BipartiteMatching, BoxDecode, BoxIou, MultiBoxDetection
from mrt_torch.ops.detection_nms import BoxNms
from mrt_torch.ops.elementwise import (
    Abs,
    BroadcastAdd,
    BroadcastDiv,
    BroadcastMul,
    BroadcastSub,
    ElemwiseAdd,
    ElemwiseMul,
    ElemwiseSub,
    Maximum,
    Minimum,
    Negative,
    quantize_scale,
)
from mrt_torch.ops.embedding import Embedding, Take
from mrt_torch.ops.explanation import Explanation, decline
from mrt_torch.ops.extremes import Argmax, Argmin
from mrt_torch.ops.inputs import Null
from mrt_torch.ops.layer_normalization import GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from mrt_torch.ops.likeness import BroadcastLike, ReshapeLike, SliceLike
from mrt_torch.ops.linear import FullyConnected, _quantize_xwb
from mrt_torch.ops.logic import LogicalAnd, LogicalNot, LogicalOr, LogicalXor
from mrt_torch.ops.masked_softmax import MaskedSoftmax
from mrt_torch.ops.mathematical_functions import (
    Arccos,
    Arccosh,
    Arcsin,
    Arcsinh,
    Arctan,
    Arctanh,
    Cbrt,
    Cos,
    Cosh,
    Erf,
    Erfc,
    Exp,
    Expm1,
    Log,
    Log1p,
    Log2,
    Log10,
    Power,
    Rcbrt,
    Reciprocal,
    Remainder,
    Rsqrt,
    Sin,
    Sinh,
    Sqrt,
    Tan,
)
from mrt_torch.ops.matrix_product import BatchDot
from mrt_torch.ops.normalization import BatchNorm
from mrt_torch.ops.ordering import TopkIndices, TopkMask, TopkValues
from mrt_torch.ops.padding import BorderPad, Pad
from mrt_torch.ops.pooling import AveragePooling, Pooling
from mrt_torch.ops.reduction import Max, Mean, Min, Product, Sum, fuse_transpose_reduce
from mrt_torch.ops.registry import TRANSFORMERS, apply_pass, register_pass, register_transformer
from mrt_torch.ops.repetition import BroadcastTo, Repeat, Tile
from mrt_torch.ops.resizing import BicubicResize, BilinearResize, UpSampling
from mrt_torch.ops.rounding import Ceil, Fix, Floor, Rint, Round, RoundHalfEven, Sign
from mrt_torch.ops.scalar import DivScalar, MinusScalar, MulScalar, PlusScalar, ReverseMinusScalar
from mrt_torch.ops.selection import Gather, GatherNd
from mrt_torch.ops.shape import ExpandDims, Flatten, Reshape, Squeeze
from mrt_torch.ops.slicing import Concat, Reverse, Slice, SliceAxis, SliceChannel
from mrt_torch.ops.softmax import LogSoftmax, Softmax
from mrt_torch.ops.table import Activation, quantize_table
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import SwapAxis, Transpose, reverse_sequence, reverse_transpose
from mrt_torch.ops.vector_norm import Norm
from mrt_torch.ops.volumes import VolumeAveragePooling, VolumeConvolution, VolumeMaxPooling

_quantize_scale, _quantize_table = quantize_scale, quantize_table  # the names they have in MRT

__all__ = [
    "Abs", "Activation", "AdaptiveAveragePooling", "Arange", "Arccos", "Arccosh", "Arcsin", "Arcsinh", "Arctan",
    "Arctanh", "Argmax", "Argmin", "AveragePooling", "BatchDot", "BatchNorm", "BicubicResize", "BilinearResize",
    "BipartiteMatching", "BorderPad", "BoxDecode", "BoxIou", "BoxNms", "BroadcastAdd", "BroadcastDiv",
    "BroadcastEqual", "BroadcastGreater", "BroadcastGreaterEqual", "BroadcastLesser", "BroadcastLesserEqual",
    "BroadcastLike", "BroadcastMul", "BroadcastNotEqual", "BroadcastSub", "BroadcastTo", "Cast", "Cbrt", "Ceil",
    "Clip", "Composition", "Concat", "Convolution", "Cos", "Cosh", "Custom", "Deconvolution", "DivScalar", "Dropout",
    "ElemwiseAdd", "ElemwiseMul", "ElemwiseSub", "Elu", "Embedding", "EqualScalar", "Erf", "Erfc", "Exp",
    "ExpandDims", "Explanation", "Expm1", "Fix", "Flatten", "Floor", "FullyConnected", "Gather", "GatherNd", "Gelu",
    "GreaterEqualScalar", "GreaterScalar", "GroupNorm", "Hardshrink", "Hardswish", "InstanceNorm", "LayerNorm",
    "LeakyReLU", "LesserEqualScalar", "LesserScalar", "Log", "Log10", "Log1p", "Log2", "LogSigmoid", "LogSoftmax",
    "LogicalAnd", "LogicalNot", "LogicalOr", "LogicalXor", "MaskedSoftmax", "Max", "Maximum", "Mean", "Min",
    "Minimum", "MinusScalar", "Mish", "MulScalar", "MultiBoxDetection", "Negative", "Norm", "NotEqualScalar", "Null",
    "NumberWhere", "OnesLike", "Pad", "PlusScalar", "Pooling", "Power", "Product", "RMSNorm", "Rcbrt", "Reciprocal",
    "Relu", "Remainder", "Repeat", "Reshape", "ReshapeLike", "Reverse", "ReverseMinusScalar", "Rint", "Round",
    "RoundHalfEven", "Rsqrt", "Sigmoid", "Sign", "Silu", "Sin", "Sinh", "Slice", "SliceAxis", "SliceChannel",
    "SliceLike", "SmoothL1", "Softmax", "Softplus", "Softsign", "Sqrt", "Squeeze", "Sum", "SwapAxis", "TRANSFORMERS",
    "Take", "Tan", "Tanh", "Threshold", "Tile", "TopkIndices", "TopkMask", "TopkValues", "Transformer", "Transpose",
    "UpSampling", "VolumeAveragePooling", "VolumeConvolution", "VolumeMaxPooling", "Where", "WhereNumber",
    "ZerosLike", "_quantize_xwb", "apply_pass", "decline", "fuse_transpose_reduce", "quantize_table", "register_pass",
    "register_transformer", "reverse_sequence", "reverse_transpose",
]
