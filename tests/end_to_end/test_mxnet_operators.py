"""MXNet operators from the symbol to integers. Oracles: MXNet on the symbol and on the exported one; the runtime."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mrt_torch import Model
from mrt_torch.errors import UnsupportedOperatorError
from tests.bridges.mxnet.oracle import random_arrays, run_mxnet
from tests.end_to_end.following import (
    TO_ONE_SCALE,
    Followed,
    check_deployed,
    check_mxnet,
    check_runtime,
    check_values,
    follow,
)

ROWS = 4


@dataclass(frozen=True)
class Case:
    """A symbol of ``mx.sym``, the shape of one row of its input, and the CVM operators that must occur."""

    build: Callable
    row: tuple[int, ...]
    operators: tuple[str, ...] = ()


def _dense(sym, x, units, name):
    return sym.FullyConnected(x, num_hidden=units, name=name)


CASES = {
    "convolution of one axis": Case(lambda s, x: s.Convolution(
        x, kernel=(3,), num_filter=4, stride=(2,), pad=(1,), name="c"), (3, 9), ("conv2d",)),
    "grouped convolution of one axis": Case(lambda s, x: s.Convolution(
        x, kernel=(3,), num_filter=4, num_group=2, dilate=(2,), no_bias=True, name="c"), (4, 9), ("conv2d",)),
    "normalized convolution of one axis": Case(lambda s, x: s.BatchNorm(
        s.Convolution(x, kernel=(3,), num_filter=4, name="c"), fix_gamma=False, name="b"), (3, 9),
                                               ("conv2d", "reshape")),
    "max pooling of one axis": Case(lambda s, x: s.Pooling(
        x, kernel=(3,), stride=(2,), pad=(1,), pool_type="max"), (3, 9), ("max_pool2d",)),
    "average pooling of one axis": Case(lambda s, x: s.Pooling(
        x, kernel=(3,), stride=(2,), pool_type="avg"), (3, 9), ("conv2d",)),
    "global pooling of one axis": Case(lambda s, x: s.Pooling(
        x, kernel=(1,), global_pool=True, pool_type="avg"), (3, 9), ("sum",)),
    "adaptive pooling": Case(lambda s, x: s.contrib.AdaptiveAvgPooling2D(x, output_size=(2, 3)), (3, 6, 6),
                             ("conv2d",)),
    "prelu": Case(lambda s, x: s.LeakyReLU(x, s.var("gamma", shape=(3,)), act_type="prelu", name="p"), (3, 5, 5),
                  ("relu", "elemwise_sub")),
    "elu": Case(lambda s, x: s.LeakyReLU(x, act_type="elu", slope=0.7), (3, 5, 5), ("cvm_lut",)),
    "selu": Case(lambda s, x: s.LeakyReLU(x, act_type="selu"), (3, 5, 5), ("cvm_lut",)),
    "softmax over channels": Case(lambda s, x: s.SoftmaxActivation(x, mode="channel"), (3, 5, 5), ("broadcast_div",)),
    "softmax of an instance": Case(lambda s, x: s.SoftmaxActivation(x, mode="instance"), (7,), ("broadcast_div",)),
    "transpose": Case(lambda s, x: s.transpose(x, axes=(0, 2, 3, 1)), (3, 4, 5), ("transpose",)),
    "convolution behind a transpose": Case(lambda s, x: s.Convolution(
        s.transpose(x, axes=(0, 3, 1, 2)), kernel=(2, 2), num_filter=3, name="c"), (4, 5, 3), ("transpose", "conv2d")),
    "expand_dims": Case(lambda s, x: s.expand_dims(x, axis=1), (3, 5), ("reshape",)),
    "squeeze": Case(lambda s, x: s.squeeze(x, axis=2), (3, 1, 5), ("reshape",)),
    "slice_axis": Case(lambda s, x: s.slice_axis(x, axis=2, begin=1, end=-1), (3, 5), ("strided_slice",)),
    "SliceChannel": Case(lambda s, x: s.concat(*(part * (i + 1) for i, part in enumerate(
        s.SliceChannel(x, num_outputs=3, axis=2))), dim=1), (3, 6), ("strided_slice", "concatenate")),
    "SliceChannel without its axis": Case(lambda s, x: s.Group(list(
        s.SliceChannel(x, num_outputs=3, axis=1, squeeze_axis=True))), (3, 5), ("strided_slice", "reshape")),
    "Pad": Case(lambda s, x: s.Pad(x, mode="constant", pad_width=(0, 0, 0, 0, 1, 2, 3, 0), constant_value=0.3),
                (3, 4, 5), ("concatenate",)),
    "SoftmaxOutput within the graph": Case(lambda s, x: _dense(s, s.SoftmaxOutput(_dense(s, x, 6, "f"), name="softmax"),
                                                               4, "g"), (8,), ("dense", "broadcast_div")),
    "SoftmaxOutput of many": Case(lambda s, x: s.SoftmaxOutput(s.Convolution(
        x, kernel=(1, 1), num_filter=4, name="c"), multi_output=True, name="softmax") + 1, (3, 5, 5),
                                 ("broadcast_div",)),
    "several heads": Case(lambda s, x: s.Group([
        _dense(s, x, 6, "f"), s.Convolution(x, kernel=(2, 2), num_filter=3, name="c"),
        s.Pooling(x, global_pool=True, pool_type="max", kernel=(1, 1))]), (3, 5, 5), ("dense", "conv2d", "max")),
    "one node as several heads": Case(lambda s, x: s.Group([x * 2, s.relu(x), x * 3, s.relu(x)]), (3, 5, 5), ("relu",)),
}


def load(mx, case: Case) -> tuple[Model, torch.Tensor, list[np.ndarray]]:
    """The live symbol as a model, its input, and what MXNet makes of it."""
    symbol = case.build(mx.sym, mx.sym.var("data"))
    arrays = random_arrays(mx, symbol, {"data": (ROWS, *case.row)}, seed=3)
    params = {name: array for name, array in arrays.items() if name != "data" and not name.endswith("label")}
    return Model.load(symbol, params), torch.from_numpy(arrays["data"]), run_mxnet(mx, symbol, arrays)


def followed_case(mx, name: str, folder) -> tuple[Followed, list[np.ndarray]]:
    model, data, expected = load(mx, CASES[name])
    return follow(model, {"data": tuple(data.shape)}, data, folder), expected


@pytest.mark.parametrize("name", CASES)
def test_values_and_files(mxnet, name, tmp_path):
    followed, expected = followed_case(mxnet, name, tmp_path)
    check_values(followed, expected)
    assert set(CASES[name].operators) <= set(followed.operators())
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", CASES)
def test_the_runtime_gives_the_same_integers(mxnet, name, tmp_path):
    check_runtime(followed_case(mxnet, name, tmp_path)[0])


def test_a_convolution_of_one_axis_takes_its_normalization(mxnet, tmp_path):
    """Oracle: the operators of the 2-D case, between two reshapes; the output's channels are brought to one scale."""
    followed, _ = followed_case(mxnet, "normalized convolution of one axis", tmp_path)
    assert followed.operators() == [
        "reshape", "broadcast_mul", "cvm_right_shift", "conv2d", *TO_ONE_SCALE, "reshape"]


