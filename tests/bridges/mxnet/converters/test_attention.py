"""Interleaved attention of gluonnlp 0.10; oracle: MXNet 1.9.1, and its formulas in the documentation of MXNet."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidGraphError
from tests.bridges.mxnet.oracle import compare, targets

LENGTH, MEMORY, HEADS, DEPTH = 4, 5, 2, 3


def attention(mx, qkv, heads=HEADS):
    scores = mx.sym.contrib.interleaved_matmul_selfatt_qk(qkv, heads=heads)
    return mx.sym.contrib.interleaved_matmul_selfatt_valatt(qkv, mx.sym.softmax(scores, axis=-1), heads=heads)


def by_length(mx, name):
    """(N, T, C) as (T, N, C): the batch on axis 1, as these operators take it."""
    return mx.sym.swapaxes(mx.sym.var(name), dim1=0, dim2=1)


@pytest.mark.parametrize("heads", [1, 2, 6])
def test_self_attention(mxnet, heads):
    module = compare(mxnet, attention(mxnet, by_length(mxnet, "x"), heads), x=(0, LENGTH, 3 * 6))
    assert targets(module).count("bmm") == 2


def test_scores_alone(mxnet):
    symbol = mxnet.sym.contrib.interleaved_matmul_selfatt_qk(by_length(mxnet, "x"), heads=HEADS)
    compare(mxnet, symbol, x=(0, LENGTH, 3 * HEADS * DEPTH))


def test_attention_to_a_memory(mxnet):
    queries, memory = by_length(mxnet, "q"), by_length(mxnet, "m")
    scores = mxnet.sym.contrib.interleaved_matmul_encdec_qk(queries, memory, heads=HEADS)
    result = mxnet.sym.contrib.interleaved_matmul_encdec_valatt(memory, mxnet.sym.softmax(scores), heads=HEADS)
    compare(mxnet, result, q=(0, LENGTH, HEADS * DEPTH), m=(0, MEMORY, 2 * HEADS * DEPTH))


@pytest.mark.parametrize("operator, attributes, shapes", [
    ("_contrib_interleaved_matmul_selfatt_qk", dict(heads="4"), [(2, 2, 18)]),
    ("_contrib_interleaved_matmul_selfatt_qk", dict(heads="2"), [(2, 18)]),
    ("_contrib_interleaved_matmul_selfatt_valatt", dict(heads="2"), [(4, 1, 18), (3, 4, 4)]),
])
def test_shapes_that_do_not_fit(import_node, operator, attributes, shapes):
    """Oracle: the shapes of MXNet's documentation."""
    with pytest.raises(InvalidGraphError, match="shape"):
        import_node(operator, attributes, *shapes)
