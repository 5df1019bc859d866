"""CVM operators that an integer export writes as several MXNet nodes, found again by their shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bridges.mxnet.attributes import Attributes
from bridges.mxnet.exporters.integer import MAGNITUDE_BITS
from bridges.mxnet.importers.integer import CvmCall
from bridges.mxnet.symbol import Entry, Symbol, SymbolNode


@dataclass(frozen=True)
class Composite:
    """Several nodes that are one CVM operator: its call and its operands."""

    call: CvmCall
    operands: tuple[Entry, ...]


def find_composites(symbol: Symbol, params: Mapping[str, np.ndarray]) -> dict[int, Composite]:
    """Composites by the index of the node of their result."""
    finder = _Finder(symbol, params)
    found: dict[int, Composite] = {}
    for index, node in enumerate(symbol.nodes):
        for match in (finder.division, finder.wide_clip, finder.bit_length):
            composite = match(node)
            if composite is not None:
                found[index] = composite
                break
    return found


class _Finder:
    def __init__(self, symbol: Symbol, params: Mapping[str, np.ndarray]):
        self._nodes = symbol.nodes
        self._params = params

    def _source(self, node: SymbolNode, position: int, operator: str) -> SymbolNode | None:
        """The node that makes an input, if it is of the operator."""
        if position >= len(node.inputs):
            return None
        index, output = node.inputs[position]
        source = self._nodes[index]
        return source if source.operator == operator and output == 0 else None

    def division(self, node: SymbolNode) -> Composite | None:
        """``fix(a / (b + (b == 0))) * (b != 0)``."""
        if node.operator != "broadcast_mul" or not (fix := self._source(node, 0, "fix")):
            return None
        nonzero = self._source(node, 1, "_not_equal_scalar")
        quotient = self._source(fix, 0, "broadcast_div")
        divisor = quotient and self._source(quotient, 1, "elemwise_add")
        zero = divisor and self._source(divisor, 1, "_equal_scalar")
        if not (nonzero and zero and _scalar(nonzero) == 0 == _scalar(zero)):
            return None
        operand = zero.inputs[0]
        if divisor.inputs[0] != operand or nonzero.inputs[0] != operand:
            return None
        return Composite(CvmCall("broadcast_div", {}), (quotient.inputs[0], operand))

    def wide_clip(self, node: SymbolNode) -> Composite | None:
        """``min(max(x, a_min), a_max)``."""
        low = self._source(node, 0, "_maximum_scalar") if node.operator == "_minimum_scalar" else None
        bounds = [_scalar(low), _scalar(node)] if low else [None]
        if any(bound is None or not bound.is_integer() for bound in bounds):
            return None
        return Composite(CvmCall("clip", {"a_min": int(bounds[0]), "a_max": int(bounds[1])}), low.inputs)

    def bit_length(self, node: SymbolNode) -> Composite | None:
        """``max(sum(|x| >= powers of two), 1)``."""
        if node.operator != "_maximum_scalar" or _scalar(node) != 1:
            return None
        count = self._source(node, 0, "sum")
        reached = count and self._source(count, 0, "broadcast_greater_equal")
        column = reached and self._source(reached, 0, "expand_dims")
        magnitude = column and self._source(column, 0, "abs")
        powers = magnitude and self._source(reached, 1, "null")
        if not powers or not np.array_equal(self._params.get(powers.name), 2.0 ** np.arange(MAGNITUDE_BITS)):
            return None
        axis = _attributes(column).integer("axis")
        if _attributes(count).integers("axis") != (axis,) or _attributes(count).boolean("keepdims"):
            return None
        return Composite(CvmCall("cvm_precision", {}), magnitude.inputs)


def _attributes(node: SymbolNode) -> Attributes:
    return Attributes(node.operator, node.name, node.attributes)


def _scalar(node: SymbolNode) -> float | None:
    return _attributes(node).real("scalar") if node.inputs else None
