"""Converters of MXNet operators to ATen operators, one family of operators per file."""

from bridges.mxnet.converters import (
    activation,
    attention,
    comparison,
    constant,
    convolution,
    deconvolution,
    detection,
    elementwise,
    embedding,
    identity,
    linear,
    loss,
    mathematical,
    matrix_product,
    normalization,
    pooling,
    rearrangement,
    reduction,
    repetition,
    resizing,
    rounding,
    scalar,
    selection,
    sequence,
    shape,
    slicing,
    softmax,
)

__all__ = [
    "activation", "attention", "comparison", "constant", "convolution", "deconvolution", "detection", "elementwise",
    "embedding", "identity", "linear", "loss", "mathematical", "matrix_product", "normalization", "pooling",
    "rearrangement", "reduction", "repetition", "resizing", "rounding", "scalar", "selection", "sequence", "shape",
    "slicing", "softmax",
]
