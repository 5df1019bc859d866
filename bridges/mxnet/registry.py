"""Converters of MXNet operators, by operator name; users can add their own."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import fx

from bridges.mxnet.node_view import NodeView
from mrt_torch.errors import InvalidArgumentError

Convert = Callable[[NodeView], "fx.Node | tuple[fx.Node, ...] | dict[int, fx.Node]"]


@dataclass(frozen=True)
class Converter:
    """How one MXNet operator is imported.

    Attributes:
        operator: MXNet's name of the operator.
        convert: makes the nodes; returns the node of the result, or for several outputs a tuple of them, or those
            that are read (`NodeView.outputs_read`) by position.
        parameters: names of the inputs after the first that hold learnt values, in order. A variable that
            feeds only such inputs and has no value is a missing parameter, not an input of the model.
        labels: position of the first input that only training reads, if any. What feeds only such inputs is
            dropped.
        needs_inputs: whether a node without inputs is an error.
    """

    operator: str
    convert: Convert
    parameters: tuple[str, ...] = ()
    labels: int | None = None
    needs_inputs: bool = True

    def is_parameter(self, position: int) -> bool:
        """Whether the input at ``position`` holds learnt values."""
        return 1 <= position <= len(self.parameters)

    def is_label(self, position: int) -> bool:
        """Whether only training reads the input at ``position``."""
        return self.labels is not None and position >= self.labels


class ConverterRegistry:
    """Converters by MXNet operator name."""

    def __init__(self) -> None:
        self._converters: dict[str, Converter] = {}

    def register(self, converter: Converter, override: bool = False) -> None:
        """Add a converter.

        Raises:
            InvalidArgumentError: the operator has one already, and ``override`` is not given.
        """
        if converter.operator in self._converters and not override:
            raise InvalidArgumentError(f"MXNet operator '{converter.operator}' has a converter already",
                                       remedy="pass override=True to replace it")
        self._converters[converter.operator] = converter

    def unregister(self, operator: str) -> None:
        """Remove a converter.

        Raises:
            InvalidArgumentError: there is none.
        """
        if self._converters.pop(operator, None) is None:
            raise InvalidArgumentError(f"MXNet operator '{operator}' has no converter",
                                       remedy=f"known: {self}")

    def __contains__(self, operator: str) -> bool:
        return operator in self._converters

    def __getitem__(self, operator: str) -> Converter:
        return self._converters[operator]

    def __iter__(self) -> Iterator[str]:
        """Operator names, sorted."""
        return iter(sorted(self._converters))

    def __len__(self) -> int:
        return len(self._converters)

    def __str__(self) -> str:
        return ", ".join(self)

    def nearest(self, operator: str) -> str | None:
        """The registered name that looks most like ``operator``, if any comes near."""
        by_lower = {name.lower(): name for name in self}
        found = difflib.get_close_matches(operator.lower(), by_lower, n=1, cutoff=0.6)
        return by_lower[found[0]] if found else None


CONVERTERS = ConverterRegistry()


def register_converter(*operators: str, parameters: Sequence[str] = (), labels: int | None = None,
                       needs_inputs: bool = True, override: bool = False) -> Callable[[Convert], Convert]:
    """Make the decorated function the converter of the named MXNet operators.

    ::

        @register_converter("square")
        def convert_square(view):
            return view.call(torch.ops.aten.mul.Tensor, view.inputs[0], view.inputs[0])

    Args:
        operators: MXNet's names: the operator and its aliases.
        parameters: see `Converter.parameters`.
        labels: see `Converter.labels`.
        needs_inputs: see `Converter.needs_inputs`.
        override: replace a converter that is registered already.

    Raises:
        InvalidArgumentError: an operator has a converter already, and ``override`` is not given.
    """
    def register(convert: Convert) -> Convert:
        for operator in operators:
            converter = Converter(operator, convert, tuple(parameters), labels, needs_inputs)
            CONVERTERS.register(converter, override)
        return convert
    return register
