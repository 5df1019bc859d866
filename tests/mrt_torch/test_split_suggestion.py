"""Keys for graphs with parts that have no integer form.

Oracles: ``Model.prepare`` accepts the base; base followed by top gives exactly what the whole model gives; and names
written by hand.
"""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from mrt_torch import Model
from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.detection_kernels import BOX_NMS
from mrt_torch.ops.likeness import BROADCAST_LIKE, SLICE_LIKE
from mrt_torch.split_suggestion import NO_PRODUCT, SplitSuggestion, suggest_split
from tests.end_to_end.models import as_tuple
from tests.mrt_torch.ops.graphs import aten, draw

IMAGE = (2, 3, 6, 6)


def conv(e, x, name: str, channels: int = 4, seed: int = 0, **keywords):
    shape = (channels, x.meta["val"].shape[1], 3, 3)
    weight = e.constant(f"{name}_weight", draw(*shape, seed=seed, dtype=torch.float32))
    return e.call(aten.conv2d.default, x, weight, None, [1, 1], [1, 1], [1, 1], 1, name=name, **keywords)


def dense(e, x, name: str, units: int = 5):
    weight = e.constant(f"{name}_weight", draw(units, x.meta["val"].shape[-1], dtype=torch.float32))
    return e.call(aten.linear.default, x, weight, None, name=name)


def unary(e, x, target, name: str):
    return e.call(target, x, name=name)


def mystery(e, x, name: str = "mystery"):
    """An operator that torch has and the library does not."""
    return e.call(aten.digamma.default, x, name=name)


def network(build, shape=IMAGE) -> Model:
    editor = GraphEditor(empty_graph_module())
    outputs = build(editor, editor.input("image", shape))
    editor.output(outputs if isinstance(outputs, (tuple, list)) else [outputs])
    editor.module.recompile()
    return Model(editor.module, Stage.SOURCE)


def check(model: Model, expected=None, shape=IMAGE) -> SplitSuggestion:
    """Split at the suggested keys: both oracles."""
    suggestion = suggest_split(model.module)
    keys = [key.name for key in suggestion.keys]
    assert expected is None or keys == expected
    with pytest.raises(UnsupportedOperatorError):
        model.prepare()
    base, top = model.split(keys)
    x = draw(*shape, seed=7, dtype=torch.float32)
    between = as_tuple(base(x))
    assert [tuple(value.shape) for value in between] == [key.shape for key in suggestion.keys]
    for seen, whole in zip(as_tuple(top(*between)), as_tuple(model(x)), strict=True):
        assert torch.equal(seen.nan_to_num(), whole.nan_to_num())
    base.prepare()
    assert suggestion.unsupported and all(key.because for key in suggestion.keys)
    json.dumps(suggestion.to_json())
    return suggestion


def test_a_model_without_unsupported_parts():
    suggestion = suggest_split(network(lambda e, x: conv(e, x, "c")).module)
    assert suggestion == SplitSuggestion() and not suggestion.to_json()["needed"]


def test_in_the_middle_of_a_chain():
    """The last supported value below is the key; a convolution above stays above."""
    found = check(network(lambda e, x: conv(e, mystery(e, unary(e, conv(e, x, "c0"), aten.relu.default, "r0")), "c1")),
                  ["r0"])
    assert found.keys[0].because == ("node 'mystery' (aten.digamma.default)",) and found.note is None
    assert "aten.digamma.default, once" in found.unsupported[0]


def test_branches_that_bypass():
    def build(e, x):
        low = conv(e, x, "low")
        return e.call(aten.add.Tensor, mystery(e, conv(e, low, "left")), conv(e, low, "right"), name="sum")
    found = check(network(build), ["left", "right"])
    assert {key.because for key in found.keys} == {("node 'mystery' (aten.digamma.default)",)}


