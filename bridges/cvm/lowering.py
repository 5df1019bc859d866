"""From an integer graph to the content of the CVM ``symbol`` and ``params`` files."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
from torch import fx

from bridges.cvm.storage import LARGEST_STORAGE, StoredTensor, plan_storage, storage_bytes
from bridges.cvm.symbol_file import INPUT_NAME, UNSET_PRECISION, CvmSymbol, SymbolNode
from mrt_torch.cvm.analysis import call_of
from mrt_torch.cvm.operator import OPERATORS
from mrt_torch.errors import ExportError
from mrt_torch.graph.editor import input_nodes, output_nodes, shape_of, tensor_of
from mrt_torch.graph.facts import facts_of, source_name

LARGEST_INT8_PRECISION = 8


def lower(module: fx.GraphModule) -> tuple[CvmSymbol, dict[str, np.ndarray]]:
    """Content of the two files for a verified integer graph with current facts.

    Nodes come in depth-first post-order from the heads, as the reference compiler writes them, but the input
    always is node 0: the runtime finds its shape by that. Dead nodes are dropped, and a buffer read by
    several nodes is one parameter. Operators are named ``<operator>_<counter>``, parameters after their
    buffers. Parameters declared with at most 8 bits are int8, all others int32.

    Raises:
        ExportError: the graph has not exactly one input, or needs more than 4 GiB of storage.
    """
    order = _execution_order(module)
    names = _names(order)
    position = {_identity(node): index for index, node in enumerate(order)}

    def references(nodes):
        return tuple((position[_identity(node)], 0) for node in nodes)

    nodes, parameters = [], {}
    for node in order:
        if node.op == "call_function":
            row, call = call_of(node)
            nodes.append(SymbolNode(names[node], row.name, references(operand_nodes(node)),
                                    row.write_attributes(call)))
        else:
            nodes.append(SymbolNode(names[node]))
            if node.op == "get_attr":
                parameters[names[node]] = _stored(module, node)
    heads = references(output_nodes(module.graph))
    stored = stored_tensors(order, nodes)
    storage_ids = plan_storage(stored, [head for head, _ in heads])
    if storage_bytes(stored, storage_ids) > LARGEST_STORAGE:
        raise ExportError("the graph needs more storage than the CVM runtime gives", where="all tensors of the graph",
                          why=f"{storage_bytes(stored, storage_ids)} bytes, at most {LARGEST_STORAGE}",
                          remedy="use a smaller batch or a smaller model")
    return CvmSymbol(
        nodes=tuple(nodes), heads=heads, shapes=tuple(shape_of(node) for node in order),
        precisions=tuple(UNSET_PRECISION if node.op == "call_function" else facts_of(node).precision
                         for node in order),
        storage_ids=tuple(storage_ids)), parameters


def operand_nodes(node: fx.Node) -> list[fx.Node]:
    """The tensors an operator call reads, in order and with repetitions; an omitted optional tensor is
    skipped.
    """
    operands = []
    for argument in node.args:
        operands += argument if isinstance(argument, (list, tuple)) else [argument]
    return [operand for operand in operands if isinstance(operand, fx.Node)]


def stored_tensors(order: list[fx.Node], nodes: list[SymbolNode]) -> list[StoredTensor]:
    """What the storage planner needs to know of the nodes."""
    return [StoredTensor(elements=fx_node.meta["val"].numel(),
                         inputs=tuple(index for index, _ in node.inputs), variable=node.is_variable,
                         in_place=not node.is_variable and OPERATORS[node.operator].in_place)
            for fx_node, node in zip(order, nodes, strict=True)]


def _execution_order(module: fx.GraphModule) -> list[fx.Node]:
    inputs = input_nodes(module.graph)
    if len(inputs) != 1:
        raise ExportError("a CVM model has exactly one input", where="the inputs of the graph",
                          why=f"the graph has {len(inputs)}: {[source_name(node) for node in inputs]}",
                          remedy="fuse the inputs into one before the export")
    order, seen = [inputs[0]], {_identity(inputs[0])}
    pending = [(head, False) for head in reversed(output_nodes(module.graph))]
    while pending:
        node, operands_done = pending.pop()
        if operands_done:
            order.append(node)
        elif _identity(node) not in seen:
            seen.add(_identity(node))
            pending.append((node, True))
            if node.op == "call_function":
                pending += [(operand, False) for operand in reversed(operand_nodes(node))]
    return order


def _identity(node: fx.Node) -> fx.Node | str:
    """What makes two fx nodes one node of the file: the same buffer."""
    return f"buffer {node.target}" if node.op == "get_attr" else node


def _names(order: list[fx.Node]) -> dict[fx.Node, str]:
    names: dict[fx.Node, str] = {}
    taken = {INPUT_NAME}
    for node in order:
        if node.op == "placeholder":
            names[node] = INPUT_NAME
        elif node.op == "get_attr":
            names[node] = _unused(re.sub(r"[^A-Za-z0-9_.]", "_", str(node.target)), taken)
    counters: Counter[str] = Counter()
    for node in order:
        if node.op == "call_function":
            operator = OPERATORS.of_target(node.target).name
            names[node] = _unused(f"{operator}_{counters[operator]}", taken)
            counters[operator] += 1
    return names


def _unused(name: str, taken: set[str]) -> str:
    candidate, counter = name, 1
    while candidate in taken:
        candidate, counter = f"{name}_{counter}", counter + 1
    taken.add(candidate)
    return candidate


def _stored(module: fx.GraphModule, node: fx.Node) -> np.ndarray:
    dtype = np.int8 if facts_of(node).precision <= LARGEST_INT8_PRECISION else np.int32
    return tensor_of(module, node).detach().cpu().numpy().astype(dtype)
