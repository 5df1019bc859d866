"""What a configuration declares about the scales of a merged model. Oracle: the scales that its integers have."""

from __future__ import annotations

import pytest
import torch

from mrt_torch import Model
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.detection_kernels import BOX_NMS
from tests.mrt_torch.ops.test_detection import DEFAULTS, rows

aten = torch.ops.aten
GREATER = {"_greater_scalar": {"scalar": "scores"}}
NMS = {"_contrib_box_nms": {"valid_thresh": "scores"}}


def detector() -> Model:
    """Scores above 0.01 of rows of detections, suppressed; the ids are counted."""
    editor = GraphEditor(empty_graph_module())
    x = editor.input("data", (1, 24, 6))
    scores = editor.call(aten.sigmoid.default, editor.call(aten.slice.Tensor, x, 2, 1, 2, 1), name="scores")
    boxes = editor.call(aten.mul.Scalar, editor.call(aten.slice.Tensor, x, 2, 2, 6, 1), 3.0, name="boxes")
    zeros = editor.call(aten.zeros_like.default, scores, name="zeros")
    places = editor.constant("places", torch.arange(24.0).reshape(1, 24, 1) % 3)
    ids = editor.call(aten.add.Tensor, zeros, places)
    ids = editor.call(aten.where.ScalarOther, editor.call(aten.gt.Scalar, scores, 0.01, name="above"), ids, -1.0)
    found = editor.call(aten.cat.default, [ids, scores, boxes], -1)
    kept = editor.call(BOX_NMS, found, *DEFAULTS.values(), name="nms")
    editor.output([editor.call(aten.slice.Tensor, kept, 2, begin, end, 1, name=name)
                   for name, begin, end in (("out_ids", 0, 1), ("out_scores", 1, 2), ("out_boxes", 2, 6))])
    editor.module.recompile()
    return Model(editor.module, Stage.SOURCE)


@pytest.fixture(scope="module")
def merger():
    base, top = detector().split(["zeros", "scores", "boxes"])
    base.prepare()
    mrt = base.get_mrt()
    mrt.set_data(rows(0, batch=4).to(torch.float32))
    mrt.calibrate(progress=False)
    return Model.merger(mrt.quantize(), top, mrt.get_maps())


def test_true_declarations_are_silent(merger, caplog):
    merged = merger.merge_integers({**GREATER, **NMS},
                                   {"out_ids": "None", "out_scores": "scores", "out_boxes": "boxes"})
    scales = dict(zip(merger.base.output_names(), merger.base.record.output_scales, strict=True))
    assert merged.record.output_scales == (1.0, scales["scores"], scales["boxes"])
    assert not caplog.records


@pytest.mark.parametrize("deps, maps, message", [
    ({"_greater_scalar": {"scalar": "boxes"}}, {}, "scalar of node 'above'"),
    ({"_contrib_box_nms": {"valid_thresh": "boxes"}}, {}, "valid_thresh of node 'nms'"),
    ({"_contrib_box_nms": {"overlap_thresh": "scores"}}, {}, "has the scale 1 of its data"),
    ({}, {"out_ids": "scores"}, "output 'out_ids' has the scale 1, not"),
    ({}, {"out_scores": "None"}, "not 1 of 'None' as declared"),
    ({}, {"s2out_scores": "scores"}, "declared for 's2out_scores', but the merged model's outputs are out_ids")])
def test_what_contradicts_the_integers_is_a_warning(merger, caplog, deps, maps, message):
    """The model is the same as without the declaration."""
    merged = merger.merge_integers(deps, maps)
    assert [message in record.getMessage() for record in caplog.records] == [True]
    assert merged.record == merger.merge_integers().record and merged.module.code == merger.merge_integers().module.code


@pytest.mark.parametrize("deps, maps, message", [
    ({"_lesser_scalar": {"scalar": "scores"}}, {}, r"no operator '_lesser_scalar'(.|\n)*_contrib_box_nms"),
    ({"_contrib_box_nms": {"threshold": "scores"}}, {}, r"no attribute 'threshold'(.|\n)*valid_thresh"),
    ({"_greater_scalar": {"scalar": "score"}}, {}, r"no output 'score'(.|\n)*_greater_scalar: scalar(.|\n)*'scores'"),
    ({}, {"out_ids": "nothing"}, r"no output 'nothing'(.|\n)*out_ids(.|\n)*'zeros'")])
def test_what_does_not_exist_is_an_error_that_lists_what_does(merger, deps, maps, message):
    with pytest.raises(InvalidArgumentError, match=message):
        merger.merge_integers(deps, maps)
