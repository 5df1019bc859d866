"""The table of CVM operators: one row holds all that is known about one operator of the integer stage.

A row defines ``torch.ops.cvm.<name>``: its schema, exact kernel and fake kernel, and beside them the rules of
the runtime (precision, attribute limits, gas) and the exact range of its values. Tensors are int32 in and
out; schemas take tensors by position and attributes by keyword.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import fx

from mrt_torch.cvm.interval import Interval
from mrt_torch.errors import InvalidArgumentError

Shape = tuple[int, ...]
MAXIMUM_PRECISION = 32


@dataclass(frozen=True)
class Operand:
    """What is known of one input tensor of an operator call.

    ``precision`` is what the runtime infers or was told (bits); ``value_range`` is what is proven, and never
    wider. ``value`` is the int32 tensor itself when it is a constant of the model.
    """

    shape: Shape
    precision: int
    value_range: Interval
    value: torch.Tensor | None = None


@dataclass(frozen=True)
class Call:
    """One application of an operator: its operands in order, its attributes by name and its output shape.

    ``output_shape`` is that of the first output. ``node`` is where the call stands, for the few rules that look
    further than its operands; without it they assume the worst.
    """

    operands: tuple[Operand, ...]
    attributes: Mapping[str, Any]
    output_shape: Shape
    node: fx.Node | None = field(default=None, compare=False, repr=False)

    @property
    def shapes(self) -> list[Shape]:
        return [operand.shape for operand in self.operands]


def _no_limits(call: Call) -> list[str]:
    return []


def _unit_cost(call: Call) -> int:
    return 1


def same_precision(call: Call) -> int:
    """Precision of the first operand."""
    return call.operands[0].precision


def same_range(call: Call) -> Interval:
    """Value range of the first operand."""
    return call.operands[0].value_range


@dataclass(frozen=True)
class CvmOperator:
    """One row of the table.

    Attributes:
        name: the CVM name; the torch operator is ``torch.ops.cvm.<name>``.
        schema: torch schema without the name, tensors positional, attributes keyword-only.
        kernel: exact int32 implementation on CPU and CUDA; returns a fresh tensor.
        output_shape: (shapes of operands, attributes) -> shape of the output; raises InvalidArgumentError.
        outputs: number of outputs; from two on, the kernel, ``output_shape``, ``precision`` and ``value_range``
            give a tuple with one item for each, and a graph reads them by ``operator.getitem``.
        precision: the runtime's inferred output precision in bits, from the operands' precisions.
        value_range: exact bound of the output values from the operands' value ranges.
        limits: reasons why the runtime refuses the call, or computes undefined integers; empty when it is legal.
        divergences: reasons why the CPU back end would fail, or compute other integers than FORMAL and the
            kernel do; empty where both agree for all values in the operands' ranges.
        unit_cost: gas for one element of the output.
        write_attributes: call -> CVM ``op_attrs`` (strings).
        read_attributes: CVM ``op_attrs`` with defaults filled in by the row -> keyword arguments of the
            schema.
        in_place: the runtime lets the output share the storage of an input.
        mxnet_name: the MXNet operator, or the ``op_type`` of a ``Custom`` operator, that computes the same
            integers.
        composite: the CVM has no such operator: ``expansion`` gives what stands for it.
        expansion: what replaces a call that not every back end of the CVM computes, once the batch is fixed:
            (editor, operands, attributes by name) -> its replacement, or None where the call can stay.
    """

    name: str
    schema: str
    kernel: Callable[..., Any]
    output_shape: Callable[[Sequence[Shape], Mapping[str, Any]], Any]
    precision: Callable[[Call], Any] = same_precision
    value_range: Callable[[Call], Any] = same_range
    limits: Callable[[Call], list[str]] = _no_limits
    divergences: Callable[[Call], list[str]] = _no_limits
    unit_cost: Callable[[Call], int] = _unit_cost
    write_attributes: Callable[[Call], dict[str, str]] = field(default=lambda call: {})
    read_attributes: Callable[[Mapping[str, str]], dict[str, Any]] = field(default=lambda attributes: {})
    in_place: bool = False
    mxnet_name: str = ""
    outputs: int = 1
    composite: bool = False
    expansion: Callable[..., fx.Node | None] | None = None

    def output_shapes(self, shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> tuple[Shape, ...]:
        """Shape of each output."""
        return self._each(self.output_shape(shapes, attributes))

    def precisions(self, call: Call) -> tuple[int, ...]:
        """The runtime's inferred precision of each output."""
        return self._each(self.precision(call))

    def value_ranges(self, call: Call) -> tuple[Interval, ...]:
        """Exact bounds of the values of each output."""
        return self._each(self.value_range(call))

    def _each(self, item: Any) -> tuple:
        return (item,) if self.outputs == 1 else tuple(item)

    @property
    def target(self) -> torch._ops.OpOverload:
        """The overload that integer graphs call."""
        return getattr(torch.ops.cvm, self.name).default

    @cached_property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the keyword-only arguments of the schema."""
        return tuple(argument.name for argument in self.target._schema.arguments if argument.kwarg_only)

    @cached_property
    def argument_counts(self) -> tuple[int, int]:
        """Least and greatest number of positional arguments, which are the tensors."""
        tensors = [argument for argument in self.target._schema.arguments if not argument.kwarg_only]
        return sum(not argument.has_default_value() for argument in tensors), len(tensors)

    @property
    def takes_list(self) -> bool:
        """True where the schema takes one list of tensors instead of single tensors."""
        return self.schema.startswith("(Tensor[]")


class OperatorTable:
    """Rows by name; registering a row defines its torch operator."""

    def __init__(self):
        self._rows: dict[str, CvmOperator] = {}
        self._library = torch.library.Library("cvm", "DEF")

    def register(self, row: CvmOperator) -> CvmOperator:
        """Add a row and define its torch operator.

        Raises:
            InvalidArgumentError: the name is taken.
        """
        if row.name in self._rows:
            raise InvalidArgumentError(f"CVM operator '{row.name}' is registered already",
                                       remedy="choose another name")
        self._library.define(row.name + row.schema)
        self._library.impl(row.name, row.kernel, "CompositeExplicitAutograd")
        torch.library.register_fake(f"cvm::{row.name}", _fake_kernel(row), lib=self._library)
        self._rows[row.name] = row
        return row

    def __getitem__(self, name: str) -> CvmOperator:
        return self._rows[name]

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[CvmOperator]:
        return iter(self._rows.values())

    def get(self, name: str) -> CvmOperator | None:
        return self._rows.get(name)

    def of_target(self, target: Any) -> CvmOperator | None:
        """The row behind a node target, or None when it is no operator of the integer stage."""
        if isinstance(target, torch._ops.OpOverload) and target.namespace == "cvm":
            return self._rows.get(target._opname)
        return None


def _fake_kernel(row: CvmOperator) -> Callable[..., Any]:
    def fake(*tensors, **attributes):
        operands = tensors[0] if row.takes_list else [t for t in tensors if t is not None]
        shapes = row.output_shapes([tuple(t.shape) for t in operands], attributes)
        results = tuple(operands[0].new_empty(shape, dtype=torch.int32) for shape in shapes)
        return results if row.outputs > 1 else results[0]
    return fake


OPERATORS = OperatorTable()
