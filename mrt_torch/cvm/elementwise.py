"""CVM operators element by element, on one tensor or on two."""

from __future__ import annotations

import torch

from mrt_torch.cvm.attribute_text import reader
from mrt_torch.cvm.interval import Interval
from mrt_torch.cvm.operator import OPERATORS, Call, CvmOperator, same_precision
from mrt_torch.cvm.shape_rules import broadcast_shape, equal_shape, same_shape

UNARY = "(Tensor data) -> Tensor"
BINARY = "(Tensor lhs, Tensor rhs) -> Tensor"


def relu(data: torch.Tensor) -> torch.Tensor:
    """``max(x, 0)``."""
    return data.clamp(min=0)


def absolute(data: torch.Tensor) -> torch.Tensor:
    """``|x|``."""
    return data.abs()


def negative(data: torch.Tensor) -> torch.Tensor:
    """``-x``."""
    return -data


def cvm_precision(data: torch.Tensor) -> torch.Tensor:
    """Bit length of ``|x|``, at least 1."""
    powers = 2 ** torch.arange(31, dtype=torch.int32, device=data.device)
    # The bit length is the number of powers of two that are not greater.
    return torch.bucketize(data.abs(), powers, right=True, out_int32=True).clamp_(min=1)


def add(lhs: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
    """``lhs + rhs``."""
    return lhs + rhs


def subtract(lhs: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
    """``lhs - rhs``."""
    return lhs - rhs


def multiply(lhs: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
    """``lhs * rhs``."""
    return lhs * rhs


def divide(lhs: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
    """``trunc(lhs / rhs)``, rounded toward zero; 0 where ``rhs`` is 0."""
    zero = rhs == 0
    quotient = torch.div(lhs, rhs.masked_fill(zero, 1), rounding_mode="trunc")
    return quotient.masked_fill_(zero.expand(quotient.shape), 0)


def maximum(lhs: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
    """``max(lhs, rhs)``."""
    return torch.maximum(lhs, rhs)


def greater(lhs: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
    """1 where ``lhs > rhs``, else 0."""
    return (lhs > rhs).to(torch.int32)


def widest_precision(call: Call) -> int:
    """Largest precision of all operands."""
    return max(operand.precision for operand in call.operands)


def _sum_precision(call: Call) -> int:
    return widest_precision(call) + 1


def _product_precision(call: Call) -> int:
    return call.operands[0].precision + call.operands[1].precision


def _ranges(call: Call) -> list[Interval]:
    return [operand.value_range for operand in call.operands]


def _absolute_range(call: Call) -> Interval:
    values = call.operands[0].value_range
    if values.minimum <= 0 <= values.maximum:
        return Interval(0, values.magnitude)
    return values if values.minimum > 0 else -values


def _bit_length_range(call: Call) -> Interval:
    magnitudes = _absolute_range(call)
    return Interval(max(magnitudes.minimum.bit_length(), 1), max(magnitudes.maximum.bit_length(), 1))


def _quotient_range(call: Call) -> Interval:
    """The quotient is monotonic in the dividend, and in the divisor on either side of 0: its ends decide."""
    dividend, divisor = _ranges(call)
    divisors = {divisor.minimum, divisor.maximum} | {d for d in (-1, 0, 1)
                                                     if divisor.minimum <= d <= divisor.maximum}
    quotients = [_truncated_quotient(n, d) for n in (dividend.minimum, dividend.maximum) for d in divisors]
    return Interval(min(quotients), max(quotients))


def _truncated_quotient(dividend: int, divisor: int) -> int:
    if divisor == 0:
        return 0
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def _maximum_range(call: Call) -> Interval:
    left, right = _ranges(call)
    return Interval(max(left.minimum, right.minimum), max(left.maximum, right.maximum))


def _greater_range(call: Call) -> Interval:
    left, right = _ranges(call)
    return Interval(int(left.minimum > right.maximum), int(left.maximum > right.minimum))


def _greater_limits(call: Call) -> list[str]:
    if call.operands[0].precision < 2 and _greater_range(call).maximum > 0:
        return ["the result 1 needs 2 bits; the runtime infers those of lhs, 1"]
    return []


def _register(name, schema, kernel, output_shape, *, precision=same_precision, value_range, **others):
    OPERATORS.register(CvmOperator(
        name=name, schema=schema, kernel=kernel, output_shape=output_shape, precision=precision,
        value_range=value_range, read_attributes=reader(name), **others))


_register("relu", UNARY, relu, same_shape, in_place=True, mxnet_name="relu",
          value_range=lambda call: Interval(*(max(v, 0) for v in (call.operands[0].value_range.minimum,
                                                                  call.operands[0].value_range.maximum))))
_register("abs", UNARY, absolute, same_shape, value_range=_absolute_range, in_place=True, mxnet_name="abs")
# The runtime means to let negative work in place and misspells its name.
_register("negative", UNARY, negative, same_shape, mxnet_name="negative",
          value_range=lambda call: -call.operands[0].value_range)
_register("cvm_precision", UNARY, cvm_precision, same_shape, precision=lambda call: 6,
          value_range=_bit_length_range, in_place=True)

_register("elemwise_add", BINARY, add, equal_shape, precision=_sum_precision, in_place=True,
          value_range=lambda call: _ranges(call)[0] + _ranges(call)[1], mxnet_name="elemwise_add")
_register("elemwise_sub", BINARY, subtract, equal_shape, precision=_sum_precision, in_place=True,
          value_range=lambda call: _ranges(call)[0] - _ranges(call)[1], mxnet_name="elemwise_sub")
_register("broadcast_add", BINARY, add, broadcast_shape, precision=_sum_precision,
          value_range=lambda call: _ranges(call)[0] + _ranges(call)[1], mxnet_name="broadcast_add")
_register("broadcast_sub", BINARY, subtract, broadcast_shape, precision=_sum_precision,
          value_range=lambda call: _ranges(call)[0] - _ranges(call)[1], mxnet_name="broadcast_sub")
_register("broadcast_mul", BINARY, multiply, broadcast_shape, precision=_product_precision,
          value_range=lambda call: _ranges(call)[0] * _ranges(call)[1], mxnet_name="broadcast_mul")
# MXNet's broadcast_div divides reals, so the row names none.
_register("broadcast_div", BINARY, divide, broadcast_shape, value_range=_quotient_range)
_register("broadcast_max", BINARY, maximum, broadcast_shape, precision=widest_precision,
          value_range=_maximum_range, mxnet_name="broadcast_maximum")
_register("broadcast_greater", BINARY, greater, broadcast_shape, value_range=_greater_range,
          limits=_greater_limits, mxnet_name="broadcast_greater")
