"""Models whose batch is not the first axis, marked by -1 in the input shape; oracle: MXNet 1.9.1 at several batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.mxnet.importer import import_symbol
from bridges.mxnet.symbol_file import parse_symbol
from mrt_torch.graph.editor import output_nodes
from mrt_torch.graph.free_axis import free_axis
from tests.bridges.mxnet.oracle import check_close, run_mxnet

CASES = {  # what is built on the data (6, N, 4), and the axis that follows the batch
    "merge behind": (lambda s, x: s.reshape(x, shape=(0, -3)), 1),
    "merge before": (lambda s, x: s.reshape(x, shape=(-3, 0)), 0),
    "merge and split again": (lambda s, x: s.reshape(s.reshape(x, shape=(-3, 0)), shape=(-4, 6, -1, 0)), 1),
    "split the first": (lambda s, x: s.reshape(x, shape=(-4, 2, 3, 0, 0)), 2),
    "split in numbers": (lambda s, x: s.reshape(x, shape=(3, 2, -1, 4)), 2),
    "all as one": (lambda s, x: s.reshape(x, shape=(-1,)), 0),
    "rows of four": (lambda s, x: s.reshape(x, shape=(-1, 4)), 0),
    "from behind": (lambda s, x: s.reshape(x, shape=(6, 0, -1, 2), reverse=False), 1),
    "in reverse": (lambda s, x: s.reshape(x, shape=(2, 3, 0, 0), reverse=True), 2),
    "Flatten": (lambda s, x: s.Flatten(x), 1),
    "transpose": (lambda s, x: s.transpose(x, axes=(2, 0, 1)), 2),
    "SwapAxis": (lambda s, x: s.SwapAxis(x, dim1=0, dim2=1), 0),
    "expand_dims": (lambda s, x: s.expand_dims(x, axis=0), 2),
    "squeeze": (lambda s, x: s.squeeze(s.slice_axis(x, axis=0, begin=2, end=3)), 0),
    "slice_axis": (lambda s, x: s.slice_axis(x, axis=0, begin=1, end=4), 1),
    "slice": (lambda s, x: s.slice(x, begin=(None, None, 3), end=(3, None, None), step=(2, 1, -1)), 1),
    "SliceChannel": (lambda s, x: s.SliceChannel(x, num_outputs=6, axis=0, squeeze_axis=True)[4], 0),
    "Concat": (lambda s, x: s.concat(x, x * 2, dim=0), 1),
    "stack": (lambda s, x: s.stack(x, x * 2, axis=0), 2),
    "tile": (lambda s, x: s.tile(x, reps=(2, 1, 3)), 1),
    "repeat": (lambda s, x: s.repeat(x, repeats=2, axis=0), 1),
    "broadcast_to": (lambda s, x: s.broadcast_to(s.slice_axis(x, axis=0, begin=0, end=1), shape=(5, 0, 0)), 1),
    "reverse": (lambda s, x: s.reverse(x, axis=0), 1),
    "reshape_like": (lambda s, x: s.reshape_like(x, s.reshape(x, shape=(0, 0, -4, 2, 2))), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_operator_equals_mxnet(mxnet, name):
    """Imported for one sample, compared at three batches; the batch stays free on the axis that holds it."""
    build, axis = CASES[name]
    symbol = build(mxnet.sym, mxnet.sym.var("data"))
    module = import_symbol(parse_symbol(symbol.tojson()), {}, {"data": (6, -1, 4)})
    assert free_axis(output_nodes(module.graph)[0]) == axis
    # MXNet's squeeze drops a batch of one
    for batch in (2, 3, 5) if name == "squeeze" else (1, 3, 5):
        data = np.random.default_rng(batch).standard_normal((6, batch, 4)).astype(np.float32)
        check_close(module(torch.from_numpy(data)), run_mxnet(mxnet, symbol, {"data": data}))
