"""Models of several inputs. Oracles: MXNet or the module in float, the deployed files, and the runtime."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from mrt_torch import MRT, Model
from tests.bridges.mxnet.oracle import random_arrays, run_mxnet
from tests.end_to_end.following import check_deployed, check_mxnet, check_runtime, check_values, follow

SHAPES = {"image": (4, 3, 5, 5), "hint": (4, 6)}


def from_mxnet(mx) -> tuple[Model, dict, list[np.ndarray]]:
    """A convolution of one input beside a dense layer of the other; two heads."""
    image, hint = mx.sym.var("image"), mx.sym.var("hint")
    features = mx.sym.Flatten(mx.sym.Convolution(image, kernel=(3, 3), num_filter=2, name="c"))
    both = mx.sym.concat(features, mx.sym.FullyConnected(hint, num_hidden=4, name="f"), dim=1)
    symbol = mx.sym.Group([mx.sym.FullyConnected(both, num_hidden=3, name="g"), mx.sym.relu(hint)])
    arrays = random_arrays(mx, symbol, SHAPES, seed=5)
    params = {name: array for name, array in arrays.items() if name not in SHAPES}
    return Model.load(symbol, params), {name: arrays[name] for name in SHAPES}, run_mxnet(mx, symbol, arrays)


class Siamese(nn.Module):
    """The same layers on both inputs, and their difference."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, left, right):
        return self.tower(left) - self.tower(right)


def from_torch() -> tuple[Model, dict, list[torch.Tensor]]:
    torch.manual_seed(0)
    module = Siamese().eval()
    arrays = {"left": torch.randn(4, 3, 6, 6), "right": torch.randn(4, 3, 6, 6)}
    with torch.no_grad():
        return Model.from_torch(module, tuple(arrays.values())), arrays, [module(*arrays.values())]


def shapes_of(arrays) -> dict:
    return {name: tuple(array.shape) for name, array in arrays.items()}


def test_from_mxnet(mxnet, tmp_path):
    model, arrays, expected = from_mxnet(mxnet)
    followed = follow(model, shapes_of(arrays), arrays, tmp_path)
    assert model.input_shapes() == {"data": (4, 75 + 6)}
    check_values(followed, expected)
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


def test_from_torch(tmp_path):
    model, arrays, expected = from_torch()
    followed = follow(model, None, arrays, tmp_path)
    # The difference of two means is small beside them: 8-bit weights leave some 5 % of it.
    check_values(followed, expected, quantized=0.06)
    check_deployed(followed)


@pytest.mark.cvm_runtime
def test_the_runtime_gives_the_same_integers(mxnet, tmp_path):
    for name, (model, arrays, _) in {"mxnet": from_mxnet(mxnet), "torch": from_torch()}.items():
        check_runtime(follow(model, shapes_of(arrays), arrays, tmp_path / name))


def test_every_way_to_feed_them_is_the_same(tmp_path):
    """Joined by hand, in order, by name; before and after quantization, and in every file. Oracle: torch.cat."""
    model, arrays, _ = from_torch()
    model.prepare(shapes_of(arrays))
    joined = torch.cat([array.flatten(1) for array in arrays.values()], 1)
    assert torch.equal(model.join_inputs(arrays), joined)
    assert torch.equal(model.join_inputs(dict(reversed(arrays.items()))), joined)
    thresholds = []
    rows = [{name: array[start:start + 2] for name, array in arrays.items()} for start in (0, 2)]
    loader = torch.utils.data.DataLoader([{name: array[row] for name, array in arrays.items()} for row in range(4)],
                                         batch_size=2)
    for data in (joined, [joined[:2], joined[2:]], arrays, rows, loader, [(row, 7) for row in rows], [(joined, 7)]):
        mrt = model.get_mrt()
        mrt.set_data(data)
        thresholds.append(mrt.calibrate())
    assert all(seen == thresholds[0] for seen in thresholds)
    quantized = mrt.quantize()
    folder = quantized.to_cvm("net", tmp_path)
    assert json.loads((folder / "ext").read_text())["joined_inputs"] == {
        name: list(array.shape) for name, array in arrays.items()}
    quantized.save(tmp_path / "q.json", tmp_path / "q.safetensors")
    mrt.save("net", tmp_path)
    models = [quantized, Model.load(tmp_path / "q.json", tmp_path / "q.safetensors"), Model.load_cvm(folder),
              MRT.load("net", tmp_path).current_model, MRT.load("net", tmp_path).quantize()]
    for again in models:
        for inputs in ((joined,), tuple(arrays.values()), (arrays,), tuple(a.numpy() for a in arrays.values())):
            assert torch.equal(again(*inputs), quantized(joined))
