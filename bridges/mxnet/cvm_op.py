"""The CVM's own operators as MXNet ``Custom`` operators; importing this module registers them.

All of them round their inputs first, half away from zero, then compute on integers held in floating point:
exactly so in float64. With R = 2**(precision - 1) - 1:

====================  ============================================================================
``cvm_clip``          ``clamp(x, -R, R)``
``cvm_left_shift``    ``clamp(x * 2**shift_bit, -R, R)``
``cvm_right_shift``   ``clamp(floor((floor(x / 2**(shift_bit - 1)) + 1) / 2), -R, R)``: ties to plus infinity
``cvm_lut``           ``table[clamp(x, 0, in_dim - 1), 0]``, for a table of shape (in_dim, 1)
====================  ============================================================================

Source: the interface and formulas of ``mrt.cvm_op`` in the documentation of MRT 1. Its text gives
2**precision as the bound; its code, and the CVM runtime, use R.
"""

from __future__ import annotations

import functools
from typing import Any, NoReturn

from bridges.mxnet.installation import import_mxnet
from mrt_torch.errors import InvalidArgumentError

mx = import_mxnet()

__all__ = ["LUT", "Clip", "ClipProp", "LUTProp", "LeftShift", "LeftShiftProp", "RightShift", "RightShiftProp",
           "register_cvm_operators"]


class _InferenceOperator(mx.operator.CustomOp):
    """An operator without gradients."""

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux) -> NoReturn:
        """Refused: integers have no gradients."""
        raise InvalidArgumentError("CVM operators have no gradient", where=type(self).__name__,
                                   remedy="train the float model, and quantize it again")


class _Clamping(_InferenceOperator):
    """Rounds, computes, clamps to the precision and stores."""

    def __init__(self, precision: int, **kwargs: Any):
        super().__init__(**kwargs)
        if not 1 <= precision <= 32:
            raise InvalidArgumentError(f"precision {precision} is not in 1..32", where=type(self).__name__,
                                       remedy="give a precision from 1 to 32")
        self.bound = 2 ** (precision - 1) - 1

    def forward(self, is_train, req, in_data, out_data, aux) -> None:
        """Compute ``out_data[0]`` from ``in_data[0]``, of the same shape and dtype."""
        values = self.compute(mx.nd.round(in_data[0]))
        # mx.nd.clip keeps its bounds in float32, which cannot hold 2**31 - 1.
        self.assign(out_data[0], req[0], mx.nd.minimum(mx.nd.maximum(values, -self.bound), self.bound))

    def compute(self, values: Any) -> Any:
        """The integers before clamping."""
        return values


class _Shifting(_Clamping):
    def __init__(self, precision: int, shift_bit: int, **kwargs: Any):
        super().__init__(precision, **kwargs)
        if not 1 <= shift_bit <= 32:
            raise InvalidArgumentError(f"shift_bit {shift_bit} is not in 1..32", where=type(self).__name__,
                                       remedy="give a shift_bit from 1 to 32")
        self.shift_bit = shift_bit


class Clip(_Clamping):
    """``clamp(x, -R, R)``."""


class LeftShift(_Shifting):
    """``clamp(x * 2**shift_bit, -R, R)``."""

    def compute(self, values: Any) -> Any:
        return values * 2 ** self.shift_bit


class RightShift(_Shifting):
    """``clamp(floor((floor(x / 2**(shift_bit - 1)) + 1) / 2), -R, R)``."""

    def compute(self, values: Any) -> Any:
        if self.shift_bit > 1:
            values = mx.nd.floor(values / 2 ** (self.shift_bit - 1))
        return mx.nd.floor((values + 1) / 2)


class LUT(_InferenceOperator):
    """``table[clamp(x, 0, in_dim - 1), 0]``."""

    def __init__(self, in_dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.in_dim = in_dim

    def forward(self, is_train, req, in_data, out_data, aux) -> None:
        """Look the indices ``in_data[0]`` up in the table ``in_data[1]``."""
        indices, table = in_data
        self.assign(out_data[0], req[0], mx.nd.take(table.reshape((-1,)), mx.nd.round(indices), mode="clip"))


class _ShiftProp(mx.operator.CustomOpProp):
    """One input, one output of its shape; attributes arrive as texts."""

    def __init__(self, precision: int | str = 8, shift_bit: int | str = 0):
        super().__init__(need_top_grad=False)
        self.precision, self.shift_bit = int(precision), int(shift_bit)

    def list_arguments(self) -> list[str]:
        return ["data"]

    def infer_shape(self, in_shape):
        return [in_shape[0]], [in_shape[0]], []


class ClipProp(_ShiftProp):
    """``cvm_clip``; ``shift_bit`` is not used."""

    def create_operator(self, ctx, shapes, dtypes) -> Clip:
        return Clip(self.precision)


class LeftShiftProp(_ShiftProp):
    """``cvm_left_shift``."""

    def create_operator(self, ctx, shapes, dtypes) -> LeftShift:
        return LeftShift(self.precision, self.shift_bit)


class RightShiftProp(_ShiftProp):
    """``cvm_right_shift``."""

    def create_operator(self, ctx, shapes, dtypes) -> RightShift:
        return RightShift(self.precision, self.shift_bit)


class LUTProp(mx.operator.CustomOpProp):
    """``cvm_lut``: indices of any shape and a table of shape (in_dim, 1)."""

    def __init__(self, in_dim: int | str):
        super().__init__(need_top_grad=False)
        self.in_dim = int(in_dim)

    def list_arguments(self) -> list[str]:
        return ["data", "table"]

    def infer_shape(self, in_shape):
        return [in_shape[0], (self.in_dim, 1)], [in_shape[0]], []

    def create_operator(self, ctx, shapes, dtypes) -> LUT:
        return LUT(self.in_dim)


@functools.cache
def register_cvm_operators() -> None:
    """Make the four Custom operators known to MXNet; once per process."""
    for name, prop in (("cvm_clip", ClipProp), ("cvm_left_shift", LeftShiftProp),
                       ("cvm_right_shift", RightShiftProp), ("cvm_lut", LUTProp)):
        mx.operator.register(name)(prop)


register_cvm_operators()
