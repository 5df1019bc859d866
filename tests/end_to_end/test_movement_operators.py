"""Shape and data movement from the source to integers. Oracles: MXNet or torch on the source, MXNet on the exported
symbol, the deployed files read back, and the runtime."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mrt_torch import Model
from tests.end_to_end.following import Followed, check_deployed, check_mxnet, check_runtime, check_values, follow
from tests.end_to_end.models import as_tuple
from tests.end_to_end.test_mxnet_operators import Case, load
from tests.mrt_torch.graph.captured import Function

EXACT = 2e-3  # nothing but the rounding of the input to 12 bits


def _shuffled(s, x):
    return s.reshape(s.SwapAxis(s.reshape(x, shape=(0, -4, 3, -1, -2)), dim1=1, dim2=2), shape=(0, -3, -2))


MXNET = {
    "reshape": Case(lambda s, x: s.reshape(s.reshape(x, shape=(0, -3, -2)), shape=(0, -4, -1, 4, 5)), (4, 3, 5)),
    "reshape in reverse": Case(lambda s, x: s.reshape(x, shape=(-1, 0, 3, 5), reverse=True), (4, 3, 5)),
    "reshape_like": Case(lambda s, x: s.reshape_like(x, s.reshape(x, shape=(0, 12, 5)) * 2), (4, 3, 5), ("reshape",)),
    "Flatten": Case(lambda s, x: s.Flatten(x), (4, 3, 5), ("flatten",)),
    "tile": Case(lambda s, x: s.tile(x, reps=(1, 2, 3)), (2, 3), ("tile",)),
    "repeat": Case(lambda s, x: s.repeat(x, repeats=3, axis=2), (2, 3), ("repeat",)),
    "repeat of all": Case(lambda s, x: s.reshape(s.repeat(x, repeats=2), shape=(-1, 12)), (2, 3), ("repeat",)),
    "broadcast_to": Case(lambda s, x: s.broadcast_to(x, shape=(0, 4, 3)), (1, 3), ("tile",)),
    "broadcast_axis": Case(lambda s, x: s.broadcast_axis(x, axis=(1, 3), size=(4, 2)), (1, 3, 1), ("tile",)),
    "broadcast_like of an activation": Case(lambda s, x: s.concat(s.broadcast_like(s.mean(
        x, axis=(2, 3), keepdims=True), x), x, dim=1), (2, 3, 4), ("tile", "concatenate")),
    "broadcast_like of a parameter": Case(lambda s, x: s.concat(s.broadcast_like(
        s.var("token", shape=(1, 1, 4)), x, lhs_axes=(0,), rhs_axes=(0,)), x, dim=1), (3, 4), ("broadcast_add",)),
    "slice_like": Case(lambda s, x: s.slice_like(x, s.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max"),
                                                 axes=(2, 3)), (2, 5, 6), ("strided_slice",)),
    "slice backwards": Case(lambda s, x: s.slice(x, begin=(None, 2, None), end=(None, None, 1), step=(None, -1, -2)),
                            (4, 5), ("strided_slice",)),
    "Crop": Case(lambda s, x: s.Crop(x, s.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max"), num_args=2,
                                     center_crop=True), (2, 5, 6), ("strided_slice",)),
    "split_v2": Case(lambda s, x: s.concat(*reversed(list(s.split_v2(x, (1, 3), axis=1))), dim=1), (4, 5),
                     ("strided_slice", "concatenate")),
    "stack": Case(lambda s, x: s.stack(x, -x, axis=2), (3, 4), ("concatenate",)),
    "stack before the batch": Case(lambda s, x: s.transpose(s.stack(x, -x, axis=0), axes=(1, 0, 2)), (3,),
                                   ("concatenate", "transpose")),
    "concat with a parameter": Case(lambda s, x: s.concat(x, s.broadcast_like(
        s.var("p", shape=(1, 2, 5)), x, lhs_axes=(0,), rhs_axes=(0,)), dim=1), (3, 5), ("concatenate",)),
    "Pad of the edge": Case(lambda s, x: s.Pad(x, mode="edge", pad_width=(0, 0, 0, 0, 1, 2, 3, 0)), (2, 3, 4),
                            ("repeat", "concatenate")),
    "Pad by reflection": Case(lambda s, x: s.Pad(x, mode="reflect", pad_width=(0, 0, 0, 0, 1, 2, 3, 0)), (2, 3, 4),
                              ("strided_slice", "concatenate")),
    "reverse": Case(lambda s, x: s.reverse(x, axis=(1, 2)), (3, 4), ("strided_slice",)),
    "SwapAxis": Case(lambda s, x: s.SwapAxis(x, dim1=1, dim2=3), (3, 4, 5), ("transpose",)),
    "depth_to_space": Case(lambda s, x: s.depth_to_space(x, block_size=2), (8, 3, 5), ("transpose",)),
    "space_to_depth": Case(lambda s, x: s.space_to_depth(x, block_size=2), (3, 4, 6), ("transpose",)),
    "channel shuffle": Case(_shuffled, (6, 4, 5), ("transpose",)),
    "zeros_like and ones_like": Case(lambda s, x: s.concat(s.zeros_like(x), s.ones_like(x) - x, dim=1), (3, 4),
                                     ("broadcast_add",)),
    "arange": Case(lambda s, x: s.broadcast_mul(x, s.arange(5) / 5), (3, 5), ("broadcast_mul",)),
    "arange_like": Case(lambda s, x: s.broadcast_add(x, s.contrib.arange_like(x, axis=2) / 5), (3, 5),
                        ("broadcast_add",)),
    "linspace and eye": Case(lambda s, x: s.broadcast_mul(s.broadcast_add(x, s.linspace(0, 1, 3)), s.eye(3)), (3, 3),
                             ("broadcast_mul",)),
}


def followed_case(mx, name: str, folder) -> tuple[Followed, list]:
    model, data, expected = load(mx, MXNET[name])
    return follow(model, {"data": tuple(data.shape)}, data, folder), expected


@pytest.mark.parametrize("name", MXNET)
def test_mxnet_operators(mxnet, name, tmp_path):
    followed, expected = followed_case(mxnet, name, tmp_path)
    check_values(followed, expected, quantized=EXACT)
    assert set(MXNET[name].operators) <= set(followed.operators())
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", MXNET)
def test_the_runtime_gives_the_same_integers(mxnet, name, tmp_path):
    check_runtime(followed_case(mxnet, name, tmp_path)[0])


def _window_attention(m, x):
    """Swin's windows: split, moved and merged, and back with a cyclic shift."""
    x = x.roll((-1, -1), (1, 2))
    windows = x.view(x.shape[0], 2, 2, 3, 2, 4).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 4)
    windows = m.linear(windows)
    back = windows.view(-1, 2, 3, 2, 2, 4).permute(0, 1, 3, 2, 4, 5).reshape(x.shape[0], 4, 6, 4)
    return back.roll((1, 1), (1, 2))