def test_several_heads():
    """What is returned below the cut is a key; a light head above the narrow point is not."""
    def build(e, x):
        low = conv(e, x, "low")
        return (conv(e, low, "head"), unary(e, low, aten.sigmoid.default, "light"),
                mystery(e, unary(e, low, aten.relu.default, "r")))
    found = check(network(build), ["low", "head"])
    assert [key.because for key in found.keys] == [("node 'mystery' (aten.digamma.default)",),
                                                   ("it is an output of the model",)]


def test_several_parts_of_one_tensor_are_one_key():
    def build(e, x):
        low = conv(e, x, "low")
        parts = [e.call(aten.slice.Tensor, low, 1, channel, channel + 1, 1, name=f"part{channel}")
                 for channel in range(4)]
        return [mystery(e, part, f"mystery{channel}") for channel, part in enumerate(parts)]
    assert len(check(network(build), ["low"]).keys[0].because) == 4


def test_a_pooling_is_not_moved_up():
    """Two small keys rather than a large one, which would have been a single key."""
    def build(e, x):
        low = conv(e, x, "low")
        return mystery(e, e.call(aten.add.Tensor, e.call(aten.mean.dim, low, [2, 3], False, name="mean"),
                                 e.call(aten.amax.default, low, [2, 3], False, name="max"), name="sum"))
    check(network(build), ["sum"])

    def apart(e, x):
        low = conv(e, x, "low")
        return (mystery(e, e.call(aten.mean.dim, low, [2, 3], False, name="mean"), "m0"),
                mystery(e, e.call(aten.amax.default, low, [2, 3], False, name="max"), "m1"))
    check(network(apart), ["mean", "max"])


def test_constants_are_no_keys():
    """Also where an unsupported operator computes one: each half has its own."""
    def build(e, x):
        low = conv(e, x, "low")
        table = e.call(aten.abs.default, e.constant("table", draw(4, 6, 6, dtype=torch.float32)), name="positive")
        return mystery(e, e.call(aten.mul.Tensor, mystery(e, low, "m0"), table, name="product"), "m1")
    check(network(build), ["low"])


def test_nothing_below():
    """The unsupported operator reads the input."""
    model = network(lambda e, x: conv(e, mystery(e, x), "c"))
    with pytest.raises(UnsupportedOperatorError, match="no split leaves anything") as caught:
        suggest_split(model.module)
    assert "digamma" in caught.value.why and caught.value.remedy


def test_the_input_as_a_key_beside_others():
    check(network(lambda e, x: e.call(aten.cat.default, [mystery(e, x), conv(e, x, "c")], 1, name="both")),
          ["image", "c"])


def test_little_to_gain_is_said():
    found = check(network(lambda e, x: mystery(e, unary(e, x, aten.relu.default, "r"))), ["r"])
    assert found.note == NO_PRODUCT


def test_what_is_refused_for_its_use():
    """A sum over the batch, which validate refuses."""
    def build(e, x):
        return e.call(aten.sum.dim_IntList, conv(e, x, "c"), [0], True, name="over_batch")
    assert "batch" in check(network(build), ["c"]).unsupported[0]


def test_anchors_do_not_tie_the_top_to_a_feature_map():
    """slice_like only asks for the shape of the feature: it is no key."""
    def build(e, x):
        feature = conv(e, x, "feature", 1)
        anchors = e.call(SLICE_LIKE, e.constant("anchors", draw(1, 1, 9, 9, dtype=torch.float32)), feature, [2, 3],
                         name="cropped")
        return e.call(aten.add.Tensor, mystery(e, conv(e, feature, "c", 1)), anchors, name="sum")
    check(network(build), ["c"])


def test_rows_of_a_refused_suppression_are_taken_apart():
    """Scores and corners keep scales of their own; without the rule the joined rows would be the one key."""
    def build(e, x):
        low = conv(e, x, "low", 6)
        flat = {name: e.call(aten.flatten.using_ints, conv(e, low, name, count), 2, -1)
                for name, count in (("scores", 1), ("corners", 4))}
        scores, corners = (e.call(aten.permute.default, x, [0, 2, 1], name=f"{name}_rows") for name, x in flat.items())
        labels = e.call(aten.mul.Scalar, scores, 0.0, name="labels")
        scores = e.call(aten.sigmoid.default, scores, name="probabilities")
        rows = e.call(aten.cat.default, [labels, scores, corners], 2, name="rows")
        return e.call(BOX_NMS, rows, 0.5, 0.0, -1, 2, 1, 0, 1, False, "corner", "corner", name="nms")
    check(network(build), ["scores_rows", "corners_rows"])


