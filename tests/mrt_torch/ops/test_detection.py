"""BoxNms and BoxDecode in integers; oracle: the float operator of the same rows, and for decoding its formula.

The float operators themselves are held against MXNet in tests/bridges/mxnet/converters/test_detection.py.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.ops import BipartiteMatching, BoxIou, BoxNms, MultiBoxDetection, apply_pass
from mrt_torch.ops.detection_kernels import BIPARTITE_MATCHING, BOX_DECODE, BOX_IOU, BOX_NMS, MULTIBOX_DETECTION
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    draw,
    graph,
    integer_model,
    operators,
    relative_error,
    rewritten,
    unary,
)

DEFAULTS = dict(overlap_thresh=0.5, valid_thresh=0.0, topk=-1, coord_start=2, score_index=1, id_index=0,
                background_id=-1, force_suppress=False, in_format="corner", out_format="corner")
ROWS = 24


def suppression(shape=(1, ROWS, 6), **changes):
    """Graph of one BoxNms."""
    return unary(BOX_NMS, *{**DEFAULTS, **changes}.values(), shape=shape)


def rows(seed: int, batch: int = 1, count: int = ROWS) -> torch.Tensor:
    """Detections on a coarse grid: many overlaps, equal scores, background."""
    generator = torch.Generator().manual_seed(seed)

    def integers(low, high, *shape):
        return torch.randint(low, high, shape, generator=generator).to(torch.float64)
    corner, size = integers(-4, 12, batch, count, 2), integers(1, 9, batch, count, 2)
    labels, scores = integers(-1, 3, batch, count, 1), integers(-4, 33, batch, count, 1) / 32
    found = torch.cat([labels, scores, corner, corner + size], 2)
    found[0, 0, 4:] = 20  # the threshold of the tensor, whatever the seed
    return found


def expected_rows(model, x: torch.Tensor, **changes) -> torch.Tensor:
    """What the float operator makes of the rows that the integer model sees, overlaps compared in whole percents.

    The float operator cuts the fraction of a class off, so classes are given to it as they were before quantization.
    """
    attributes = {**DEFAULTS, **changes}
    attributes["overlap_thresh"] = round(100 * attributes["overlap_thresh"]) / 100 - 1e-9
    return BOX_NMS(torch.cat([x[..., :1], model.seen(x)[..., 1:]], -1), *attributes.values())


@pytest.mark.parametrize("changes", [
    dict(), dict(force_suppress=True), dict(valid_thresh=0.5), dict(valid_thresh=-3.0), dict(valid_thresh=50.0),
    dict(topk=5), dict(topk=1), dict(overlap_thresh=0.01), dict(overlap_thresh=0.37), dict(overlap_thresh=1.0),
    dict(overlap_thresh=4.0),
], ids=str)
@pytest.mark.parametrize("bits", [16, 24])
def test_suppression_in_integers_is_that_in_floats(changes, bits):
    x = rows(0)
    model = integer_model(suppression(**changes), x, input_precision=bits)
    for batch in (1, 3):
        x = rows(1, batch)
        assert float((model(x) - expected_rows(model, x, **changes)).abs().max()) <= 0.5 / model.scales[0]


@given(seed=st.integers(0, 2**31), overlap=st.integers(1, 100), topk=st.integers(-1, 10).filter(bool),
       force=st.booleans(), valid=st.integers(-8, 32))
@settings(max_examples=30, deadline=None)
def test_suppression_of_any_rows(seed, overlap, topk, force, valid):
    changes = dict(overlap_thresh=overlap / 100, topk=topk, force_suppress=force, valid_thresh=valid / 32 + 1 / 99)
    x = rows(seed)
    model = integer_model(suppression(**changes), x, input_precision=20)
    assert float((model(x) - expected_rows(model, x, **changes)).abs().max()) <= 0.5 / model.scales[0]


def test_its_operators():
    """The class is proven not to be negative, as the runtime's CPU back end needs it (``assert_deployable``)."""
    found = operators(integer_model(suppression(), rows(0), input_precision=16).module)
    assert set(BoxNms.cvm_operators) <= set(found)
    assert found.count("getitem") == 2


