"""Contractions as batched matrix products. Oracles: torch.einsum and torch.matmul in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.graph.contraction import contract, is_constant, matrix_product
from mrt_torch.graph.free_axis import free_axis
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, operators

SIZES = {"n": 2, "b": 3, "i": 4, "j": 5, "k": 6}
# 1e-12: float64 sums of at most 6 * 4 products in another order.
TOLERANCE = 1e-12


def build(left, right, result, constant=None):
    """Graph of an equation, whose operands are inputs but for the one that is ``constant`` (0 or 1)."""
    shapes = [tuple(SIZES[axis] for axis in axes) for axes in (left, right)]

    def write(editor, *inputs):
        operands = list(inputs)
        if constant is not None:
            operands.insert(constant, editor.constant("w", draw(*shapes[constant], seed=9)))
        return contract(editor.call, *operands, list(left), list(right), list(result))
    given_shapes = [shape for position, shape in enumerate(shapes) if position != constant]
    return graph(write, *given_shapes), [draw(*shape, seed=seed) for seed, shape in enumerate(given_shapes)]


def check_equation(left, right, result, constant=None):
    module, inputs = build(left, right, result, constant)
    operands = list(inputs)
    if constant is not None:
        operands.insert(constant, draw(*(SIZES[axis] for axis in (left, right)[constant]), seed=9))
    expected = torch.einsum(f"{left},{right}->{result}", *operands)
    (seen,) = module(*inputs)
    assert seen.shape == expected.shape
    assert float((seen - expected).abs().max()) <= TOLERANCE * max(float(expected.abs().max()), 1.0)
    return module


@st.composite
def equations(draw_from):
    """Two operands over some of five axes, and a result of axes of theirs."""
    axes = st.lists(st.sampled_from(sorted(SIZES)), min_size=1, max_size=4, unique=True)
    left, right = "".join(draw_from(axes)), "".join(draw_from(axes))
    own = sorted(set(left) | set(right))
    result = "".join(draw_from(st.lists(st.sampled_from(own), min_size=1, max_size=4, unique=True)))
    return left, right, result


@given(equations(), st.sampled_from([None, 0, 1]))
@settings(max_examples=50, deadline=None)
def test_against_einsum(equation, constant):
    module = check_equation(*equation, constant)
    assert sum(name in ("bmm", "linear") for name in operators(module)) == 1


@pytest.mark.parametrize("left, right, result, free", [
    ("nik", "njk", "nij", 0), ("nbik", "nbjk", "nbij", 0), ("nik", "kj", "nij", 0), ("bnik", "bnjk", "bnij", 1),
    ("nk", "njk", "nj", 0), ("nik", "bjk", "bnij", 1), ("nibk", "njbk", "bijn", 3),
])
def test_the_batch_stays_free(left, right, result, free):
    """Axis n is the batch: the graph of 2 computes 5. Oracle: einsum at the other batch."""
    def write(editor, x, *others):
        second = others[0] if others else editor.constant("w", draw(*(SIZES[a] for a in right), seed=9))
        return contract(editor.call, x, second, list(left), list(right), list(result))
    shapes = [[-1 if a == "n" else SIZES[a] for a in axes] for axes in (left, right) if "n" in axes]
    module = graph(write, *shapes)
    output = next(n for n in module.graph.nodes if n.op == "output").args[0][0]
    assert free_axis(output) == free
    inputs = [draw(*(5 if size == -1 else size for size in shape), seed=seed) for seed, shape in enumerate(shapes)]
    second = inputs[1] if len(inputs) > 1 else draw(*(SIZES[a] for a in right), seed=9)
    expected = torch.einsum(f"{left},{right}->{result}", inputs[0], second)
    assert float((module(*inputs)[0] - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


SHAPES = [((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((3,), (3,)), ((2, 5, 3), (3, 4)), ((5, 3), (2, 3, 4)),
          ((2, 5, 3), (2, 3, 4)), ((2, 1, 5, 3), (4, 3, 6)), ((2, 4, 5, 3), (1, 3, 6)), ((2, 5, 3), (3,)),
          ((3,), (2, 3, 4)), ((2, 4, 5, 3), (2, 1, 3, 6)), ((1, 5, 3), (2, 3, 4))]


@pytest.mark.parametrize("constant", [None, 0, 1])
@pytest.mark.parametrize("left, right", SHAPES, ids=str)
def test_matmul_of_every_rank(left, right, constant):
    shapes = [left, right]
    tensors = [draw(*left, seed=1), draw(*right, seed=2)]

    def write(editor, *inputs):
        operands = list(inputs)
        if constant is not None:
            operands.insert(constant, editor.constant("w", tensors[constant]))
        return matrix_product(editor.call, *operands)
    module = graph(write, *(shape for position, shape in enumerate(shapes) if position != constant))
    seen = module(*(tensor for position, tensor in enumerate(tensors) if position != constant))[0]
    expected = torch.matmul(*tensors)
    assert seen.shape == expected.shape
    assert float((seen - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


def test_nothing_is_written_twice():
    """A product that is a bmm already: one transpose, of the right operand's last axes, as the integers want it."""
    module, _ = build("nik", "nkj", "nij")
    assert operators(module) == ["permute", "permute", "bmm"]
    module, _ = build("nik", "njk", "nij")
    assert operators(module) == ["permute", "bmm"]


def test_a_constant_is_what_depends_on_no_input():
    def write(editor, x):
        weight = editor.call(aten.neg.default, editor.constant("w", draw(2, 3)))
        assert is_constant(weight) and is_constant(weight.args[0]) and not is_constant(x)
        return editor.call(aten.add.Tensor, x, weight)
    module = graph(write, (2, 3))
    assert_same_values(module, module, draw(2, 3))