def _heads(m, x):
    """Self-attention's heads: to (N * heads, T, C) and back."""
    split = x.view(x.shape[0], 5, 2, 4).transpose(1, 2).reshape(-1, 5, 4)
    return split.view(-1, 2, 5, 4).transpose(1, 2).flatten(2)


TOKEN = torch.linspace(-1, 1, 8).reshape(1, 1, 8)
TORCH = {
    "class token": (Function(lambda m, x: torch.cat([m.token.expand(x.shape[0], -1, -1), x], 1), token=TOKEN), (5, 8)),
    "heads": (Function(_heads), (5, 8)),
    "windows": (Function(_window_attention, linear=nn.Linear(4, 4)), (4, 6, 4)),
    "channel shuffle": (nn.ChannelShuffle(3), (6, 2, 3)),
    "pixel shuffle and back": (nn.Sequential(nn.PixelShuffle(2), nn.ReLU(), nn.PixelUnshuffle(2)), (8, 2, 3)),
    "paddings": (nn.Sequential(nn.ReflectionPad2d(1), nn.ReplicationPad2d((0, 1, 2, 0)), nn.ConstantPad2d(1, 0.5)),
                 (2, 3, 4)),
    "volume windows": (Function(lambda m, x: x.view(x.shape[0], 2, 2, 2, 2, 2, 2, 3).permute(
        0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, 8, 3)), (4, 4, 4, 3)),
    "flips": (Function(lambda m, x: torch.cat([x.flip(1), x.flip(2)], 1)), (3, 4)),
    "space to channels": (Function(lambda m, x: torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2],
                                                           x[..., 1::2, 1::2]], 1)), (3, 4, 6)),
    "channels last": (Function(lambda m, x: F.relu(m.norm(m.conv(x).permute(0, 2, 3, 1) * m.scale)).permute(0, 3, 1, 2),
                               conv=nn.Conv2d(3, 4, 3), norm=nn.Identity(), scale=torch.linspace(1, 2, 4)), (3, 6, 6)),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_modules(mxnet, name, tmp_path):
    torch.manual_seed(0)
    module, row = TORCH[name]
    data = torch.rand(3, *row) * 2 - 1
    with torch.no_grad():
        expected = [output.numpy() for output in as_tuple(module.eval()(data))]
    followed = follow(Model.from_torch(module, data), tuple(data.shape), data, tmp_path)
    check_values(followed, expected, quantized=0.02)
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


