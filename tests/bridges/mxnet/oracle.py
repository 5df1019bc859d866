"""MXNet 1.9.1 as the oracle of imports: the same symbol, parameters and inputs in both."""

from __future__ import annotations

import numpy as np
import torch

from bridges.mxnet.importer import import_symbol
from bridges.mxnet.symbol_file import parse_symbol
from mrt_torch.graph.facts import source_name
from tests.bridges.mxnet.parity_tally import TALLY

# Both sides compute in float32, but add up in another order: for hundreds of terms that is some 1e-6.
TOLERANCE = 1e-5


def random_arrays(mx, symbol, shapes, seed):
    """Random values for every variable of a symbol by name; variances are positive."""
    argument_shapes, _, auxiliary_shapes = symbol.infer_shape(**shapes)
    named = dict(zip(symbol.list_arguments(), argument_shapes))
    named.update(zip(symbol.list_auxiliary_states(), auxiliary_shapes))
    generator = np.random.default_rng(seed)
    return {name: np.abs(array) + 0.1 if name.endswith("_var") else array for name, array in
            ((name, generator.standard_normal(shape).astype(np.float32)) for name, shape in named.items())}


def run_mxnet(mx, symbol, arrays):
    """Outputs of a symbol in inference mode."""
    def pick(names):
        return {name: mx.nd.array(arrays[name], dtype=arrays[name].dtype) for name in names}
    executor = symbol.bind(mx.cpu(), pick(symbol.list_arguments()),
                           aux_states=pick(symbol.list_auxiliary_states()),
                           grad_req="null")
    return [output.asnumpy() for output in executor.forward(is_train=False)]


def compare(mx, symbol, batches=(1, 3), tolerance=TOLERANCE, labels=(), **shapes):
    """Import once, then compare with MXNet at every batch; returns the imported module.

    ``shapes`` are the input shapes with any number as the batch: axis 0 takes each of ``batches``. The import
    is done with the first one. All other variables but the labels become random parameters.
    """
    def at(batch):
        return {name: (batch, *shape[1:]) for name, shape in shapes.items()}
    arrays = random_arrays(mx, symbol, at(batches[0]), seed=0)
    params = {name: array for name, array in arrays.items() if name not in shapes and name not in labels}
    module = import_symbol(parse_symbol(symbol.tojson()), params, at(batches[0]))
    for batch in batches:
        arrays = {**random_arrays(mx, symbol, at(batch), seed=batch), **params}
        expected = run_mxnet(mx, symbol, arrays)
        outputs = module(*(torch.from_numpy(arrays[name]) for name in input_order(module)))
        TALLY.record(symbol.tojson(), check_close(outputs, expected, tolerance))
    return module


def check_close(outputs, expected, tolerance=TOLERANCE):
    """Same number, shapes and, relative to the largest magnitude, values; returns the largest relative error."""
    assert len(outputs) == len(expected)
    worst = 0.0
    for output, reference in zip(outputs, expected):
        assert tuple(output.shape) == reference.shape
        assert output.dtype == torch.float32
        largest = np.abs(reference).max()
        difference = np.abs(output.numpy() - reference).max()
        assert difference <= tolerance * largest + 1e-30
        worst = max(worst, float(difference / largest) if largest else 0.0)
    return worst


def input_order(module):
    """The model's names of the placeholders."""
    return [source_name(node) for node in module.graph.nodes if node.op == "placeholder"]


def targets(module):
    """Names of the called operators, in order."""
    return [node.target.overloadpacket.__name__ for node in module.graph.nodes if node.op == "call_function"]


def renamed(mx, symbol, old, new):
    """The symbol with another operator name: how older files spell it."""
    return mx.sym.load_json(symbol.tojson().replace(f'"op": "{old}"', f'"op": "{new}"'))
