"""From an integer graph to the content of the CVM ``symbol`` and ``params`` files."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
from torch import fx

from bridges.cvm.storage import LARGEST_STORAGE, plan_storage, storage_bytes, stored_tensors
from bridges.cvm.symbol_file import INPUT_NAME, UNSET_PRECISION, CvmSymbol, Reference, SymbolNode
from mrt_torch.cvm.analysis import call_of, selected_output
from mrt_torch.cvm.operator import OPERATORS, CvmOperator
from mrt_torch.errors import ExportError
from mrt_torch.graph.editor import input_nodes, output_nodes, tensor_of
from mrt_torch.graph.facts import describe, facts_of, source_name

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

    def references(nodes: list[fx.Node]) -> tuple[Reference, ...]:
        selected = [selected_output(node) or (node, 0) for node in nodes]
        return tuple((position[_identity(node)], output) for node, output in selected)

    nodes, parameters, shapes, precisions = [], {}, [], []
    for node in order:
        values = node.meta["val"] if isinstance(node.meta["val"], tuple) else (node.meta["val"],)
        shapes += [tuple(value.shape) for value in values]
        precisions += [UNSET_PRECISION if node.op == "call_function" else facts_of(node).precision for _ in values]
        if node.op == "call_function":
            row, call = call_of(node)
            _refuse_composite(row, node)
            nodes.append(SymbolNode(names[node], row.name, references(operand_nodes(node)),
                                    row.write_attributes(call)))
        else:
            nodes.append(SymbolNode(names[node]))
            if node.op == "get_attr":
                parameters[names[node]] = _stored(module, node)
    heads = references(output_nodes(module.graph))
    stored = stored_tensors(nodes, shapes)
    symbol = CvmSymbol(nodes=tuple(nodes), heads=heads, shapes=tuple(shapes), precisions=tuple(precisions),
                       storage_ids=())
    storage_ids = plan_storage(stored, [symbol.entry(head) for head in heads])
    if storage_bytes(stored, storage_ids) > LARGEST_STORAGE:
        raise ExportError("the graph needs more storage than the CVM runtime gives", where="all tensors of the graph",
                          why=f"{storage_bytes(stored, storage_ids)} bytes, at most {LARGEST_STORAGE}",
                          remedy="use a smaller batch or a smaller model")
    return replace(symbol, storage_ids=tuple(storage_ids)), parameters


def _refuse_composite(row: CvmOperator, node: fx.Node) -> None:
    if row.composite:
        raise ExportError(f"the CVM has no {row.name}", where=describe(node), why="it stands for several operators",
                          remedy="expand it with prepare_for_compile")


def operand_nodes(node: fx.Node) -> list[fx.Node]:
    """The tensors an operator call reads, in order and with repetitions; an omitted optional tensor is
    skipped.
    """
    operands = []
    for argument in node.args:
        operands += argument if isinstance(argument, (list, tuple)) else [argument]
    return [operand for operand in operands if isinstance(operand, fx.Node)]


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
        node = (selected_output(node) or (node, 0))[0]
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
