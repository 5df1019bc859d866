"""Operator classes: what each float operator becomes in every pass."""

from mrt_torch.ops.activation import Clip, Dropout, LeakyReLU, Relu
from mrt_torch.ops.convolution import Convolution
from mrt_torch.ops.elementwise import (
    Abs,
    BroadcastAdd,
    BroadcastDiv,
    BroadcastMul,
    BroadcastSub,
    Maximum,
    Minimum,
    Negative,
)
from mrt_torch.ops.inputs import Null
from mrt_torch.ops.linear import FullyConnected
from mrt_torch.ops.normalization import BatchNorm
from mrt_torch.ops.pooling import AdaptiveAveragePooling, AveragePooling, Pooling
from mrt_torch.ops.reduction import Max, Mean, Sum
from mrt_torch.ops.registry import TRANSFORMERS, apply_pass, register_pass, register_transformer
from mrt_torch.ops.scalar import DivScalar, MinusScalar, MulScalar, PlusScalar, ReverseMinusScalar
from mrt_torch.ops.shape import ExpandDims, Flatten, Reshape, Squeeze
from mrt_torch.ops.slicing import Concat, Pad, Slice
from mrt_torch.ops.softmax import Softmax
from mrt_torch.ops.table import Activation, Elu, Exp, Sigmoid, Tanh
from mrt_torch.ops.transformer import Transformer
from mrt_torch.ops.transposition import Transpose, reverse_transpose

ElemwiseAdd, ElemwiseSub, ElemwiseMul = BroadcastAdd, BroadcastSub, BroadcastMul

__all__ = [
    "TRANSFORMERS", "Abs", "Activation", "AdaptiveAveragePooling", "AveragePooling", "BatchNorm", "BroadcastAdd",
    "BroadcastDiv", "BroadcastMul", "BroadcastSub", "Clip", "Concat", "Convolution", "DivScalar", "Dropout",
    "ElemwiseAdd", "ElemwiseMul", "ElemwiseSub", "Elu", "Exp", "ExpandDims", "Flatten", "FullyConnected",
    "LeakyReLU", "Max", "Maximum", "Mean", "Minimum", "MinusScalar", "MulScalar", "Negative", "Null", "Pad",
    "PlusScalar", "Pooling", "Relu", "Reshape", "ReverseMinusScalar", "Sigmoid", "Slice", "Softmax", "Squeeze",
    "Sum", "Tanh", "Transformer", "Transpose", "apply_pass", "register_pass", "register_transformer",
    "reverse_transpose",
]