def test_channels_last_needs_no_transpose():
    """The scale is a constant of the last axis: it is transposed back, and the transposes cancel."""
    module, row = TORCH["channels last"]
    model = Model.from_torch(module.eval(), torch.zeros(2, *row))
    model.prepare((2, *row))
    assert not any(node.target is torch.ops.aten.permute.default for node in model.module.graph.nodes)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", TORCH)
def test_the_runtime_runs_torch_modules(name, tmp_path):
    torch.manual_seed(0)
    module, row = TORCH[name]
    data = torch.rand(3, *row) * 2 - 1
    check_runtime(follow(Model.from_torch(module.eval(), data), tuple(data.shape), data, tmp_path))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_on_the_second_axis(mxnet, batch, tmp_path):
    """(6, N) as sequence models have it: split, padded, transposed, reshaped; deployed for the batch. Oracle: MXNet."""
    def build(s, x):
        first, second = s.SliceChannel(s.concat(x, s.reverse(x, axis=0), dim=0), num_outputs=2, axis=0)
        stacked = s.stack(first, second * 2, axis=0)
        return s.reshape(s.transpose(stacked, axes=(2, 0, 1)), shape=(0, -1))

    case = Case(build, ())
    symbol = case.build(mxnet.sym, mxnet.sym.var("data"))
    data = torch.rand(6, batch) * 2 - 1
    expected = symbol.eval(ctx=mxnet.cpu(), data=mxnet.nd.array(data.numpy()))[0].asnumpy()
    followed = follow(Model.load(symbol, {}), {"data": (6, -1)}, data, tmp_path)
    check_values(followed, [expected], quantized=EXACT)
    check_deployed(followed)


def test_a_cut_model_keeps_its_batch_axis():
    """(N, 4) behind the transpose of (4, N): the upper half takes any number of rows. Oracle: the whole module."""
    module = Function(lambda m, x: F.relu(x.t() * 2).flip(1)).eval()
    model = Model.from_torch(module, torch.zeros(4, 2), batch_axis=1)
    key = next(node.name for node in model.module.graph.nodes if node.target is torch.ops.aten.permute.default)
    base, top = model.split([key], (4, -1))
    x = torch.rand(4, 5) - 0.5
    assert torch.equal(top(base(x)), module(x))
    top.prepare((-1, 4))
    assert torch.equal(top(base(x)), module(x))
