"""Quantizers: how a feature and a precision become a scale. (MRT GEN, ``tfm_types``.)"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import fx

from mrt_torch.calibration.features import AFeature, ALFeature, Feature, MMFeature
from mrt_torch.calibration.raw_features import AFFINE, GROUPED, SYMMETRIC, raw_feature
from mrt_torch.cvm.interval import Interval
from mrt_torch.errors import InvalidArgumentError, PrecisionError
from mrt_torch.graph.facts import facts_of
from mrt_torch.named_classes import NamedClasses
from mrt_torch.quantization import precision as numbers
from mrt_torch.quantization.buffers import SBuffer, SLBuffer, SZBuffer
from mrt_torch.quantization.context import QuantizationContext
from mrt_torch.quantization.emitted import emit_affine, emit_grouped


class Quantizer:
    """Base of quantizers; a user's own is a subclass with a ``name``, registered by ``register_quantizer``."""

    #: Name in configurations.
    name: ClassVar[str]

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

    def int_realize(self, data: torch.Tensor | np.ndarray, prec: int, **kwargs: Any) -> tuple[torch.Tensor, int]:
        """Integers nearest to ``data`` within a precision, and the bits they need."""
        raise TypeError(f"{type(self).__name__} does not define int_realize")

    def quantize(self, sym: fx.Node, oprec: int, oscale: float | None = None, **kwargs: Any) -> tuple:
        """Emit the integers of a float node: the node, its precision and its buffer."""
        raise TypeError(f"{type(self).__name__} does not define quantize")


QUANTIZERS = NamedClasses("quantizer")
register_quantizer = QUANTIZERS.register


def get_quantizer(name: str = SYMMETRIC) -> Quantizer:
    """The quantizer called ``name``.

    Raises:
        InvalidArgumentError: there is none.
    """
    if not isinstance(name, str) or name not in QUANTIZERS:
        raise InvalidArgumentError(f"no quantizer is called {name!r}", remedy=f"known are {', '.join(QUANTIZERS)}")
    return QUANTIZERS[name]()


class SymmetricQuantizer(Quantizer):
    """Base of quantizers to integers in +-(2**(prec - 1) - 1), where zero is zero."""

    def get_range(self, prec: int) -> tuple[int, int]:
        bound = numbers.get_range(prec)
        return -bound, bound

    def get_prec(self, val: float) -> int:
        return numbers.get_bit(val)

    def get_scale(self, oprec: int, ft: Feature) -> float:
        """range / threshold, 1 for a zero threshold."""
        return numbers.scale(ft.get_threshold(), oprec)

    def int_realize(self, data: torch.Tensor | np.ndarray, prec: int, **kwargs: Any) -> tuple[torch.Tensor, int]:
        """Integers nearest to ``data`` (ties away from zero) within ``prec`` bits, and the bits they need.

        Raises:
            InvalidArgumentError: NaN, or a precision above 32.
        """
        integers = numbers.int_realize(data, prec)
        return integers, Interval.of_tensor(integers).precision


@register_quantizer
class USQuantizer(SymmetricQuantizer):
    """Uniform symmetric: one scale."""

    name = SYMMETRIC

    def sample(self, data: torch.Tensor | np.ndarray) -> AFeature:
        """The largest magnitude.

        Raises:
            InvalidArgumentError: an empty tensor, NaN or infinity.
        """
        return raw_feature(data, SYMMETRIC)

    def quantize(self, sym: fx.Node, oprec: int, oscale: float | None = None, *, context: QuantizationContext
                 ) -> tuple[fx.Node, int, SBuffer]:
        """Emit the integers of a float node, parameter or activation: ``(node, precision, buffer)``."""
        quantized = context.requantize(sym, oprec, oscale)
        return quantized.node, quantized.precision, SBuffer(quantized.scale)


