"""Operators of detection models; oracle: MXNet 1.9.1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.mxnet.importer import import_symbol
from bridges.mxnet.symbol_file import parse_symbol
from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import check_close, compare, run_mxnet, targets
from tests.bridges.mxnet.parity_tally import TALLY


def detections(seed: int, *shape: int, corner: bool = True, grid: int | None = 40) -> np.ndarray:
    """Rows (class, score, box) of ``shape`` (..., n); with a grid many overlaps and scores are equal."""
    random = np.random.default_rng(seed)
    labels = random.integers(-1, 4, (*shape, 1)).astype(np.float32)
    scores = random.uniform(-0.2, 1, (*shape, 1)).astype(np.float32)
    centers, sizes = random.uniform(-2, 8, (*shape, 2)), random.uniform(0.5, 6, (*shape, 2))
    boxes = np.concatenate([centers - sizes / 2, centers + sizes / 2] if corner else [centers, sizes], -1)
    boxes = boxes.astype(np.float32) if grid is None else np.round(boxes * 4).astype(np.float32) / 4
    scores = scores if grid is None else np.round(scores * grid).astype(np.float32) / grid
    return np.concatenate([labels, scores, boxes], -1)


def same_as_mxnet(mx, symbol, *arrays: np.ndarray, tolerance: float = 1e-5) -> None:
    """The import of a symbol of data0, data1, ... computes what MXNet does."""
    named = {f"data{position}": array for position, array in enumerate(arrays)}
    module = import_symbol(parse_symbol(symbol.tojson()), {}, {name: array.shape for name, array in named.items()})
    error = check_close(module(*map(torch.from_numpy, arrays)), run_mxnet(mx, symbol, named), tolerance)
    TALLY.record(symbol.tojson(), error)


NMS_ATTRIBUTES = [
    dict(), dict(id_index=0), dict(id_index=0, force_suppress=True), dict(id_index=0, background_id=1),
    dict(id_index=0, background_id=-7), dict(background_id=1), dict(id_index=0, topk=5), dict(topk=0), dict(topk=-4),
    dict(id_index=0, valid_thresh=0.5), dict(valid_thresh=-1.0), dict(valid_thresh=2.0), dict(overlap_thresh=0.0),
    dict(overlap_thresh=-1.0), dict(overlap_thresh=1.0), dict(overlap_thresh=0.25, id_index=0),
    dict(in_format="center"), dict(in_format="center", out_format="center", id_index=0), dict(out_format="center"),
]


@pytest.mark.parametrize("attributes", NMS_ATTRIBUTES, ids=str)
def test_box_nms_equals_mxnet(mxnet, attributes):
    """Every attribute, many ties: what is kept, its order and what fills the rest are MXNet's, bit for bit."""
    symbol = mxnet.sym.contrib.box_nms(mxnet.sym.var("data0"), **attributes)
    corner = attributes.get("in_format") != "center"
    for seed, shape in enumerate([(1, 20), (3, 33), (2, 2, 9), (7,), (2, 1)]):
        same_as_mxnet(mxnet, symbol, detections(seed, *shape, corner=corner), tolerance=0)


@pytest.mark.parametrize("attributes, order", [
    (dict(coord_start=0, score_index=4, id_index=5), [2, 3, 4, 5, 1, 0]),
    (dict(coord_start=1, score_index=0), [1, 2, 3, 4, 5]),
    (dict(coord_start=2, score_index=6, id_index=1), [0, 0, 2, 3, 4, 5, 1]),
], ids=str)
def test_box_nms_finds_its_columns_as_mxnet_does(mxnet, attributes, order):
    symbol = mxnet.sym.contrib.box_nms(mxnet.sym.var("data0"), **attributes)
    same_as_mxnet(mxnet, symbol, np.ascontiguousarray(detections(0, 2, 30)[..., order]), tolerance=0)


def test_box_nms_over_several_blocks_equals_mxnet(mxnet):
    """More boxes than are compared at once."""
    symbol = mxnet.sym.contrib.box_nms(mxnet.sym.var("data0"), id_index=0, overlap_thresh=0.3)
    same_as_mxnet(mxnet, symbol, detections(1, 2, 500, grid=None), tolerance=0)


@given(seed=st.integers(0, 2**31), overlap=st.integers(0, 64), topk=st.integers(-1, 12),
       force=st.booleans(), valid=st.integers(-12, 40))
@settings(max_examples=40, deadline=None)
def test_box_nms_of_any_boxes_equals_mxnet(mxnet, seed, overlap, topk, force, valid):
    symbol = mxnet.sym.contrib.box_nms(mxnet.sym.var("data0"), id_index=0, overlap_thresh=overlap / 64, topk=topk,
                                       force_suppress=force, valid_thresh=valid / 40)
    same_as_mxnet(mxnet, symbol, detections(seed, 2, 24), tolerance=0)


def test_alias_and_default_name(mxnet):
    symbol = mxnet.sym.contrib.box_non_maximum_suppression(mxnet.sym.var("data0"), id_index=0)
    same_as_mxnet(mxnet, symbol, detections(0, 1, 20), tolerance=0)


@pytest.mark.parametrize("attributes", [
    dict(), dict(std0=0.1, std1=0.1, std2=0.2, std3=0.2, format="center", clip=-1),
    dict(std0=0.1, std1=0.3, std2=0.2, std3=0.4, clip=0.1), dict(format="corner", std3=0.5),
    dict(format="corner", clip=0.25),
], ids=str)
def test_box_decode_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.contrib.box_decode(mxnet.sym.var("data0"), mxnet.sym.var("data1"), **attributes)
    random = np.random.default_rng(0)
    anchors = detections(1, 1, 11, corner=attributes.get("format") == "corner", grid=None)[..., 2:]
    for batch in (1, 3):
        same_as_mxnet(mxnet, symbol, random.standard_normal((batch, 11, 4)).astype(np.float32), anchors)


