"""Small float models for the tests, written with the graph editor: no file, no capture."""

from __future__ import annotations

import torch

from mrt_torch import MRT, Model
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.stage import Stage

aten = torch.ops.aten
IMAGE = (2, 3, 6, 6)


def _weights(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / 3


def images(rows: int = 2, seed: int = 0) -> torch.Tensor:
    """Float images for ``convolutional``."""
    return torch.randn(rows, *IMAGE[1:], generator=torch.Generator().manual_seed(seed))


def convolutional(heads: int = 1) -> Model:
    """conv, relu, max pooling, conv, relu, global mean, linear; with two heads also the features before the linear."""
    editor = GraphEditor(empty_graph_module())
    x = editor.input("image", IMAGE)
    x = editor.call(aten.conv2d.default, x, editor.constant("conv0_weight", _weights(1, 4, 3, 3, 3)),
                    editor.constant("conv0_bias", _weights(2, 4)), [1, 1], [1, 1], [1, 1], 1, name="conv0")
    x = editor.call(aten.relu.default, x, name="relu0")
    x = editor.call(aten.max_pool2d.default, x, [2, 2], [2, 2], [0, 0], [1, 1], False, name="pool0")
    x = editor.call(aten.conv2d.default, x, editor.constant("conv1_weight", _weights(3, 5, 4, 3, 3)),
                    None, [1, 1], [0, 0], [1, 1], 1, name="conv1")
    x = editor.call(aten.relu.default, x, name="relu1")
    features = editor.call(aten.mean.dim, x, [2, 3], False, name="features")
    logits = editor.call(aten.linear.default, features, editor.constant("dense_weight", _weights(4, 3, 5)),
                         editor.constant("dense_bias", _weights(5, 3)), name="dense")
    editor.output([logits, features][:heads])
    editor.module.recompile()
    return Model(editor.module, Stage.SOURCE)


def prepared(heads: int = 1) -> Model:
    """``convolutional``, prepared."""
    model = convolutional(heads)
    model.prepare()
    return model


def calibrated(heads: int = 1) -> MRT:
    """The MRT of ``prepared`` after a calibration on 8 images."""
    mrt = prepared(heads).get_mrt()
    mrt.set_data(images(8, seed=1))
    mrt.calibrate()
    return mrt
