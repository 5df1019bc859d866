"""Rows chosen by indices, and the inputs that hold such indices. Oracles: torch's embedding, and take of integers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, input_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.ops.embedding import reading_of
from mrt_torch.passes import fuse_multiple_inputs, prepare
from tests.mrt_torch.ops.graphs import assert_within, aten, draw, graph, integer_model, operators

INT64 = torch.int64


def table(rows, columns=3, seed=0):
    return draw(rows, columns, seed=seed)


def words(count, shape=(4, 5), seed=0):
    """Indices of which the last row is one."""
    ids = torch.randint(0, count, shape, generator=torch.Generator().manual_seed(seed))
    ids[0, 0] = count - 1
    return ids


def embedded(count, shape=(4, 5), dtype=INT64, then=None):
    def build(editor, x):
        rows = editor.call(aten.embedding.default, editor.constant("w", table(count)), x)
        return rows if then is None else then(editor, rows, x)
    return graph(build, shape, dtype=dtype)


def data_of(model):
    return facts_of(input_nodes(model.module.graph)[0])


@pytest.mark.parametrize("count, bits", [(2, 2), (3, 3), (128, 8), (129, 9), (1000, 11), (30522, 16)])
def test_an_index_has_scale_one_and_the_bits_of_its_table(count, bits):
    """Document 002: the input array to the embedding operator should be scaled to 1. Oracle: the table in 16 bits."""
    ids = words(count)
    model = integer_model(embedded(count), ids)
    assert (data_of(model).scale, data_of(model).precision) == (1.0, bits)
    assert operators(model.module) == ["take"]
    assert_within(model(ids), table(count)[ids], 0.5 / model.scales[0])
    assert model.scales[0] == 32767.0


@pytest.mark.parametrize("input_precision", [8, 31])
def test_the_input_precision_is_that_of_numbers(input_precision):
    assert data_of(integer_model(embedded(1000), words(1000), input_precision=input_precision)).precision == 11


def test_indices_outside_the_table_are_clamped():
    """CVM take. Oracle: the first and the last row."""
    model = integer_model(embedded(7), words(7))
    outside = torch.tensor([[-3, 7, 6, 0, 100]] * 4, dtype=torch.int32)
    values = model.module(outside)[0]
    last, first = values[0, 2], values[0, 3]
    assert torch.equal(values[0], torch.stack([first, last, last, first, last]))


CARRIED = {
    "reshape": lambda e, x: e.call(aten.reshape.default, x, [-1, 5, 1]),
    "permute": lambda e, x: e.call(aten.unsqueeze.default, e.call(aten.permute.default, x, [0, 1]), 2),
    "slice": lambda e, x: e.call(aten.slice.Tensor, x, 1, 1, 4, 1),
    "concat": lambda e, x: e.call(aten.cat.default, [x, e.call(aten.slice.Tensor, x, 1, 0, 2, 1)], 1),
    "shift": lambda e, x: e.call(aten.clamp.default, e.call(aten.add.Scalar, x, 1), 0, 899),
    "multiple": lambda e, x: e.call(aten.clamp.default, e.call(aten.mul.Scalar, x, 3), 0, 899),
    "below": lambda e, x: e.call(aten.clamp.default, e.call(aten.sub.Scalar, x, 2), 0, 899),
}


@pytest.mark.parametrize("name", CARRIED)
def test_what_hands_indices_on(name):
    """They are whole at the table, whatever stands between. Oracle: the same operators in torch."""
    module = graph(lambda e, x: e.call(aten.embedding.default, e.constant("w", table(900)), CARRIED[name](e, x)),
                   (4, 5), dtype=INT64)
    ids = words(900)
    model = integer_model(module, ids)
    assert data_of(model).scale == 1.0
    assert_within(model(ids), module(ids)[0], 0.5 / model.scales[0])


@given(st.sampled_from([2, 60, 5000, 60000]), st.floats(1e-3, 1e3), st.sampled_from([8, 12, 16]), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_indices_joined_with_numbers(count, magnitude, bits, seed):
    """One input holds both, at a power of two from which the indices come back exactly. Oracle: embedding; the numbers
    keep ``input_precision`` bits where 30 bits have room."""
    editor = GraphEditor(empty_graph_module())
    ids, numbers = editor.input("ids", (2, 5), INT64), editor.input("numbers", (2, 3), torch.float32)
    rows = editor.call(aten.embedding.default, editor.constant("w", table(count).float()), ids)
    editor.output([rows, editor.call(aten.relu.default, numbers)])
    editor.module.recompile()
    assert fuse_multiple_inputs(editor.module) == 2
    whole, values = words(count, (2, 5), seed), draw(2, 3, magnitude=magnitude, seed=seed)
    data = torch.cat([whole.float(), values.float()], 1)
    model = integer_model(editor.module, data, input_precision=bits)
    scale = data_of(model).scale
    assert scale == 2 ** round(torch.log2(torch.tensor(scale)).item()) and scale >= 1
    first, second = model.integers(data)
    assert_within(first.double() / model.scales[0], table(count).float().double()[whole], 0.5 / model.scales[0])
    unit = max(magnitude / (2 ** (bits - 1) - 1), max(count, magnitude) / 2 ** 28)
    assert_within(second.double() / model.scales[1], values.relu(), unit)


def test_an_input_that_is_index_and_number():
    """x indexes a table and is added to the rows. Oracle: torch."""
    def both(editor, rows, x):
        return editor.call(aten.mul.Tensor, rows, editor.call(aten.unsqueeze.default, x, 2))

    def build(editor, x):
        index = editor.call(aten._to_copy.default, x, dtype=INT64)
        return both(editor, editor.call(aten.embedding.default, editor.constant("w", table(50)), index), x)
    module, ids = graph(build, (4, 5)), words(50).double()
    assert [node.name for node in reading_of(input_nodes(module.graph)[0]).numbers] == ["unsqueeze_default"]
    model = integer_model(module, ids)
    expected = module(ids)[0]
    assert float((model(ids) - expected).abs().max()) < 0.005 * float(expected.abs().max())
    assert data_of(model).scale >= 2


def test_whole_numbers_that_index_nothing_keep_scale_one():
    """An input of an integer type. Oracle: x + 3."""
    module, x = graph(lambda e, x: e.call(aten.add.Scalar, x, 3), (4, 5), dtype=INT64), words(900)
    model = integer_model(module, x)
    assert (data_of(model).scale, data_of(model).precision) == (1.0, 11)
    assert torch.equal(model(x), (x + 3).double())


def test_constant_indices():
    """Oracle: index_select of the integers."""
    index = torch.tensor([2, 0, 2])
    module = graph(lambda e, x: e.call(aten.index_select.default, x, 2, e.constant("i", index)), (2, 3, 4))
    x = draw(2, 3, 4)
    model = integer_model(module, x)
    assert torch.equal(model.integers(x)[0], model.input_integers(x)[:, :, index])


def test_a_table_of_whole_numbers_is_exact():
    """An identity, as one_hot has it. Oracle: the rows themselves."""
    module = graph(lambda e, x: e.call(aten.embedding.default, e.constant("w", torch.eye(6, dtype=torch.float64)), x),
                   (4, 5), dtype=INT64)
    model = integer_model(module, words(6))
    assert model.scales == [1.0]
    assert torch.equal(model(words(6)), torch.eye(6, dtype=torch.float64)[words(6)])


def test_refusals():
    def along_the_batch(editor, x):
        return editor.call(aten.index_select.default, x, 0, editor.constant("i", torch.tensor([1])))

    def both(editor, x):
        index = editor.call(aten._to_copy.default, editor.call(aten.squeeze.dims, editor.call(
            aten.slice.Tensor, x, 1, 0, 1, 1), [1]), dtype=INT64)
        return editor.call(aten.index_select.default, x, 1, index)
    with pytest.raises(UnsupportedOperatorError, match="it chooses along the batch axis"):
        prepare(graph(along_the_batch, (2, 3)))
    with pytest.raises(UnsupportedOperatorError, match="both follow the batch"):
        prepare(graph(both, (2, 3)))