def test_nothing_is_left_of_topk_0():
    assert operators(prepare(suppression(topk=0, in_format="center", coord_start=0, score_index=4))) == []


@pytest.mark.parametrize("changes, shape, reason", [
    (dict(coord_start=1, score_index=0, id_index=5), (1, 8, 6), "columns 5, 0 and 1"),
    (dict(id_index=-1), (1, 8, 6), "columns -1, 1 and 2"), (dict(), (1, 8, 7), "shape .1, 8, 7."),
    (dict(), (8, 6), "shape .8, 6."), (dict(), (2, 3, 8, 6), "shape"), (dict(background_id=0), (1, 8, 6), "class is 0"),
    (dict(in_format="center"), (1, 8, 6), "center boxes"), (dict(out_format="center"), (1, 8, 6), "center ones"),
    (dict(overlap_thresh=0.001), (1, 8, 6), "percent"), (dict(valid_thresh=float("inf")), (1, 8, 6), "thresholds"),
], ids=str)
def test_what_the_runtime_cannot_do_is_refused(changes, shape, reason):
    with pytest.raises(UnsupportedOperatorError, match=f"{reason}.*split the model before it"):
        prepare(suppression(shape, **changes))


def test_operations_are_counted_as_the_runtime_does():
    node = next(n for n in suppression().graph.nodes if n.op == "call_function")
    assert apply_pass("calculate_ops", node) == 20 * ROWS * 6


def decoding(anchors: torch.Tensor, *deviations: float, clip: float = -1.0, box_format: str = "center"):
    """Graph that decodes offsets with constant anchors."""
    return graph(lambda editor, x: editor.call(BOX_DECODE, x, editor.constant("anchors", anchors), *deviations, clip,
                                               box_format), (1, *anchors.shape[1:]))


def anchors_of(box_format: str, count: int = 12) -> torch.Tensor:
    centers, sizes = draw(1, count, 2, magnitude=4.0, seed=1) + 5, draw(1, count, 2, seed=2).abs() + 1
    return torch.cat([centers, sizes] if box_format == "center" else [centers - sizes / 2, centers + sizes / 2], 2)


@pytest.mark.parametrize("box_format", ["center", "corner"])
@pytest.mark.parametrize("deviations, clip", [((0.1, 0.1, 0.2, 0.2), -1.0), ((0.1, 0.2, 0.3, 0.4), 0.2)])
def test_decoding_is_rewritten_exactly(box_format, deviations, clip):
    module = decoding(anchors_of(box_format), *deviations, clip=clip, box_format=box_format)
    after = rewritten(module)
    assert "box_decode" not in operators(after)
    for batch in (1, 3):
        assert_same_values(module, after, draw(batch, 12, 4, magnitude=3.0))


@pytest.mark.parametrize("box_format", ["center", "corner"])
def test_decoding_in_integers(box_format):
    """12-bit offsets times anchors, in the 16 bits of sums: errors below a thousandth of the largest coordinate."""
    module = decoding(anchors_of(box_format), 0.1, 0.1, 0.2, 0.2, box_format=box_format)
    x = draw(2, 12, 4, magnitude=3.0)
    model = integer_model(module, x, input_precision=12)
    assert relative_error(model(x), module(x)[0]) < 1e-3


@pytest.mark.parametrize("transformer, target, arguments, shapes", [
    (BoxIou, BOX_IOU, ("corner",), [(5, 4), (3, 4)]),
    (BipartiteMatching, BIPARTITE_MATCHING, (0.5, False, -1), [(1, 5, 4)]),
    (MultiBoxDetection, MULTIBOX_DETECTION, (True, 0.01, [0.1, 0.1, 0.2, 0.2], 0.5, False, -1),
     [(1, 3, 5), (1, 20), (1, 5, 4)]),
])
def test_what_exists_in_floats_only_is_refused_by_its_name(transformer, target, arguments, shapes):
    def build(editor, *inputs):
        return editor.call(target, *inputs, *arguments, source_operator=transformer.op_name, name="post")
    module = graph(build, *shapes)
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    assert "split the model before it" in apply_pass("validate", node)
    assert apply_pass("calculate_ops", node) > 0
