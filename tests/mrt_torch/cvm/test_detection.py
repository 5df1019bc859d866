"""get_valid_counts and non_max_suppression against plain loops over Python integers."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import OPERATORS, Call, Interval, analyse, gas, verify
from mrt_torch.errors import ExportError, InvalidArgumentError, InvalidFileError, InvalidGraphError
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.graph.serialization import load_graph, save_graph
from mrt_torch.graph.stage import Stage
from mrt_torch.passes import prepare_for_compile
from tests.bridges.cvm.graphs import cvm, integer_graph
from tests.mrt_torch.cvm.calls import assert_range_holds, call_on, divergences, integers, limits, run, tensor
from tests.mrt_torch.cvm.calls import operand as operand_of
from tests.mrt_torch.cvm.detection_graphs import detection_graph
from tests.mrt_torch.cvm.oracles import get_valid_counts, overlap, suppress

PLAIN = {"iou_threshold": 50, "force_suppress": False, "top_k": -1, "max_output_size": -1}


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3), st.integers(1, 8), st.integers(2, 31), st.integers(-130, 130), st.integers(0, 99))
def test_get_valid_counts_is_the_definition(batch, rows, width, threshold, seed):
    data = integers((batch, rows, width), seed=seed)
    found = run("get_valid_counts", data, score_threshold=threshold)
    expected = get_valid_counts(data.numpy().astype(object), score_threshold=threshold)
    assert [result.tolist() for result in found] == [reference.tolist() for reference in expected]
    assert_range_holds("get_valid_counts", data, score_threshold=threshold)


@st.composite
def detections(draw):
    """Rows that often share an id, a score and most of their boxes, also degenerate and empty ones."""
    batch, rows = draw(st.integers(1, 2)), draw(st.integers(1, 9))
    bound = draw(st.sampled_from([3, 12, 1000, 2 ** 30 - 1]))
    coordinate = st.integers(-bound, bound) | st.sampled_from([0, bound, -bound, bound - 1])
    row = st.tuples(st.integers(-1, 2), st.integers(0, 3) | coordinate, *[coordinate] * 4)
    data = draw(st.lists(st.lists(row, min_size=rows, max_size=rows), min_size=batch, max_size=batch))
    counts = draw(st.lists(st.integers(-2, rows + 2), min_size=batch, max_size=batch))
    attributes = {"iou_threshold": draw(st.sampled_from([1, 20, 50, 99, 100, 101, 2 ** 31 - 1])),
                  "force_suppress": draw(st.booleans()), "top_k": draw(st.integers(-1, rows + 1)),
                  "max_output_size": draw(st.integers(-1, rows + 1))}
    return data, counts, attributes


@settings(deadline=None, max_examples=100)
@given(detections())
def test_non_max_suppression_is_the_definition(example):
    data, counts, attributes = example
    expected = [suppress([list(row) for row in rows], count, **attributes) for rows, count in zip(data, counts)]
    assert run("non_max_suppression", tensor(data), tensor(counts), **attributes).tolist() == expected
    assert_range_holds("non_max_suppression", tensor(data), tensor(counts), precisions=[31, 32], **attributes)


def test_overlaps_beyond_int64_divide_the_union():
    """Twice the largest box: 100 times the overlap exceeds int64."""
    edge = 2 ** 30 - 1
    boxes = [[0, 2, -edge, -edge, edge, edge], [0, 1, -edge, -edge, edge, edge - 2 ** 25]]
    assert 100 * (2 * edge) * (2 * edge - 2 ** 25) > 2 ** 63
    percent = overlap(*boxes)
    assert 95 < percent < 99
    for threshold, kept in ((percent, 1), (percent + 1, 2)):
        result = run("non_max_suppression", tensor([boxes]), tensor([2]), **{**PLAIN, "iou_threshold": threshold})
        assert (result[0, :, 0] >= 0).sum().item() == kept


def test_equal_scores_keep_their_order():
    rows = [[0, 7, index, 0, index + 1, 1] for index in range(20)]
    result = run("non_max_suppression", tensor([rows]), tensor([20]), **PLAIN)
    assert result[0].tolist() == rows


def test_ranges_of_get_valid_counts_are_exact():
    """Oracle: all rows of two elements of small intervals."""
    row = OPERATORS["get_valid_counts"]
    for low, high in itertools.combinations_with_replacement(range(-2, 3), 2):
        for threshold in range(-3, 4):
            results = [get_valid_counts(np.array([[values]], dtype=object), score_threshold=threshold)
                       for values in itertools.product(range(low, high + 1), repeat=2)]
            data = operand_of(torch.empty(1, 1, 2, device="meta"), 4, value_range=Interval(low, high))
            counts, rows = row.value_range(Call((data,), {"score_threshold": threshold}, (1,)))
            seen = [value for _, kept in results for value in kept[0, 0]]
            assert counts == Interval(min(c[0] for c, _ in results), max(c[0] for c, _ in results))
            assert rows == Interval(min(seen), max(seen))


@pytest.mark.parametrize(("values", "count", "changes", "expected"), [
    ((0, 5), (0, 3), {}, (-1, 5)), ((2, 5), (3, 9), {"iou_threshold": 101}, (2, 5)), ((2, 5), (3, 9), {}, (-1, 5)),
    ((2, 2), (3, 9), {}, (2, 2)), ((2, 5), (-4, 0), {}, (-1, -1)), ((-5, -1), (0, 3), {}, (-1, -1)),
    ((2, 5), (3, 9), {"top_k": 0}, (-1, -1)), ((2, 5), (3, 9), {"max_output_size": 0}, (-1, -1)),
    ((2, 2), (3, 3), {"top_k": 2}, (-1, 2)), ((2, 2), (3, 3), {"max_output_size": 2}, (-1, 2)),
    ((-9, 5), (3, 3), {"iou_threshold": 101}, (-9, 5))])
def test_range_of_non_max_suppression(values, count, changes, expected):
    """Oracle: the definition by hand. Three rows; -1 is possible where a row may be missing or dropped."""
    data = operand_of(torch.empty(1, 3, 6, device="meta"), 8, value_range=Interval(*values))
    counts = operand_of(torch.empty(1, device="meta"), 8, value_range=Interval(*count))
    call = Call((data, counts), {**PLAIN, **changes}, (1, 3, 6))
    assert OPERATORS["non_max_suppression"].value_range(call) == Interval(*expected)


# numbits of cvm-format: one bit more than needed for 2**k - 1.
@pytest.mark.parametrize(("shape", "bits"), [((1, 1, 2), 3), ((1, 5, 3), 6), ((1, 21, 3), 8), ((5, 2, 31), 7)])
def test_precision_of_get_valid_counts(shape, bits):
    call = call_on("get_valid_counts", integers(shape), precisions=[11], score_threshold=0)
    assert OPERATORS["get_valid_counts"].precision(call) == (bits, 11)


def test_limits_of_non_max_suppression():
    rows, count = integers((1, 4, 6), 0, 9), tensor([4])
    assert not limits("non_max_suppression", rows, count, **PLAIN)
    assert not divergences("non_max_suppression", rows, count, **PLAIN)
    assert "not positive" in limits("non_max_suppression", rows, count, **{**PLAIN, "iou_threshold": 0})
    assert "overflow" in limits("non_max_suppression", rows + 2 ** 30, count, **PLAIN)
    for changes, reason in (({"max_output_size": 0}, "max_output_size 0"), ({"top_k": 3}, "writes over its input")):
        assert reason in divergences("non_max_suppression", rows, count, **{**PLAIN, **changes})
    assert not divergences("non_max_suppression", rows, count, **{**PLAIN, "top_k": 4})
    assert "ids may be negative" in divergences("non_max_suppression", rows - 1, count, **PLAIN)
    assert "batch" in divergences("non_max_suppression", torch.cat([rows, rows]), tensor([4, 4]), **PLAIN)


@pytest.mark.parametrize(("name", "shapes"), [
    ("get_valid_counts", [(2, 3)]), ("get_valid_counts", [(1, 3, 1)]), ("get_valid_counts", [(1, 3, 32)]),
    ("non_max_suppression", [(1, 3, 5), (1,)]), ("non_max_suppression", [(1, 3, 6), (2,)]),
    ("non_max_suppression", [(1, 3, 6), (1, 1)]), ("non_max_suppression", [(3, 6), (3,)])])
def test_shapes_the_runtime_refuses(name, shapes):
    with pytest.raises(InvalidArgumentError):
        OPERATORS[name].output_shapes(shapes, {})


@pytest.mark.parametrize(("name", "value"), [
    ("coord_start", "1"), ("score_index", "0"), ("id_index", "-1"), ("return_indices", "True"),
    ("invalid_to_bottom", "0"), ("iou_threshold", "50.0"), ("top_k", str(2 ** 31))])
def test_attributes_the_runtime_refuses(name, value):
    row = OPERATORS["non_max_suppression"]
    assert row.read_attributes({}) == PLAIN
    assert row.read_attributes({"id_index": "0", "invalid_to_bottom": "TRUE", "top_k": "7"}) == {**PLAIN, "top_k": 7}
    with pytest.raises(InvalidFileError, match=f"'{name}'"):
        row.read_attributes({name: value})


def test_facts_of_several_outputs():
    """Oracle: the rules by hand. Outputs stand in getitem nodes; the operator itself has no facts."""
    module = detection_graph()
    counts, rows, suppressed = module.graph.output_node().args[0]
    assert facts_of(counts).precision == 6 and facts_of(counts).value_range == Interval(0, 5)
    assert facts_of(rows).precision == 8 and facts_of(rows).value_range == Interval(-127, 127)
    assert facts_of(suppressed).precision == 8
    verify(module)


def test_gas_counts_both_outputs_once():
    """cvm-format 4.6: 5 for each element, one for each count, 20 for each element of the suppressed rows."""
    module = detection_graph()
    elements = 30 + 5 + 5 + 25 + 30 + 1 + 30 + 30  # data, ids, valid ids, the rest, rows, counts, valid rows, result
    assert gas(module) == 5 * elements + (5 + 5 + 25 + 30) + 1 + 20 * 30


def test_ids_are_proven_by_their_column():
    verify(detection_graph())
    with pytest.raises(ExportError, match="ids may be negative"):
        verify(detection_graph(clean_ids=False))


def test_rows_read_again_are_not_cut():
    with pytest.raises(ExportError, match="writes over its input"):
        verify(detection_graph(top_k=3))
    verify(detection_graph(top_k=3, heads=slice(2, 3)))


@pytest.mark.parametrize("batch", [1, 3])
def test_batches_are_suppressed_one_by_one(batch):
    """Oracle: the graph whose batch is free."""
    free = detection_graph(batch=2)
    fixed = prepare_for_compile(free, {"data": (batch, 5, 6)})
    verify(fixed)
    values = integers((batch, 5, 6), seed=3)
    for ours, theirs in zip(free(values), fixed(values), strict=True):
        assert torch.equal(ours, theirs)
    names = [str(node.target) for node in fixed.graph.nodes]
    assert names.count("cvm.non_max_suppression.default") == batch


def test_saved_and_loaded(tmp_path):
    """Oracle: the graph that was saved; both outputs come back."""
    module = detection_graph(batch=2)
    save_graph(module, Stage.INTEGER, tmp_path / "a.json", tmp_path / "a.safetensors")
    loaded, stage, _ = load_graph(tmp_path / "a.json", tmp_path / "a.safetensors")
    values = integers((3, 5, 6))
    assert stage is Stage.INTEGER
    assert all(torch.equal(a, b) for a, b in zip(module(values), loaded(values), strict=True))


def test_the_batch_stays_free():
    assert [free_axis(head) for head in detection_graph(batch=2).graph.output_node().args[0]] == [0, 0, 0]


@pytest.mark.parametrize("index", [2, -1, "0"])
def test_outputs_that_do_not_exist(index):
    module = integer_graph(lambda editor, data: [data], (1, 5, 6))
    data = next(iter(module.graph.nodes))
    with module.graph.inserting_after(data):
        pair = module.graph.call_function(cvm.get_valid_counts.default, (data,), {"score_threshold": 0})
    with module.graph.inserting_after(pair):
        module.graph.call_function(operator.getitem, (pair, index))
    with pytest.raises(InvalidGraphError, match="reads no output"):
        analyse(module)