@pytest.mark.parametrize("box_format", ["corner", "center"])
@pytest.mark.parametrize("left, right", [((5,), (7,)), ((2, 3), (4,)), ((1, 1), (2, 1, 3))], ids=str)
def test_box_iou_equals_mxnet(mxnet, box_format, left, right):
    symbol = mxnet.sym.contrib.box_iou(mxnet.sym.var("data0"), mxnet.sym.var("data1"), format=box_format)
    boxes = [np.ascontiguousarray(detections(seed, *shape, corner=box_format == "corner")[..., 2:])
             for seed, shape in enumerate((left, right))]
    same_as_mxnet(mxnet, symbol, *boxes)


@pytest.mark.parametrize("attributes", [
    dict(threshold=1e-12), dict(threshold=0.5), dict(threshold=0.6, is_ascend=True), dict(threshold=0.1, topk=1),
    dict(threshold=0.1, topk=2), dict(threshold=2.0),
], ids=str)
def test_bipartite_matching_equals_mxnet(mxnet, attributes):
    matched = mxnet.sym.contrib.bipartite_matching(mxnet.sym.var("data0"), **attributes)
    symbol = mxnet.sym.Group([matched[0] + 1, matched[1]])
    for shape in ((1, 4, 3), (3, 3, 5), (2, 2, 4, 4), (3, 2)):
        random = np.random.default_rng(sum(shape))
        same_as_mxnet(mxnet, symbol, np.round(random.uniform(0, 1, shape) * 8).astype(np.float32) / 8)


@pytest.mark.parametrize("attributes", [
    dict(), dict(sizes=(0.2, 0.35)), dict(sizes=(0.2, 0.35), ratios=(1, 2, 0.5)), dict(sizes=(0.9,), clip=True),
    dict(steps=(0.1, 0.2), offsets=(0.0, 1.0)), dict(sizes=(0.5,), ratios=(2.0, 3.0)), dict(steps=(0.0, 0.5)),
], ids=str)
def test_multibox_prior_equals_mxnet(mxnet, attributes):
    """Anchors depend on the shape alone: the import is a constant."""
    symbol = mxnet.sym.contrib.MultiBoxPrior(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 2, 3, 5))) == []


@pytest.mark.parametrize("attributes", [
    dict(), dict(threshold=0.3), dict(nms_threshold=0.2), dict(force_suppress=True, nms_threshold=0.3),
    dict(clip=False), dict(nms_topk=4), dict(nms_threshold=0), dict(nms_threshold=1.5),
    dict(variances=(0.2, 0.1, 0.3, 0.4)), dict(threshold=2.0),
], ids=str)
def test_multibox_detection_equals_mxnet(mxnet, attributes):
    symbol = mxnet.sym.contrib.MultiBoxDetection(*map(mxnet.sym.var, ("data0", "data1", "data2")), **attributes)
    for batch, count in ((1, 12), (3, 25)):
        random = np.random.default_rng(count)
        logits = np.exp(3 * random.standard_normal((batch, 4, count)))
        probabilities = np.round(logits / logits.sum(1, keepdims=True) * 64).astype(np.float32) / 64
        corners = np.sort(random.uniform(0, 1, (1, count, 2, 2)).astype(np.float32), 2).reshape(1, count, 4)
        offsets = random.standard_normal((batch, 4 * count)).astype(np.float32)
        same_as_mxnet(mxnet, symbol, probabilities, offsets, np.ascontiguousarray(corners))


@pytest.mark.parametrize("operator, attributes, shapes", [
    ("_contrib_box_nms", {"score_index": "3"}, [(1, 4, 6)]), ("_contrib_box_nms", {"coord_start": "3"}, [(1, 4, 6)]),
    ("_contrib_box_nms", {"id_index": "1"}, [(1, 4, 6)]), ("_contrib_box_nms", {}, [(6,)]),
    ("_contrib_box_decode", {}, [(1, 4, 4), (1, 5, 4)]), ("_contrib_box_decode", {}, [(1, 4, 4), (2, 4, 4)]),
    ("_contrib_box_iou", {}, [(3, 4), (2, 5)]), ("_contrib_MultiBoxPrior", {"steps": "(1,)"}, [(1, 1, 2, 2)]),
    ("_contrib_MultiBoxPrior", {}, [(1, 2, 2)]), ("_contrib_MultiBoxPrior", {"ratios": "(1, 0)"}, [(1, 1, 2, 2)]),
    ("_contrib_MultiBoxDetection", {}, [(1, 3, 5), (1, 16), (1, 5, 4)]),
    ("_contrib_MultiBoxDetection", {"variances": "(1, 1)"}, [(1, 3, 5), (1, 20), (1, 5, 4)]),
    ("_contrib_bipartite_matching", {"threshold": "1"}, [(3,)]),
], ids=str)
def test_contradicting_shapes_and_attributes_are_refused(import_node, operator, attributes, shapes):
    with pytest.raises(InvalidGraphError, match=operator):
        import_node(operator, attributes, *shapes)


def test_a_silly_number_of_anchors_is_refused(import_node):
    with pytest.raises(UnsupportedOperatorError, match="anchors"):
        import_node("_contrib_MultiBoxPrior", {}, (1, 1, 100_000, 100_000))
