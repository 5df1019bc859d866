"""Gas of an integer graph: what the CVM charges for one inference."""

from __future__ import annotations

import torch
from torch import fx

from mrt_torch.cvm.analysis import call_of
from mrt_torch.cvm.shape_rules import elements
from mrt_torch.errors import ExportError, InvalidGraphError
from mrt_torch.graph.facts import describe

LARGEST_UNIT_COST = 2 ** 30
LARGEST_OPERATION_COST = 2 ** 40
LARGEST_MEMORY_COST = 2 ** 40
COST_PER_ELEMENT = 5


def gas(graph_module: fx.GraphModule) -> int:
    """``5 * elements of every tensor + sum over operators of unit cost * elements of the output``.

    Tensors are inputs, constants (each once) and operator outputs; the unit costs are the table's: 3 per
    product of a convolution or matrix product and 1 for its bias, the window of a pooling, the summed
    elements of a sum, else 1.

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
        memory += COST_PER_ELEMENT * elements(_shape(node))
        if node.op == "call_function":
            row, call = call_of(node)
            unit_cost = row.unit_cost(call)
            _require(unit_cost, LARGEST_UNIT_COST, f"one output element of {describe(node)}")
            operations += unit_cost * elements(call.output_shape)
    _require(operations, LARGEST_OPERATION_COST, "the operators")
    _require(memory, LARGEST_MEMORY_COST, "the tensors")
    return memory + operations


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        raise InvalidGraphError("a node has no shape", where=describe(node),
                                remedy="run mrt_torch.cvm.analyse first")
    return tuple(value.shape)


def _require(cost: int, largest: int, what: str) -> None:
    if cost > largest:
        raise ExportError("the model costs more gas than the CVM counts",
                          why=f"{what}: {cost}, at most {largest}",
                          remedy="reduce the input size or the model")
