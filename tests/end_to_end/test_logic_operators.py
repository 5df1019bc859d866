"""Comparisons, choices, rounding and selection by value from the source to integers. Oracles: MXNet or torch on the
source, MXNet on the exported symbol, the deployed files read back, and the runtime."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mrt_torch import Model
from mrt_torch.errors import UnsupportedOperatorError
from tests.end_to_end.following import Followed, check_deployed, check_mxnet, check_runtime, check_values, follow
from tests.end_to_end.models import as_tuple
from tests.end_to_end.test_mxnet_operators import Case, load
from tests.mrt_torch.graph.captured import Function

GREATER = ("broadcast_greater",)


def _mask(s, x):
    return s.broadcast_lesser(s.abs(x), s.var("limits", shape=(1, 4, 1)))


MXNET = {
    "broadcast_greater": Case(lambda s, x: s.broadcast_greater(x, s.mean(x, axis=2, keepdims=True)), (4, 5), GREATER),
    "broadcast_greater of a parameter": Case(_mask, (4, 5), GREATER),
    "broadcast_greater_equal": Case(lambda s, x: s.broadcast_greater_equal(x, -x), (4, 5), GREATER),
    "broadcast_lesser": Case(lambda s, x: s.broadcast_lesser(x, x * x), (4, 5), GREATER),
    "broadcast_lesser_equal": Case(lambda s, x: s.broadcast_lesser_equal(x, s.relu(x)), (4, 5), GREATER),
    "broadcast_equal": Case(lambda s, x: s.broadcast_equal(x, s.relu(x)), (4, 5), ("abs",)),
    "broadcast_not_equal": Case(lambda s, x: s.broadcast_not_equal(x, s.max(x, axis=1, keepdims=True)), (4, 5),
                                ("max",)),
    "_greater_scalar": Case(lambda s, x: x > 0.3, (4, 5), GREATER),
    "_greater_equal_scalar": Case(lambda s, x: x >= 0, (4, 5), GREATER),
    "_lesser_scalar": Case(lambda s, x: x < -1, (4, 5), GREATER),
    "_lesser_equal_scalar": Case(lambda s, x: x <= 0, (4, 5), GREATER),
    "_equal_scalar": Case(lambda s, x: s.relu(x) == 0, (4, 5), GREATER),
    "_not_equal_scalar": Case(lambda s, x: s.relu(x) != 0, (4, 5), GREATER),
    "logic": Case(lambda s, x: s.broadcast_logical_xor(s.broadcast_logical_and(x > -1, x < 1), s.broadcast_logical_or(
        s.logical_not(x > 0), x > 2)), (4, 5), ("broadcast_mul", "broadcast_max", "abs")),
    "where": Case(lambda s, x: s.where(x > 0, x * 3, -x), (4, 5), ("where",)),
    "where by rows": Case(lambda s, x: s.where(s.mean(x, axis=(1, 2)) > 0, x, x * x), (4, 5), GREATER),
    "where of a number": Case(lambda s, x: s.where(x > 0, x, s.ones_like(x) * 2.5), (4, 5), ("broadcast_mul",)),
    "floor": Case(lambda s, x: s.floor(x * 4), (4, 5), ("cvm_right_shift",)),
    "ceil": Case(lambda s, x: s.ceil(x * 4), (4, 5), ("cvm_right_shift",)),
    "round": Case(lambda s, x: s.round(x * 4), (4, 5), ("cvm_right_shift",)),
    "rint": Case(lambda s, x: s.rint(x * 4), (4, 5), ("cvm_right_shift",)),
    "fix": Case(lambda s, x: s.fix(x * 4), (4, 5), ("broadcast_div",)),
    "Cast": Case(lambda s, x: s.Cast(s.Cast(x * 4, dtype="int32"), dtype="float32"), (4, 5), ("broadcast_div",)),
    "Cast of truth values": Case(lambda s, x: x * s.Cast(s.Cast(x > 0, dtype="bool"), dtype="float32"), (4, 5),
                                 GREATER),
    "sign": Case(lambda s, x: s.sign(x), (4, 5), ("cvm_clip",)),
    "argmax": Case(lambda s, x: s.argmax(x, axis=1), (7,), ("max", "broadcast_greater")),
    "argmax_channel": Case(lambda s, x: s.argmax_channel(x), (4,), ("max",)),
    "argmin": Case(lambda s, x: s.argmin(x, axis=2, keepdims=True), (3, 7), ("negative", "max")),
    "topk": Case(lambda s, x: s.Group(list(s.topk(x, k=2, ret_typ="both", axis=1))), (12,), ("max", "concatenate")),
    "topk mask": Case(lambda s, x: x * s.topk(x, k=3, ret_typ="mask", is_ascend=True), (12,), ("sum",)),
    "sort": Case(lambda s, x: s.sort(x, axis=1, is_ascend=False), (5, 3), ("sum", "transpose")),
    "argsort": Case(lambda s, x: s.argsort(x), (5,), ("sum",)),
    "batch_take": Case(lambda s, x: s.batch_take(x, s.Cast(s.argmin(x * x, axis=1), dtype="int32")), (6,), ("sum",)),
    "gather_nd": Case(lambda s, x: s.gather_nd(s.var("table", shape=(6, 3)), s.expand_dims(
        s.argmax(x, axis=1), axis=0)), (6,), ("take",)),
}


def followed_case(mx, name: str, folder) -> tuple[Followed, list]:
    model, data, expected = load(mx, MXNET[name])
    return follow(model, {"data": tuple(data.shape)}, data, folder), expected


@pytest.mark.parametrize("name", MXNET)
def test_mxnet_operators(mxnet, name, tmp_path):
    followed, expected = followed_case(mxnet, name, tmp_path)
    check_values(followed, expected)
    assert set(MXNET[name].operators) <= set(followed.operators())
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", MXNET)
def test_the_runtime_gives_the_same_integers(mxnet, name, tmp_path):
    check_runtime(followed_case(mxnet, name, tmp_path)[0])


def _anchors(m, x):
    """Detection's usual steps: the best class of every place, kept where its score is high, and its box."""
    scores, boxes = x[:, :, :5].softmax(-1), x[:, :, 5:]
    best, label = scores.max(-1)
    kept = best > 0.4
    top = torch.topk(torch.where(kept, best, best - 1), 3)
    chosen = boxes.gather(1, top.indices.unsqueeze(-1).expand(-1, -1, 4))
    return chosen, torch.where(kept, label, -1), top.values


