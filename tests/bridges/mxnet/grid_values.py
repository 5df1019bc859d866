"""Imports held against MXNet on values that meet: halves and whole numbers, with many equal ones."""

from __future__ import annotations

import numpy as np
import torch

from bridges.mxnet.importer import import_symbol
from bridges.mxnet.symbol_file import parse_symbol
from tests.bridges.mxnet.oracle import check_close, input_order, run_mxnet
from tests.bridges.mxnet.parity_tally import TALLY


def halves(shape, seed=0, largest=3):
    """Multiples of one half, as float32."""
    return np.random.default_rng(seed).integers(-2 * largest, 2 * largest + 1, shape).astype(np.float32) / 2


def compare_on(mx, symbol, *batches, params=None, tolerance=0.0):
    """Import for the shapes of the first of ``batches`` (arrays by name), compare on each; exactly, where not told."""
    params = params or {}
    module = import_symbol(parse_symbol(symbol.tojson()), params,
                           {name: array.shape for name, array in batches[0].items()})
    for arrays in batches:
        expected = run_mxnet(mx, symbol, {**arrays, **params})
        outputs = module(*(torch.from_numpy(arrays[name]) for name in input_order(module)))
        TALLY.record(symbol.tojson(), check_close(outputs, expected, tolerance))
    return module


def compare_halves(mx, symbol, tolerance=0.0, batches=(1, 3), params=None, **shapes):
    """``compare_on`` for every input of a shape, at each batch on axis 0."""
    given = [{name: halves((batch, *shape[1:]), seed=17 * batch + position)
              for position, (name, shape) in enumerate(shapes.items())} for batch in batches]
    return compare_on(mx, symbol, *given, params=params, tolerance=tolerance)