def test_a_base_that_is_refused_where_the_whole_was_not_is_cut_again():
    """The mask of a softmax is part of it; read by something else too, minus infinity would be left in the base."""
    def build(e, x):
        scores = dense(e, conv(e, x, "c"), "d", 6)
        mask = e.constant("mask", torch.ones(6, 6).triu(1).bool())
        masked = e.call(aten.masked_fill.Scalar, scores, mask, float("-inf"), name="masked")
        return mystery(e, e.call(aten.softmax.int, masked, -1, name="probabilities")), masked
    model = network(build)
    suggestion = suggest_split(model.module)
    base, top = model.split([key.name for key in suggestion.keys])
    x = draw(*IMAGE, dtype=torch.float32)
    for seen, whole in zip(top(*as_tuple(base(x))), model(x), strict=True):
        assert torch.equal(seen.nan_to_num(), whole.nan_to_num())
    base.prepare()


class Sequence(nn.Module):
    """Convolutions whose columns are a sequence for a recurrent layer, and a dense layer behind it."""

    def __init__(self, recurrent: type[nn.Module]):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.recurrent = recurrent(24, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        columns = self.features(x).flatten(1, 2).transpose(1, 2)
        return self.head(self.recurrent(columns)[0][:, -1]), columns.mean(1)


@pytest.mark.parametrize("recurrent", [nn.LSTM, nn.GRU])
def test_recurrent_layers_of_torch(recurrent):
    """Captured from a module, of two outputs. Oracle besides: the module."""
    torch.manual_seed(0)
    module = Sequence(recurrent).eval()
    model = Model.from_torch(module, torch.zeros(IMAGE))
    suggestion = check(model)
    assert len(suggestion.keys) == 2
    base, top = model.split([key.name for key in suggestion.keys])
    x = draw(*IMAGE, dtype=torch.float32)
    for seen, expected in zip(top(*base(x)), module(x), strict=True):
        assert torch.allclose(seen, expected, rtol=1e-5, atol=1e-6)  # batch normalization in another order


def test_zeros_that_take_the_batch_of_a_value_of_another_batch():
    """No key has the batch that the zeros need, twice the input's: then what they ask is a key. Oracle: the whole."""
    def build(e, x):
        halves = e.call(aten.reshape.default, conv(e, x, "c"), [-1, 2, 6, 6], name="halves")
        zeros = e.call(BROADCAST_LIKE, e.constant("zero", torch.zeros(1, 2, 6, 6)), halves, [0], [0], name="zeros")
        other = mystery(e, e.call(aten.mean.dim, conv(e, x, "d"), [2, 3], False, name="mean"))
        return other, e.call(aten.digamma.default, zeros, name="m1")
    model = network(build)
    suggestion = suggest_split(model.module)
    base, top = model.split([key.name for key in suggestion.keys])
    x = draw(*IMAGE, dtype=torch.float32)
    for seen, whole in zip(top(*as_tuple(base(x))), model(x), strict=True):
        assert torch.equal(seen.nan_to_num(), whole.nan_to_num())


def test_a_base_at_suggested_keys_is_quantized():
    """Oracle: the float base, by its cosine."""
    model = network(lambda e, x: mystery(e, unary(e, conv(e, x, "c0"), aten.relu.default, "r0")))
    base, _ = model.split([key.name for key in suggest_split(model.module).keys])
    x = draw(8, *IMAGE[1:], dtype=torch.float32)
    expected = base(x)
    base.prepare()
    mrt = base.get_mrt()
    mrt.set_data(x)
    mrt.calibrate()
    assert torch.cosine_similarity(mrt.quantize()(x).flatten(), expected.flatten(), 0) > 0.999
