"""Runs a graph node by node and keeps the values that are still read: to look at them, or to change one and go on."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import output_nodes

Values = dict[fx.Node, Any]


class LiveValues:
    """The values of a graph on a sample, from its inputs on.

    Args:
        module: graph with one input.
        sample: the input.
    """

    def __init__(self, module: fx.GraphModule, sample: torch.Tensor):
        self._module, self._nodes = module, [node for node in module.graph.nodes if node.op != "output"]
        self._results = output_nodes(module.graph)
        self._places = {node: position for position, node in enumerate(self._nodes)}
        self._last_read = {node: max([self._places[user] for user in node.users if user in self._places], default=-1)
                           for node in self._nodes} | dict.fromkeys(self._results, len(self._nodes))
        self._values: Values = {node: sample for node in self._nodes if node.op == "placeholder"}
        self._position = 0

    def before(self, op: fx.Node) -> Values:
        """All values that ``op`` and the nodes behind it read; nodes are asked for in the order of the graph."""
        while self._position < self._places[op]:
            self._step(self._values, self._position)
            self._position += 1
        return self._values

    def of(self, op: fx.Node) -> Any:
        """The value of ``op``; nodes are asked for in the order of the graph."""
        return self._value(op, self.before(op))

    def outputs(self, op: fx.Node | None = None, changed: torch.Tensor | None = None) -> list[torch.Tensor]:
        """The outputs of the graph; with ``changed``, those it has when this is the value of ``op``."""
        values = dict(self._values if op is None else self.before(op))
        if op is not None:
            values[op] = changed
        for following in range(self._position, len(self._nodes)):
            self._step(values, following)
        return [values[node] for node in self._results]

    def _step(self, values: Values, position: int) -> None:
        node = self._nodes[position]
        if node not in values and self._last_read[node] > position:
            values[node] = self._value(node, values)
        for read in node.all_input_nodes:
            if self._last_read[read] == position:
                values.pop(read, None)

    def _value(self, node: fx.Node, values: Values) -> Any:
        if node.op == "get_attr":
            return getattr(self._module, node.target)
        args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
        return node.target(*args, **kwargs)