TORCH = {
    "gate": (Function(lambda m, x: x * (x > 0.2) + (x <= 0.2).float() * 0.1), (4, 5)),
    "straight-through rounding": (Function(lambda m, x: torch.clamp(torch.round(x / 0.1), -8, 7) * 0.1), (4, 5)),
    "choice of rows": (Function(lambda m, x: torch.where((x.sum(-1, keepdim=True) > 0), x, -x)), (4, 5)),
    "sorted": (Function(lambda m, x: x.sort(-1, descending=True)[0] * torch.linspace(1, 0, 5)), (4, 5)),
    "median filter": (Function(lambda m, x: torch.stack([x[..., :-2], x[..., 1:-1], x[..., 2:]], -1).sort(
        -1)[0][..., 1]), (4, 7)),
    "sparse attention": (Function(lambda m, x: x.masked_fill(x < x.topk(2, -1)[0][..., -1:], -1e9).softmax(-1)),
                         (4, 6)),
    "causal attention": (Function(lambda m, x: x.masked_fill(m.mask, float("-inf")).softmax(-1) @ m.values,
                                  mask=torch.ones(5, 5).triu(1) > 0, values=torch.eye(5) * 2 - 1), (5, 5)),
    "detection": (Function(_anchors), (8, 9)),
    "divisions": (Function(lambda m, x: (x * 20) // 3 + torch.fmod(x * 20, 4)), (4, 5)),
    "quorum": (Function(lambda m, x: (((x > 0).sum(1) >= 2) & ~(x > 0.9).any(1)).float()), (4, 5)),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_modules(mxnet, name, tmp_path):
    torch.manual_seed(0)
    module, row = TORCH[name]
    data = torch.rand(3, *row) * 2 - 1
    with torch.no_grad():
        expected = [output.numpy() for output in as_tuple(module.eval()(data))]
    followed = follow(Model.from_torch(module, data), tuple(data.shape), data, tmp_path)
    check_values(followed, expected, quantized=0.05 if name == "divisions" else 0.03)
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.parametrize("name", ["detection", "gate", "quorum", "divisions"])
def test_saved_and_loaded(name, tmp_path):
    """Our own files keep types, numbers and operators. Oracle: the model before, exactly."""
    module, row = TORCH[name]
    data = torch.rand(3, *row) * 2 - 1
    model = Model.from_torch(module.eval(), data)
    model.prepare(tuple(data.shape))
    model.save(tmp_path / "m.json", tmp_path / "m.safetensors")
    loaded = Model.load(tmp_path / "m.json", tmp_path / "m.safetensors")
    assert all(torch.equal(seen, expected) for seen, expected in zip(as_tuple(loaded(data)), as_tuple(model(data))))


def test_split_at_a_mask(tmp_path):
    """Truth values at the seam: integers below, float above. Oracle: torch."""
    module = Function(lambda m, x: torch.erfinv(torch.where(x > 0.2, x.abs(), -x) * 0.5))
    data = torch.rand(3, 4, 5) * 2 - 1
    model = Model.from_torch(module, data)
    base, top = model.split(["gt", "abs", "neg"], tuple(data.shape))
    followed = follow(base, None, data, tmp_path)
    check_deployed(followed)
    merged = Model.merger(followed.quantized, top, followed.mrt.get_maps()).merge()
    assert torch.allclose(merged(data), module(data), atol=2e-3)


def test_labels_stay_labels(tmp_path):
    """Scales of 1 whatever output precision is set. Oracle: torch's labels, exactly."""
    torch.manual_seed(1)
    linear = nn.Linear(6, 10)
    module = Function(lambda m, x: (m.linear(x).argmax(1), m.linear(x).amax(1) > 0.5, m.linear(x)), linear=linear)
    data = torch.randn(40, 6)
    model = Model.from_torch(module, data)
    model.prepare(tuple(data.shape))
    mrt = model.get_mrt()
    mrt.set_data(data)
    mrt.calibrate()
    mrt.set_output_prec(8)
    quantized = mrt.quantize()
    assert mrt.get_output_scales()[:2] == [1.0, 1.0]
    label, high, logits = quantized(data)
    with torch.no_grad():
        wanted = module(data)
    assert (label == wanted[0]).float().mean() > 0.95 and (high == wanted[1]).float().mean() > 0.95
    assert set(label.tolist()) <= set(range(10)) and set(high.tolist()) <= {0.0, 1.0}
    assert torch.allclose(logits, wanted[2], atol=0.1)


def test_scatter_is_refused_with_advice():
    """No operator of the runtime writes at computed places. Oracle: the error."""
    module = Function(lambda m, x: torch.zeros_like(x).scatter(1, x.argmax(1, True), 1.0))
    model = Model.from_torch(module, torch.zeros(2, 5))
    with pytest.raises(UnsupportedOperatorError) as caught:
        model.prepare((2, 5))
    assert "scatter" in str(caught.value) and "Model.split" in str(caught.value)
