"""Sequences of several lengths; oracle: MXNet 1.9.1."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.mxnet.importer import import_symbol
from bridges.mxnet.symbol_file import parse_symbol
from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import check_close, compare, run_mxnet, targets
from tests.bridges.mxnet.parity_tally import TALLY

SHAPE = (4, 3, 2)


def check_lengths(mx, make, shape, axis, **attributes):
    """With lengths as an input and as a parameter."""
    symbol = make(mx.sym.var("data"), mx.sym.var("lengths"), use_sequence_length=True, axis=axis, **attributes)
    count = shape[1 - axis]
    arrays = {"data": np.random.default_rng(0).standard_normal(shape).astype(np.float32),
              "lengths": np.arange(1, count + 1, dtype=np.float32)[::-1].copy() % shape[axis] + 1}
    expected = run_mxnet(mx, symbol, arrays)
    for params in ({}, {"lengths": arrays["lengths"]}):
        shapes = {"data": shape, "lengths": (count,)}
        module = import_symbol(parse_symbol(symbol.tojson()), params, {k: v for k, v in shapes.items()
                                                                       if k not in params})
        inputs = [torch.from_numpy(arrays[name]) for name in shapes if name not in params]
        TALLY.record(symbol.tojson(), check_close(module(*inputs), expected))


@pytest.mark.parametrize("shape", [(4, 3), SHAPE, (4, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("value", [0.0, -1.5])
def test_mask(mxnet, shape, axis, value):
    check_lengths(mxnet, mxnet.sym.SequenceMask, shape, axis, value=value)


@pytest.mark.parametrize("shape", [(4, 3), SHAPE], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_last(mxnet, shape, axis):
    check_lengths(mxnet, mxnet.sym.SequenceLast, shape, axis)


def test_without_lengths(mxnet):
    data = mxnet.sym.swapaxes(mxnet.sym.var("x"), dim1=0, dim2=1)
    for make in (mxnet.sym.SequenceMask, mxnet.sym.SequenceLast, mxnet.sym.SequenceReverse):
        compare(mxnet, make(data), x=(0, 4, 2))
    assert targets(compare(mxnet, mxnet.sym.SequenceLast(mxnet.sym.var("x"), axis=1), x=(0, 4, 2))) == ["slice",
                                                                                                       "squeeze"]


def test_refusals(import_node):
    """Oracle: MXNet's documentation, and what the converters say they take."""
    with pytest.raises(InvalidGraphError, match="it must be 0 or 1"):
        import_node("SequenceMask", dict(axis="2"), (2, 3, 4))
    with pytest.raises(InvalidGraphError, match="the lengths have shape"):
        import_node("SequenceMask", dict(use_sequence_length="True"), (2, 3), (2,))
    with pytest.raises(UnsupportedOperatorError, match="within its own length"):
        import_node("SequenceReverse", dict(use_sequence_length="True"), (2, 3), (3,))
