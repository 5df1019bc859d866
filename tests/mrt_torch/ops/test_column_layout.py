"""Rows of detections whose class, score and box keep scales of their own.

Oracle: the float operator of the values that the integer graph itself holds: exact but for the division by the scales.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.ops.column_layout import columns_are_read, keeps_columns, takes_columns
from mrt_torch.ops.detection_kernels import BOX_NMS
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import aten, graph, integer_model, operators
from tests.mrt_torch.ops.test_detection import DEFAULTS, rows

COLUMNS = ((0, 1), (1, 2), (2, 6))
PARTS = ("ids", "scores", "boxes")


def columns(e, x, *, magnitude=50.0, name=""):
    """Of rows (N, n, 6): whole classes that the shape alone gives, or -1; scores below 1; boxes of many pixels."""
    ids, scores, boxes = (e.call(aten.slice.Tensor, x, 2, begin, end, 1, name=f"{part}{name}" if begin == 2 else None)
                          for part, (begin, end) in zip(PARTS, COLUMNS, strict=True))
    count = x.meta["val"].shape[1]
    places = e.constant("places", torch.arange(count, dtype=torch.float64).reshape(1, -1, 1) % 3)
    valid = e.call(aten.gt.Scalar, ids, -0.5)
    ids = e.call(aten.add.Tensor, e.call(aten.mul.Scalar, ids, 0), places)
    return (e.call(aten.where.ScalarOther, valid, ids, -1.0, name=f"ids{name}"),
            e.call(aten.sigmoid.default, scores, name=f"scores{name}"),
            e.call(aten.mul.Scalar, boxes, magnitude))  # of the same integers


def detector(e, x, **changes):
    found = e.call(aten.cat.default, list(columns(e, x)), -1, name="rows")
    kept = e.call(BOX_NMS, found, *{**DEFAULTS, **changes}.values(), name="nms")
    kept = e.call(aten.slice.Tensor, kept, 1, 0, 20, 1)
    return [e.call(aten.slice.Tensor, kept, 2, begin, end, 1) for begin, end in COLUMNS]


def held_rows(model, x) -> torch.Tensor:
    """The rows that the integer graph holds, in float64; its outputs have the scales of their columns."""
    values = model.values(x)
    return torch.cat([values[name].to(torch.float64) / scale
                      for name, scale in zip(PARTS, model.scales, strict=True)], -1)


@given(seed=st.integers(0, 2**31), overlap=st.integers(1, 99), topk=st.integers(-1, 10).filter(bool),
       force=st.booleans(), valid=st.integers(-8, 32))
@settings(max_examples=20, deadline=None)
def test_a_suppression_of_columns_is_that_in_floats(seed, overlap, topk, force, valid):
    """Classes and empty rows come back exactly, scores and boxes as the columns hold them."""
    changes = dict(overlap_thresh=overlap / 100, topk=topk, force_suppress=force, valid_thresh=valid / 32 + 1 / 99)
    x = rows(seed, batch=2)
    model = integer_model(graph(lambda e, x: detector(e, x, **changes), x.shape), x, input_precision=16)
    assert model.scales[0] == 1.0 and len(set(model.scales)) == 3
    kept = BOX_NMS(held_rows(model, x), *{**DEFAULTS, **changes, "overlap_thresh": overlap / 100 - 1e-9}.values())
    for found, scale, (begin, end) in zip(model.integers(x), model.scales, COLUMNS, strict=True):
        expected = kept[:, :20, begin:end]
        # -1 in an empty row is rounded to the grid of the column
        assert float((found / scale - expected).abs().max()) <= (0.5 / scale if scale != 1 else 0) + 1e-9


def test_an_output_of_whole_rows_has_the_finest_of_their_scales():
    """Oracle: the float operator of the same rows; each column is within a unit of 28 bits of its own integers, and
    within 2**-12 of it, which the fraction of a rescaling may miss.
    """
    x = rows(0)

    def build(e, x):
        return e.call(BOX_NMS, e.call(aten.cat.default, list(columns(e, x)), -1), *DEFAULTS.values())
    sliced = integer_model(graph(detector, x.shape), x, input_precision=16)
    whole = integer_model(graph(build, x.shape), x, input_precision=16)
    assert whole.scales[0] == max(sliced.scales)
    expected = torch.cat([o / s for o, s in zip(sliced.integers(x), sliced.scales, strict=True)], -1)
    assert float(((whole(x)[:, :20] - expected).abs() - 2.0 ** -12 * expected.abs()).max()) <= 1 / whole.scales[0]


def heads(e, x):
    """Two heads of rows, their columns of other scales, moved and stacked as YOLOv3 does it."""
    found = []
    for index, magnitude in enumerate((50.0, 17.0)):
        ids, scores, boxes = columns(e, x, magnitude=magnitude, name=index)
        scores = e.call(aten.mul.Scalar, scores, (1.0, 0.3)[index], name=f"scaled{index}")
        head = e.call(aten.cat.default, [ids, scores, boxes], -1)
        head = e.call(aten.reshape.default, head, [-1, 4, 6, 6])
        head = e.call(aten.permute.default, head, [0, 2, 1, 3])
        found.append(e.call(aten.reshape.default, head, [-1, 24, 6]))
    stacked = e.call(aten.cat.default, found, 1)
    kept = e.call(BOX_NMS, stacked, *{**DEFAULTS, "overlap_thresh": 0.45}.values())
    return [e.call(aten.slice.Tensor, kept, 2, begin, end, 1) for begin, end in COLUMNS]


@pytest.mark.parametrize("seed", range(3))
def test_heads_are_stacked_at_one_scale_for_each_column(seed):
    """Scores and boxes get the scale of the head with the largest; the others lose 2**-15 of their own largest by
    rounding to 16 bits and 2**-14 by the rounding of the fraction. Classes stay whole.
    """
    x = rows(seed)
    module = graph(heads, x.shape)
    model = integer_model(module, x, input_precision=16)
    found = [values / scale for values, scale in zip(model.integers(x), model.scales, strict=True)]
    assert model.scales[0] == 1.0
    for seen, expected, magnitude in zip(found, module(model.seen(x)), (0, 1, 1000), strict=True):
        assert float((seen - expected).abs().max()) <= 2.0 ** -13 * magnitude


def test_a_slice_of_columns_has_their_scale():
    """Behind layout operators too: exactly the integers of the part. Across two parts it has two scales again."""
    x = rows(0)

    def build(e, x):
        joined = e.call(aten.cat.default, list(columns(e, x)), -1)
        moved = e.call(aten.permute.default, e.call(aten.unsqueeze.default, joined, 1), [0, 2, 1, 3])
        moved = e.call(aten.squeeze.dims, e.call(aten.slice.Tensor, moved, 1, 4, 20, 2), [2])
        inner = e.call(aten.slice.Tensor, moved, 2, 1, 4, 1)
        return [e.call(aten.slice.Tensor, moved, 2, 3, 5, 1), e.call(aten.slice.Tensor, inner, 2, 0, 1, 1),
                e.call(aten.slice.Tensor, inner, 2, 1, 3, 1)]
    model = integer_model(graph(build, x.shape), x, input_precision=16)
    values = model.values(x)
    expected = values["boxes"][:, 4:20:2, 1:3], values["scores"][:, 4:20:2], values["boxes"][:, 4:20:2, :2]
    for found, wanted in zip(model.integers(x), expected, strict=True):
        assert torch.equal(found, wanted)


def test_other_readers_see_one_scale():
    """16 bits of the calibrated range and two beyond: within a unit of it and 2**-12. Oracle: the float graph."""
    x = rows(0)

    def build(e, x):
        joined = e.call(aten.cat.default, list(columns(e, x)), -1)
        return [e.call(aten.slice.Tensor, joined, 2, 1, 2, 1), e.call(aten.relu.default, joined),
                e.call(aten.slice.Tensor, joined, 2, 1, 5, 2)]
    module = graph(build, x.shape)
    model = integer_model(module, x, input_precision=16)
    for found, scale, wanted in zip(model.integers(x)[1:], model.scales[1:], module(model.seen(x))[1:], strict=True):
        assert float(((found / scale - wanted).abs() - 2.0 ** -12 * wanted.abs()).max()) <= 1 / scale


def test_without_such_a_reader_a_concatenation_has_one_scale():
    """Near miss: other readers than suppressions and slices of columns, and another axis."""
    x = rows(0)

    def build(e, x):
        joined = e.call(aten.cat.default, list(columns(e, x)), -1)
        return e.call(aten.relu.default, joined)
    model = integer_model(graph(build, x.shape), x, input_precision=16)
    assert operators(model.module).count("concatenate") == 1 and len(model.scales) == 1


def test_what_keeps_and_takes_columns():
    x = rows(0)

    def build(e, x):
        return [e.call(aten.reshape.default, x, [-1, 2, 12, 6], name="rows"),
                e.call(aten.reshape.default, x, [-1, 12, 12], name="pairs"),
                e.call(aten.permute.default, x, [1, 0, 2], name="moved"),
                e.call(aten.permute.default, x, [0, 2, 1], name="turned"),
                e.call(aten.slice.Tensor, x, 1, 0, 5, 1, name="cut"),
                e.call(aten.slice.Tensor, x, -1, 0, 5, 1, name="taken"),
                e.call(aten.slice.Tensor, x, 2, 0, 6, 2, name="stepped"),
                e.call(aten.cat.default, [x, x], 1, name="stacked"),
                e.call(aten.cat.default, [x, x], -1, name="joined"),
                e.call(aten.unsqueeze.default, x, -1, name="deeper"), e.call(aten.relu.default, x, name="changed")]
    nodes = {node.name: node for node in graph(build, x.shape).graph.nodes if node.op == "call_function"}
    assert {name for name, node in nodes.items() if keeps_columns(node)} == {"rows", "moved", "cut", "stacked"}
    assert {name for name, node in nodes.items() if takes_columns(node)} == {"taken"}
    assert not columns_are_read(nodes["joined"])
    detecting = prepare(graph(detector, x.shape))
    assert {node.name for node in detecting.graph.nodes if node.target is aten.cat.default and columns_are_read(node)}


@pytest.mark.parametrize("name, begin, end, apart", [("a part", 1, 2, True), ("within a part", 2, 4, True),
                                                     ("two parts", 1, 4, False), ("all", 0, 6, False)])
def test_columns_stay_apart_for_slices_of_one_input(name, begin, end, apart):
    """A relu behind the slice wants one scale: with columns of two inputs they would have to be joined again."""
    x = rows(0)

    def build(e, x):
        joined = e.call(aten.cat.default, list(columns(e, x)), -1, name="joined")
        taken = e.call(aten.slice.Tensor, e.call(aten.unsqueeze.default, joined, 0), 3, begin, end, 1)
        return [e.call(aten.relu.default, taken), joined]
    nodes = graph(build, x.shape).graph.nodes
    assert [columns_are_read(node) for node in nodes if node.name == "joined"] == [apart], name
