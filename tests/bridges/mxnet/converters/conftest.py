"""Imports of symbols of one node, written out as MXNet's reader gives them."""

from __future__ import annotations

import numpy as np
import pytest

from bridges.mxnet.importer import import_symbol
from bridges.mxnet.symbol import Symbol, SymbolNode


@pytest.fixture
def import_node():
    """A function that imports one node: operator, attributes, shapes of its data and of its parameters."""
    def run(operator, attributes, *data, heads=((-1, 0),), **parameters):
        names = [f"data{position}" for position in range(len(data))] + list(parameters)
        nodes = [SymbolNode("null", name) for name in names]
        nodes.append(SymbolNode(operator, "node", attributes,
                                tuple((index, 0) for index in range(len(names)))))
        params = {name: np.full(shape, 0.5, np.float32) for name, shape in parameters.items()}
        heads = tuple((index % len(nodes), output) for index, output in heads)
        return import_symbol(Symbol(tuple(nodes), heads), params, dict(zip(names, data)))
    return run
