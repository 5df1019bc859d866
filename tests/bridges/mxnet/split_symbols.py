"""Symbols with an operator that no library has, for tests of splits.

``mystery`` stands for ``sin``: with the name replaced, a symbol can be imported, and is the oracle of the split one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from bridges.mxnet.model import MXNetModel
from bridges.mxnet.symbol import Entry, Symbol
from bridges.mxnet.symbol_builder import SymbolBuilder

MYSTERY = "mystery"


def solved(symbol: Symbol) -> Symbol:
    """The symbol with ``sin`` for ``mystery``."""
    return replace(symbol, nodes=tuple(replace(node, operator="sin") if node.operator == MYSTERY else node
                                       for node in symbol.nodes))


def random_array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Network:
    """A symbol that is written node after node."""

    def __init__(self, **inputs: Sequence[int]):
        self._builder = SymbolBuilder()
        self.inputs = {name: self._builder.variable(name, shape, np.float32) for name, shape in inputs.items()}
        self.shapes = {name: tuple(shape) for name, shape in inputs.items()}

    def __call__(self, operator: str, *inputs: Entry, name: str, **attributes: object) -> Entry:
        return self._builder.operator(operator, inputs, name, **attributes)

    def parameter(self, name: str, *shape: int) -> Entry:
        return self._builder.parameter(name, random_array(*shape, seed=len(name)))

    def conv(self, x: Entry, name: str, channels: int, filters: int = 4) -> Entry:
        return self("Convolution", x, self.parameter(f"{name}_weight", filters, channels, 3, 3), name=name,
                    kernel=(3, 3), pad=(1, 1), num_filter=filters, no_bias=True)

    def model(self, *heads: Entry) -> MXNetModel:
        params = {name.split(":")[1]: array for name, array in self._builder.params.items()}
        return MXNetModel(self._builder.build(heads), params)


def run(model: MXNetModel, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Outputs of a model with ``sin`` for ``mystery``."""
    return MXNetModel(solved(model.symbol), model.params, model.inputs).import_graph()(*arrays)


def check_halves(model: MXNetModel, base: MXNetModel, top: MXNetModel, seed: int = 0) -> None:
    """Base, which needs no mystery, followed by top gives what the whole gives; exactly, for two batches."""
    graph = base.import_graph()
    for factor in (1, 2):
        inputs = {name: torch.from_numpy(random_array(factor * shape[0], *shape[1:], seed=seed + position))
                  for position, (name, shape) in enumerate(shapes_of(model).items())}
        between = dict(zip(top.input_names(), graph(*(inputs[name] for name in base.input_names())), strict=True))
        halves = run(top, *between.values())
        whole = run(model, *inputs.values())
        assert len(halves) == len(whole)
        assert all(torch.equal(half, expected) for half, expected in zip(halves, whole, strict=True))


def shapes_of(model: MXNetModel) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs, as the variables declare them."""
    declared = {node.name: node.attributes["__shape__"] for node in model.symbol.variables if node.attributes}
    return {name: tuple(int(number) for number in declared[name].strip("()").split(",") if number.strip())
            for name in model.input_names()}
