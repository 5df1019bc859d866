"""Quantizers: how a feature and a precision become a scale. (MRT GEN, ``tfm_types``.)"""

from __future__ import annotations

import numpy as np
import torch
from torch import fx

from mrt_torch.calibration.features import AFeature, Feature
from mrt_torch.cvm.interval import Interval
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.quantization import precision as numbers
from mrt_torch.quantization.buffers import SBuffer
from mrt_torch.quantization.context import QuantizationContext


class Quantizer:
    """Base of quantizers."""

    def sample(self, data: torch.Tensor | np.ndarray) -> Feature:
        """The feature of a tensor."""
        raise TypeError(f"{type(self).__name__} does not define sample")

    def get_range(self, prec: int) -> tuple[int, int]:
        """Smallest and largest integer of a precision."""
        raise TypeError(f"{type(self).__name__} does not define get_range")

    def get_prec(self, val: float) -> int:
        """Bits that hold a value."""
        raise TypeError(f"{type(self).__name__} does not define get_prec")

    def get_scale(self, oprec: int, ft: Feature) -> float:
        """Scale that fills a precision with a feature."""
        raise TypeError(f"{type(self).__name__} does not define get_scale")


class USQuantizer(Quantizer):
    """Uniform symmetric: integers in +-(2**(prec - 1) - 1), one scale, zero is zero."""

    def sample(self, data: torch.Tensor | np.ndarray) -> AFeature:
        values = torch.as_tensor(data)
        if values.numel() == 0:
            raise InvalidArgumentError("an empty tensor has no feature",
                                       remedy="pass a tensor with at least one element")
        return AFeature(float(values.to(torch.float64).abs().max()))

    def get_range(self, prec: int) -> tuple[int, int]:
        bound = numbers.get_range(prec)
        return -bound, bound

    def get_prec(self, val: float) -> int:
        return numbers.get_bit(val)

    def get_scale(self, oprec: int, ft: Feature) -> float:
        """range / threshold, 1 for a zero threshold."""
        return numbers.scale(ft.get_threshold(), oprec)

    def int_realize(self, data: torch.Tensor | np.ndarray, prec: int) -> tuple[torch.Tensor, int]:
        """Integers nearest to ``data`` (ties away from zero) within ``prec`` bits, and the bits they need."""
        integers = numbers.int_realize(data, prec)
        return integers, Interval.of_tensor(integers).precision

    def quantize(self, node: fx.Node, oprec: int, oscale: float | None = None, *, context: QuantizationContext
                 ) -> tuple[fx.Node, int, SBuffer]:
        """Emit the integers of a float node, parameter or activation: ``(node, precision, buffer)``."""
        quantized = context.requantize(node, oprec, oscale)
        return quantized.node, quantized.precision, SBuffer(quantized.scale)
