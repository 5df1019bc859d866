"""Converters of MXNet operators to ATen operators, one family of operators per file."""

from bridges.mxnet.converters import (
                                      activation,
                                      constant,
                                      convolution,
                                      deconvolution,
                                      elementwise,
                                      identity,
                                      linear,
                                      loss,
                                      normalization,
                                      pooling,
                                      reduction,
                                      scalar,
                                      shape,
                                      slicing,
                                      softmax,
)

__all__ = ["activation", "constant", "convolution", "deconvolution", "elementwise", "identity", "linear",
           "loss", "normalization", "pooling", "reduction", "scalar", "shape", "slicing", "softmax"]