def test_several_heads_are_deployed_as_rows(mxnet, tmp_path):
    """Oracle: ext keeps the shapes that the flattened heads had."""
    followed, expected = followed_case(mxnet, "several heads", tmp_path)
    extension = json.loads((followed.folder / "ext").read_text())
    assert extension["output_shapes"] == [list(output.shape) for output in expected]
    assert all(output.shape[0] == ROWS and output.dim() == 2 for output in Model.load_cvm(followed.folder).to_graph()(
        followed.integers))


def test_a_volume_deconvolution_is_refused_and_split_off(mxnet, tmp_path):
    """Refused at its node with the advice to split, which works: integers below, float above.

    Oracles: MXNet on the features; torch above them, because MXNet's CPU cannot run the operator.
    """
    def features(sym, x):
        return sym.Activation(sym.Convolution(x, kernel=(3, 3, 3), num_filter=4, name="conv"), act_type="relu",
                              name="features")

    def build(sym, x):
        return sym.Deconvolution(features(sym, x), kernel=(2, 2, 2), stride=(2, 2, 2), num_filter=3, name="up")

    lower, weight = features(mxnet.sym, mxnet.sym.var("data")), torch.randn(4, 3, 2, 2, 2)
    params = random_arrays(mxnet, lower, {"data": (ROWS, 3, 4, 6, 5)}, seed=3)
    (expected,) = run_mxnet(mxnet, lower, params)
    data = torch.from_numpy(params.pop("data"))
    params["up_weight"] = weight.numpy()
    model = Model.load(build(mxnet.sym, mxnet.sym.var("data")), params)
    with pytest.raises(UnsupportedOperatorError) as caught:
        model.prepare(tuple(data.shape))
    assert "node 'up' (Deconvolution)" in caught.value.why and "Model.split" in caught.value.remedy
    base, top = model.split(["features"], tuple(data.shape))
    followed = follow(base, None, data, tmp_path)
    check_deployed(followed)
    merged = Model.merger(followed.quantized, top, followed.mrt.get_maps()).merge()
    wanted = torch.nn.functional.conv_transpose3d(torch.from_numpy(expected), weight, stride=2)
    seen = merged(data)
    assert seen.shape == wanted.shape
    assert (seen - wanted).norm() < 0.03 * wanted.norm()
