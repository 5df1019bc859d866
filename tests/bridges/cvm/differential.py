"""The runtime's answers beside ours: outputs, gas and inferred precisions of a deployed model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import fx

from bridges.cvm.load import graph_of
from bridges.cvm.params_file import format_params
from bridges.cvm.runtime import CvmRuntime
from bridges.cvm.symbol_file import CvmSymbol, SymbolNode, format_symbol
from bridges.cvm.symbol_parser import parse_symbol
from mrt_torch.cvm import call_of, gas, selected_output
from mrt_torch.errors import InvalidFileError, RuntimeLibraryError
from mrt_torch.graph.editor import output_nodes
from mrt_torch.graph.facts import facts_of
from tests.bridges.cvm.random_models import RandomModel

WIDEST = 32


def diverges(module: fx.GraphModule) -> bool:
    """Whether the CPU back end may fail on the graph or compute other integers than FORMAL."""
    calls = [node for node in module.graph.nodes if node.op == "call_function" and selected_output(node) is None]
    return any(row.divergences(call) for row, call in map(call_of, calls))


def compare(runtime: CvmRuntime, model: RandomModel, text: bytes) -> tuple[list[str], bool]:
    """What differs between our run of a model and the runtime's, and whether the CPU back end was compared too."""
    symbol = parse_symbol(text)
    module = graph_of(symbol, model.parameters)
    ours = [head.numpy() for head in module(torch.from_numpy(model.values))]
    found = []
    for head, reference in zip(ours, model.expected):
        if head.tolist() != reference.tolist():
            found.append("our graph differs from the definition")
    expected_gas, cpu = gas(module), not diverges(module)
    if runtime.gas_of_graph(text) != expected_gas:
        found.append(f"gas of the file is {runtime.gas_of_graph(text)}, ours {expected_gas}")
    for device in ("cpu", "formal") if cpu else ("formal",):
        with runtime.load(text, format_params(model.parameters), device) as loaded:
            if loaded.gas != expected_gas:
                found.append(f"{device}: gas is {loaded.gas}, ours {expected_gas}")
            for _ in range(2):  # a second run shows parameters that the first one destroyed
                theirs = loaded.run(model.values)
                if not all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)):
                    found.append(f"{device}: other integers")
    return found, cpu


def compare_precisions(runtime: CvmRuntime, model: RandomModel) -> list[str]:
    """The precisions inferred for the heads: a product with a constant is loaded up to 32 bits, and not beyond."""
    module, found = graph_of(model.symbol, model.parameters), []
    for head, node in zip(model.symbol.heads, output_nodes(module.graph), strict=True):
        precision = facts_of(node).precision
        for factor, legal in ((WIDEST - precision, True), (WIDEST - precision + 1, False)):
            probe = {"probe": np.zeros(1, np.int8)}
            if factor and is_loaded(runtime, with_product(model.symbol, head, factor), model, probe) != legal:
                found.append(f"output {head[1]}: the runtime does not infer {precision} bits")
    return found


def with_product(symbol: CvmSymbol, head: tuple[int, int], precision: int) -> CvmSymbol:
    """The model with one more constant, 0 of that many bits, and the product of a head with it as only head."""
    constant, product = len(symbol.nodes), len(symbol.nodes) + 1
    nodes = (*symbol.nodes, SymbolNode("probe"),
             SymbolNode("product", "broadcast_mul", (head, (constant, 0)), {}))
    unused = max(symbol.storage_ids) + 1
    return replace(symbol, nodes=nodes, heads=((product, 0),), precisions=(*symbol.precisions, precision, -1),
                   shapes=(*symbol.shapes, (1,), symbol.shapes[symbol.entry(head)]),
                   storage_ids=(*symbol.storage_ids, unused, unused + 1))


def is_loaded(runtime: CvmRuntime, symbol: CvmSymbol, model: RandomModel, more: dict[str, np.ndarray]) -> bool:
    """Whether the runtime takes a variant of a model, with its parameters and ``more``."""
    try:
        runtime.load(format_symbol(symbol).encode(), format_params({**model.parameters, **more}), "formal").close()
    except (RuntimeLibraryError, InvalidFileError):  # the latter from the guard, where the runtime might crash
        return False
    return True
