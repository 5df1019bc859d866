"""Writes CVM operators and integer parameters into a graph, each with the precision and the range that are proven."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.cvm import OPERATORS, Interval, analyse_node, call_of
from mrt_torch.errors import PrecisionError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, shape_of
from mrt_torch.graph.facts import describe, facts_of, set_facts

WIDEST_PARAMETER = 31
TO_THE_END = 2 ** 31 - 1


class IntegerWriter:
    """The tools that Transformers write integer nodes with.

    Attributes:
        editor: writes into the integer graph.
    """

    def __init__(self):
        self.editor = GraphEditor(empty_graph_module())
        self._single_constants: dict[int, fx.Node] = {}
        self._tables: dict[bytes, fx.Node] = {}

    def call(self, name: str, *operands: Any, **attributes: Any) -> fx.Node:
        """Emit one CVM operator; operands are narrowed to their proven width where the runtime needs it.

        Raises:
            PrecisionError: the result cannot be held in 32 bits.
        """
        row = OPERATORS[name]
        node = self.editor.call(row.target, *operands, **attributes)
        _, call = call_of(node)
        if max(row.precisions(call)) > 32:
            self.editor.graph.erase_node(node)
            nodes = operands[0] if row.takes_list else operands
            narrowed = [n if n is None else self.narrow(n, facts_of(n).value_range.precision) for n in nodes]
            node = self.editor.call(row.target, *([narrowed] if row.takes_list else narrowed), **attributes)
            _, call = call_of(node)
            if max(row.precisions(call)) > 32:
                raise PrecisionError(
                    f"the result of {name} cannot be proven to fit 32 bits", where=describe(node),
                    why=f"operands of {[o.precision for o in call.operands]} bits give {max(row.precisions(call))}",
                    remedy="lower the operator's input precision, or split the reduction")
        analyse_node(node)
        return node

    def narrow(self, node: fx.Node, bits: int) -> fx.Node:
        """Clamp to ``bits`` bits, where the runtime believes the node to be wider."""
        return node if facts_of(node).precision <= bits else self.call("cvm_clip", node, precision=bits)

    def slice_axis(self, node: fx.Node, axis: int, begin: int, end: int, step: int = 1) -> fx.Node:
        """A part of one axis; other axes, the free batch among them, are taken whole."""
        rank = len(shape_of(node))
        ends = [TO_THE_END] * rank
        ends[axis] = end
        return self.call("strided_slice", node, begin=[begin if a == axis else 0 for a in range(rank)], end=ends,
                         stride=[step if a == axis else 1 for a in range(rank)])

    def constant(self, name: str, values: torch.Tensor, shared: bool = True) -> fx.Node:
        """A parameter of the integer graph, with its exact range and precision; single numbers are shared if they may.

        Raises:
            PrecisionError: a value exceeds 31 bits, the widest that all back ends load and shift alike.
        """
        shared = shared and tuple(values.shape) == (1,)
        if shared and int(values) in self._single_constants:
            return self._single_constants[int(values)]
        interval = Interval.of_tensor(values)
        if interval.precision > WIDEST_PARAMETER:
            raise PrecisionError(f"integer parameter '{name}' is wider than {WIDEST_PARAMETER} bits",
                                 why=f"its largest magnitude is {interval.magnitude}",
                                 remedy="lower its scale, or its precision")
        node = self.editor.constant(name, values.to(torch.int32).contiguous())
        set_facts(node, precision=interval.precision, value_range=interval)
        if shared:
            self._single_constants[int(values)] = node
        return node

    def table(self, name: str, values: torch.Tensor) -> fx.Node:
        """A parameter of shape (n, 1) for a lookup; equal tables are one parameter, under the first one's name."""
        key = values.to(torch.int32).numpy().tobytes()
        if key not in self._tables:
            self._tables[key] = self.constant(name, values.reshape(-1, 1))
        return self._tables[key]

    def number(self, value: int) -> fx.Node:
        """A parameter of shape (1,): the runtime has no scalar operands."""
        return self.constant(f"const_{value}".replace("-", "minus_"), torch.tensor([value]))