@register_quantizer
class UAQuantizer(Quantizer):
    """Uniform affine: float = integer / scale + zero point, with unsigned integers from 0 to 2**prec - 1.

    The zero point is the smallest float value, in float.
    """

    name = AFFINE

    def sample(self, data: torch.Tensor | np.ndarray) -> MMFeature:
        """The smallest and the largest value.

        Raises:
            InvalidArgumentError: an empty tensor, NaN or infinity.
        """
        return raw_feature(data, AFFINE)

    def get_range(self, prec: int) -> tuple[int, int]:
        return 0, 2 * numbers.get_range(prec) + 1

    def get_prec(self, val: float) -> int:
        """Bits of an unsigned integer that holds ``val``: ``ceil(log2(val + 1))``, at least 1.

        Raises:
            PrecisionError: a value that is negative or not finite.
        """
        if not val >= 0 or not math.isfinite(val):
            raise PrecisionError("an unsigned precision holds finite values of at least 0", why=f"saw {val!r}",
                                 remedy="subtract the zero point first")
        return max(math.ceil(val).bit_length(), 1)

    def get_scale(self, oprec: int, ft: Feature) -> float:
        """(2**oprec - 1) / (maximum - minimum), 1 where both are the same."""
        low, high = ft.get_range()
        if low == high:
            return 1.0
        scale = self.get_range(oprec)[1] / (high - low)
        if not 0 < scale < math.inf:
            raise InvalidArgumentError("the values spread too little, or too much, for a finite scale",
                                       why=f"saw {low} to {high}", remedy="pass the range of the tensor's values")
        return scale

    def int_realize(self, data: torch.Tensor | np.ndarray, prec: int, **kwargs: Any) -> tuple[torch.Tensor, int]:
        """Integers nearest to ``data`` (ties up) in 0 ... 2**prec - 1, and the unsigned bits they need.

        Raises:
            InvalidArgumentError: NaN, or a precision above 31.
        """
        if self.get_range(prec)[1] >= 2 ** 31:
            raise InvalidArgumentError("unsigned integers have 31 bits at most", why=f"saw a precision of {prec}",
                                       remedy="pass a precision of at most 31")
        integers = numbers.int_realize(data, 32).clamp_(*self.get_range(prec))
        return integers, self.get_prec(int(integers.max()) if integers.numel() else 0)

    def realize_parameter(self, data: torch.Tensor | np.ndarray, prec: int) -> tuple[torch.Tensor, int, float, float]:
        """Integers of a parameter, int32, the unsigned bits they need, scale and zero point.

        Off by at most half a step, 0.5 / scale; a constant tensor is exact.

        Raises:
            InvalidArgumentError: see ``sample``.
        """
        feature = self.sample(data)
        scale = self.get_scale(prec, feature)
        integers, bits = self.int_realize((torch.as_tensor(data).to(torch.float64) - feature.minimum) * scale, prec)
        return integers, bits, scale, feature.minimum

    def quantize(self, sym: fx.Node, oprec: int, oscale: float | None = None, *, context: QuantizationContext
                 ) -> tuple[fx.Node, int, SZBuffer]:
        """Emit the integers of a float node: ``(node, precision, buffer)``, float = integer / scale + zero point.

        They lie in 0 ... 2**oprec - 1. The precision is the runtime's, whose integers are signed: a bit more. Without
        ``oscale`` they fill the range between the parameter's extremes, or the activation's calibrated ones; an
        activation of the range keeps its scale where it fits already. The zero point of an activation is whole in units
        of its integers, so that nothing but its rounding is lost. What is constant or all zero has the scale 1, or
        ``oscale``; an activation of one value has the range from zero to it.

        Raises:
            CalibrationError: an activation that was not calibrated.
            InvalidArgumentError: a precision above 30.
        """
        node, scale, zero_point = emit_affine(context, self, sym, oprec, oscale)
        return node, facts_of(node).precision, SZBuffer(scale, zero_point)


@register_quantizer
class GroupConvQuant(SymmetricQuantizer):
    """Uniform symmetric with a scale for each group of a grouped convolution."""

    name = GROUPED

    def sample(self, data: torch.Tensor | np.ndarray, *, groups: int | None = None, axis: int = 1) -> ALFeature:
        """The largest magnitude of each of ``groups`` slices of ``axis``: 1 for data, 0 for a weight.

        Without ``groups`` each index is a slice.

        Raises:
            InvalidArgumentError: see ``USQuantizer``; a number of groups that does not divide the axis.
        """
        return raw_feature(data, GROUPED, groups, axis)

    def get_scales(self, oprec: int, ft: Feature) -> tuple[float, ...]:
        """range / threshold of each group, 1 for a zero threshold."""
        ranges = ft.get_channel_ranges() or ([end] for end in ft.get_range())
        return tuple(numbers.scale(max(map(abs, ends)), oprec) for ends in zip(*ranges, strict=True))

    def realize_parameter(self, data: torch.Tensor | np.ndarray, prec: int, groups: int
                          ) -> tuple[torch.Tensor, int, tuple[float, ...]]:
        """Integers of a weight, int32, the bits they need, and the scale of each of ``groups`` slices of axis 0.

        Raises:
            InvalidArgumentError: see ``sample``.
        """
        scales = self.get_scales(prec, self.sample(data, groups=groups, axis=0))
        values = torch.as_tensor(data).to(torch.float64)
        factors = torch.tensor(scales, dtype=torch.float64).repeat_interleave(values.shape[0] // groups)
        return *self.int_realize(values * factors.reshape(-1, *[1] * (values.dim() - 1)), prec), scales

    def quantize(self, sym: fx.Node, oprec: int, oscale: float | None = None, *, context: QuantizationContext,
                 groups: int | None = None) -> tuple[fx.Node, int, SLBuffer]:
        """Emit the integers of a float node, with a scale for each group: ``(node, precision, buffer)``.

        Args:
            sym: a weight, whose groups are slices of axis 0, or an activation, of which they are slices of axis 1.
            oprec: bits of the integers.
            oscale: scale of all groups; None fills the precision with each. A group of zeros has the scale 1.
            context: that of the quantization.
            groups: how many; None gives each channel its scale, or each group that calibration knows.

        Raises:
            CalibrationError: an activation that was not calibrated.
            InvalidArgumentError: the groups do not divide the channels.
        """
        node, scales = emit_grouped(context, self, sym, oprec, oscale, groups)
        return node, facts_of(node).precision, SLBuffer(*scales)
