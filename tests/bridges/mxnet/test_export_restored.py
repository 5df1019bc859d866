"""Integers under floats as an MXNet symbol. Oracle: torch runs the same graph; MXNet runs the exported files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.mxnet.symbol_file import read_symbol
from mrt_torch import Model, load_real_data
from mrt_torch.errors import ExportError
from mrt_torch.graph.editor import GraphEditor
from tests.bridges.mxnet.oracle import check_close, run_mxnet
from tests.mrt_torch.small_models import calibrated, images, prepared

aten = torch.ops.aten


def merged(keys=("relu1",)) -> Model:
    """An integer base under a float top: a mean and a dense layer, or more."""
    base, top = prepared(heads=2).split(list(keys))
    mrt = base.get_mrt()
    mrt.set_data(images(8, seed=1))
    mrt.calibrate()
    return Model.merger(mrt.quantize(), top, mrt.get_maps()).merge()


def restored() -> Model:
    """Two islands of floats within integers."""
    mrt = calibrated()
    mrt.set_restore("pool0")
    mrt.set_restore("dense")
    return mrt.quantize()


def run_files(mx, paths, integers: torch.Tensor) -> list[np.ndarray]:
    """Parameters keep their types; the input is float64."""
    import bridges.mxnet.cvm_op  # noqa: F401  (registers the Custom operators; needs MXNet)
    arrays = {name.split(":")[1]: array.asnumpy() for name, array in mx.nd.load(str(paths[1])).items()}
    data = integers.numpy().astype(np.float64)
    return run_mxnet(mx, mx.sym.load(str(paths[0])), {**arrays, "data": data})


@pytest.mark.parametrize("make", [merged, lambda: merged(("pool0",)), lambda: merged(("relu1", "conv1"))],
                         ids=["a dense layer", "a convolution too", "a key above another"])
def test_a_float_top(mxnet, tmp_path, make):
    """To 1e-5, as float32 sums in another order; at the batch of the file and at another."""
    model, paths = make(), (tmp_path / "m-symbol.json", tmp_path / "m-0000.params")
    model.save(*paths)
    for rows in (2, 3):
        integers = load_real_data(images(rows), "data", model.record.inputs)
        check_close(model(images(rows)), run_files(mxnet, paths, integers))
    first = [path.read_bytes() for path in paths]
    model.save(*paths)
    assert [path.read_bytes() for path in paths] == first


def test_islands_of_floats(mxnet, tmp_path):
    """What is quantized again rounds ties away from zero and saturates: the integers are equal."""
    model, paths = restored(), (tmp_path / "m-symbol.json", tmp_path / "m-0000.params")
    model.save(*paths)
    integers = load_real_data(images(), "data", model.record.inputs)
    for found, expected in zip(run_files(mxnet, paths, integers), model.to_graph()(integers), strict=True):
        assert found.dtype == np.float64 and np.array_equal(found, expected.numpy())


def test_the_input_tells_its_scale(tmp_path):
    model, paths = merged(), (tmp_path / "m-symbol.json", tmp_path / "m-0000.params")
    model.save(*paths)
    data = next(node for node in read_symbol(paths[0]).variables if node.name == "data")
    assert float(data.attributes["__scale__"]) == model.record.inputs["data"]["scale"]


def test_what_mxnet_lacks_is_listed(tmp_path):
    """Every such node of the top, with its name."""
    base, top = prepared().split(["relu1"])
    mrt = base.get_mrt()
    mrt.set_data(images(8, seed=1))
    mrt.calibrate()

    def strange(node, module):
        editor = GraphEditor(module)
        return editor.call(aten.digamma.default, node, name=f"strange_{node.name}") if node.target in (
            aten.mean.dim, aten.linear.default) else None
    model = Model.merger(mrt.quantize(), top, mrt.get_maps()).merge(strange)
    with pytest.raises(ExportError, match="2 nodes of the graph cannot be written") as caught:
        model.save(tmp_path / "m-symbol.json", tmp_path / "m-0000.params")
    assert all(f"'{name}'" in str(caught.value) for name in ("features", "dense")) and not list(tmp_path.iterdir())
