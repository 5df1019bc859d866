"""The CVM's own operators as MXNet ``Custom`` operators; importing this module registers them.

All of them round their inputs first, half away from zero, then compute on integers held in floating point:
exactly so in float64. With R = 2**(precision - 1) - 1:

====================  ============================================================================
``cvm_clip``          ``clamp(x, -R, R)``
``cvm_left_shift``    ``clamp(x * 2**shift_bit, -R, R)``
``cvm_right_shift``   ``clamp(floor((floor(x / 2**(shift_bit - 1)) + 1) / 2), -R, R)``: ties to plus infinity
``cvm_lut``           ``table[clamp(x, 0, in_dim - 1), 0]``, for a table of shape (in_dim, 1)
====================  ============================================================================

``cvm_get_valid_counts`` and ``cvm_non_max_suppression`` compute what ``torch.ops.cvm`` does under these names: MXNet's
own ``_contrib_box_nms`` compares overlaps in floating point, beyond a threshold and not from it on.

Source: the interface and formulas of ``mrt.cvm_op`` in the documentation of MRT 1. Its text gives
2**precision as the bound; its code, and the CVM runtime, use R. The operators on detections are additions.
"""

from __future__ import annotations

import functools
from typing import Any, NoReturn

import numpy as np
import torch

from bridges.mxnet.installation import import_mxnet
from mrt_torch.cvm import OPERATORS
from mrt_torch.errors import InvalidArgumentError

mx = import_mxnet()

__all__ = ["LUT", "Clip", "ClipProp", "Detection", "LUTProp", "LeftShift", "LeftShiftProp", "NonMaxSuppressionProp",
           "RightShift", "RightShiftProp", "ValidCountsProp", "register_cvm_operators"]


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


class Detection(_InferenceOperator):
    """``torch.ops.cvm.<operator>`` on rounded inputs, in the memory of the host."""

    def __init__(self, operator: str, attributes: dict[str, Any], **kwargs: Any):
        super().__init__(**kwargs)
        self.operator, self.attributes = operator, attributes

    def forward(self, is_train, req, in_data, out_data, aux) -> None:
        """Compute all outputs from all inputs; they hold 32-bit integers."""
        arrays = [mx.nd.round(array).asnumpy().astype(np.int32) for array in in_data]
        results = OPERATORS[self.operator].kernel(*map(torch.from_numpy, arrays), **self.attributes)
        results = (results,) if isinstance(results, torch.Tensor) else results
        for output, request, result in zip(out_data, req, results, strict=True):
            self.assign(output, request, mx.nd.array(result.numpy(), ctx=output.context, dtype=output.dtype))


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


class ValidCountsProp(mx.operator.CustomOpProp):
    """``cvm_get_valid_counts``: counts (B,) and rows (B, N, K) of rows (B, N, K)."""

    def __init__(self, score_threshold: int | str = 0):
        super().__init__(need_top_grad=False)
        self.attributes = {"score_threshold": int(score_threshold)}

    def list_arguments(self) -> list[str]:
        return ["data"]

    def list_outputs(self) -> list[str]:
        return ["counts", "rows"]

    def infer_shape(self, in_shape):
        return in_shape, [in_shape[0][:1], in_shape[0]], []

    def create_operator(self, ctx, shapes, dtypes) -> Detection:
        return Detection("get_valid_counts", self.attributes)


class NonMaxSuppressionProp(mx.operator.CustomOpProp):
    """``cvm_non_max_suppression``: rows (B, N, 6) of rows (B, N, 6) and counts (B,)."""

    def __init__(self, iou_threshold: int | str = 50, force_suppress: bool | str = False, top_k: int | str = -1,
                 max_output_size: int | str = -1):
        super().__init__(need_top_grad=False)
        self.attributes = {"iou_threshold": int(iou_threshold), "force_suppress": str(force_suppress) in ("True", "1"),
                           "top_k": int(top_k), "max_output_size": int(max_output_size)}

    def list_arguments(self) -> list[str]:
        return ["data", "valid_count"]

    def infer_shape(self, in_shape):
        return [in_shape[0], in_shape[0][:1]], [in_shape[0]], []

    def create_operator(self, ctx, shapes, dtypes) -> Detection:
        return Detection("non_max_suppression", self.attributes)


@functools.cache
def register_cvm_operators() -> None:
    """Make the Custom operators known to MXNet; once per process."""
    for name, prop in (("cvm_clip", ClipProp), ("cvm_left_shift", LeftShiftProp),
                       ("cvm_right_shift", RightShiftProp), ("cvm_lut", LUTProp),
                       ("cvm_get_valid_counts", ValidCountsProp), ("cvm_non_max_suppression", NonMaxSuppressionProp)):
        mx.operator.register(name)(prop)


register_cvm_operators()
