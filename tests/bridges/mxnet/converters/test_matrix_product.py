"""Products of computed matrices; oracle: MXNet 1.9.1."""

from __future__ import annotations

import itertools

import pytest

from mrt_torch.errors import InvalidGraphError
from tests.bridges.mxnet.oracle import compare, targets

FLAGS = list(itertools.product((False, True), repeat=2))


def shaped(first, second, swapped):
    """A shape of a matrix, exchanged where the operator transposes it."""
    return (second, first) if swapped else (first, second)


@pytest.mark.parametrize("first, second", FLAGS)
def test_batch_dot(mxnet, first, second):
    a, b = mxnet.sym.var("a"), mxnet.sym.var("b")
    symbol = mxnet.sym.batch_dot(a, b, transpose_a=first, transpose_b=second)
    module = compare(mxnet, symbol, a=(0, *shaped(3, 4, first)), b=(0, *shaped(4, 5, second)))
    assert targets(module).count("bmm") == 1 and "reshape" not in targets(module)


def test_batch_dot_with_itself(mxnet):
    x = mxnet.sym.var("x")
    assert targets(compare(mxnet, mxnet.sym.batch_dot(x, x, transpose_b=True), x=(0, 3, 4))) == ["permute", "bmm"]


@pytest.mark.parametrize("a, b, flags", [
    ((0, 4), (4, 5), {}), ((0, 3, 4), (4, 5), {}), ((0, 3, 4), (4, 5, 6), {}), ((0, 4), (4,), {}),
    ((0, 4), (5, 4), dict(transpose_b=True)), ((0, 3, 4), (5, 6, 4), dict(transpose_b=True)),
    ((0, 4), (4,), dict(transpose_b=True)), ((0, 2, 3, 4), (4, 5), {}),
], ids=str)
def test_dot_with_a_parameter(mxnet, a, b, flags):
    """It is a linear layer."""
    symbol = mxnet.sym.dot(mxnet.sym.var("a"), mxnet.sym.var("b", shape=b), **flags)
    module = compare(mxnet, symbol, a=a)
    assert "linear" in targets(module) and "bmm" not in targets(module)


@pytest.mark.parametrize("b, flags", [((3, 4), {}), ((3,), {}), ((2, 3, 4), dict()), ((4, 3), dict(transpose_b=True))],
                         ids=str)
def test_dot_with_a_parameter_on_the_left(mxnet, b, flags):
    """The rows of the parameter stand before the batch then."""
    w, x = mxnet.sym.var("w", shape=b), mxnet.sym.var("x")
    rows = mxnet.sym.dot(w, mxnet.sym.transpose(x) if not flags else mxnet.sym.transpose(x), **(
        dict(transpose_a=True) if flags else {}))
    compare(mxnet, rows, x=(0, b[0] if flags else b[-1]))


@pytest.mark.parametrize("transpose", [False, True])
def test_dot_of_computed_matrices(mxnet, transpose):
    """The second one does not follow the batch, or does as columns."""
    x = mxnet.sym.var("x")
    square = mxnet.sym.dot(mxnet.sym.transpose(x), x) if transpose else mxnet.sym.dot(x, x, transpose_a=True)
    compare(mxnet, square, x=(0, 4))


def test_dot_of_vectors(mxnet):
    v = mxnet.sym.Reshape(mxnet.sym.var("x"), shape=(-1,))
    compare(mxnet, mxnet.sym.dot(v, v), x=(0, 4))


@pytest.mark.parametrize("first, second", FLAGS)
@pytest.mark.parametrize("leading", [(0,), (0, 2)], ids=str)
def test_gemm2(mxnet, leading, first, second):
    symbol = mxnet.sym.linalg.gemm2(mxnet.sym.var("a"), mxnet.sym.var("b"), transpose_a=first, transpose_b=second,
                                    alpha=-0.5)
    compare(mxnet, symbol, a=(*leading, *shaped(3, 4, first)), b=(*leading, *shaped(4, 5, second)))


def test_gemm2_with_rows_on_another_axis(mxnet):
    symbol = mxnet.sym.linalg.gemm2(mxnet.sym.var("a"), mxnet.sym.var("b"), axis=1)
    compare(mxnet, symbol, a=(0, 3, 2, 4), b=(0, 4, 2, 5))


@pytest.mark.parametrize("beta", [1.0, 0.25])
def test_gemm(mxnet, beta):
    a, b, c = (mxnet.sym.var(name) for name in "abc")
    compare(mxnet, mxnet.sym.linalg.gemm(a, b, c, alpha=2.0, beta=beta), a=(0, 3, 4), b=(0, 4, 5), c=(0, 3, 5))


def test_div_sqrt_dim(mxnet):
    assert targets(compare(mxnet, mxnet.sym.contrib.div_sqrt_dim(mxnet.sym.var("x")), x=(0, 3, 5))) == ["mul"]


@pytest.mark.parametrize("operator, shapes", [
    ("batch_dot", [(2, 3, 4), (2, 5, 6)]), ("batch_dot", [(2, 3, 4), (1, 4, 5)]), ("batch_dot", [(3, 4), (4, 5)]),
    ("dot", [(2, 3), (4, 5)]), ("_linalg_gemm2", [(2, 3, 4), (2, 3, 4)]), ("_linalg_gemm2", [(2, 3, 4), (4, 5)]),
])
def test_shapes_that_do_not_fit(import_node, operator, shapes):
    """Oracle: the shape rules of MXNet's documentation."""
    with pytest.raises(InvalidGraphError, match="the inputs have shapes"):
        import_node(operator, {}, *shapes)
