"""Gas of an integer graph: what the CVM charges for one inference."""

from __future__ import annotations

import torch
from torch import fx

from mrt_torch.cvm.analysis import analyse, call_of, selected_output
from mrt_torch.cvm.operator import OPERATORS
from mrt_torch.cvm.shape_rules import elements
from mrt_torch.errors import ExportError, InvalidGraphError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import describe, set_facts

LARGEST_UNIT_COST = 2 ** 30
LARGEST_OPERATION_COST = 2 ** 40
LARGEST_MEMORY_COST = 2 ** 40
COST_PER_ELEMENT = 5


def gas(graph_module: fx.GraphModule) -> int:
    """``5 * elements of every tensor + sum over operators of unit cost * elements of the output``.

    Tensors are inputs, constants (each once) and operator outputs; the unit costs are the table's: 3 per
    product of a convolution or matrix product and 1 for its bias, the window of a pooling, the summed
    elements of a sum, 20 for each batch element of non_max_suppression, else 1. A composite operator costs
    what its expansion costs.

    Raises:
        ExportError: the runtime would refuse to count: a unit cost above 2**30, or memory or operations above
            2**40.
    """
    memory, operations, constants = 0, 0, set()
    for node in graph_module.graph.nodes:
        if node.op == "output" or (node.op == "get_attr" and node.target in constants):
            continue
        if node.op == "get_attr":
            constants.add(node.target)
        for costing in _expanded(node):
            if selected_output(costing) is None:  # else it is counted with the node whose output it is
                memory += COST_PER_ELEMENT * sum(map(elements, _shapes(costing)))
                if costing.op == "call_function":
                    row, call = call_of(costing)
                    unit_cost = row.unit_cost(call)
                    _require(unit_cost, LARGEST_UNIT_COST, f"one output element of {describe(node)}")
                    operations += unit_cost * elements(call.output_shape)
    _require(operations, LARGEST_OPERATION_COST, "the operators")
    _require(memory, LARGEST_MEMORY_COST, "the tensors")
    return memory + operations


def _expanded(node: fx.Node) -> list[fx.Node]:
    """The node itself, or the operators that stand for a composite one, in a graph of their own."""
    row = OPERATORS.of_target(node.target)
    if row is None or not row.composite:
        return [node]
    editor, operands = GraphEditor(empty_graph_module()), []
    for operand in call_of(node)[1].operands:
        operands.append(editor.input("operand", operand.shape, torch.int32))
        set_facts(operands[-1], precision=operand.precision, value_range=operand.value_range)
    row.expansion(editor, *operands, **node.kwargs)
    analyse(editor.module)
    return [inner for inner in editor.graph.nodes if inner.op == "call_function"]


def _shapes(node: fx.Node) -> list[tuple[int, ...]]:
    value = node.meta.get("val")
    values = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(item, torch.Tensor) for item in values):
        raise InvalidGraphError("a node has no shape", where=describe(node),
                                remedy="run mrt_torch.cvm.analyse first")
    return [tuple(item.shape) for item in values]


def _require(cost: int, largest: int, what: str) -> None:
    if cost > largest:
        raise ExportError("the model costs more gas than the CVM counts",
                          why=f"{what}: {cost}, at most {largest}",
                          remedy="reduce the input size or the model")
