"""Live MXNet objects. Oracle: MXNet itself on the same object, and the same model loaded from files."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from bridges.mxnet.live import is_live
from mrt_torch import Model
from mrt_torch.errors import InvalidArgumentError, InvalidFileError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import TOLERANCE

SHAPE = (2, 3, 8, 8)


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def network(mx, **options):
    """Convolution, BatchNorm, a residual sum and a dense layer, initialised, not yet run."""
    mx.random.seed(0)
    gluon = mx.gluon

    class Residual(gluon.HybridBlock):
        def __init__(self, **keywords):
            super().__init__(**keywords)
            with self.name_scope():
                self.convolution = gluon.nn.Conv2D(4, 3, padding=1)
                self.norm = gluon.nn.BatchNorm()
                self.again = gluon.nn.Conv2D(4, 1)
                self.dense = gluon.nn.Dense(5)

        def hybrid_forward(self, F, x):
            x = F.relu(self.norm(self.convolution(x)))
            return self.dense(x + self.again(x))

    block = Residual(**options)
    block.initialize(mx.init.Xavier())
    return block


def close(seen, expected):
    """Tolerance: float32 sums in another order."""
    return np.abs(seen.numpy() - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("hybridized", [False, True])
def test_a_hybrid_block(mxnet, data, hybridized):
    block = network(mxnet)
    if hybridized:
        block.hybridize()
    expected = block(mxnet.nd.array(data)).asnumpy()
    model = Model.load(block)
    assert model.input_names() == ["data"] and repr(model).startswith("Model(loaded")
    model.prepare(SHAPE)
    assert close(model(data), expected)


def test_a_block_from_files_is_the_same_model(mxnet, data, tmp_path):
    """SymbolBlock is a HybridBlock too; the files are those of export."""
    block = network(mxnet)
    block.hybridize()
    block(mxnet.nd.array(data))
    block.export(str(tmp_path / "net"))
    files = str(tmp_path / "net-symbol.json"), str(tmp_path / "net-0000.params")
    models = [Model.load(*files), Model.load(block), Model.load(mxnet.gluon.SymbolBlock.imports(
        files[0], ["data"], files[1]))]
    for model in models:
        model.prepare(SHAPE)
    assert models[0].names() == models[1].names() == models[2].names()
    outputs = [model(torch.from_numpy(data)) for model in models]
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])


def test_a_block_of_several_inputs_and_outputs(mxnet, data):
    class Two(mxnet.gluon.HybridBlock):
        def hybrid_forward(self, F, a, b):
            return F.relu(a - b), (F.sum(a, axis=1), b * 2)

    block = Two()
    with pytest.raises(InvalidArgumentError, match="hybridize") as caught:
        Model.load(block)
    assert "TypeError" in str(caught.value)
    block.hybridize()
    arrays = [mxnet.nd.array(data), mxnet.nd.array(data[::-1])]
    first, (second, third) = block(*arrays)
    model = Model.load(block)
    assert model.input_names() == ["data0", "data1"] and len(model.output_names()) == 3
    model.prepare({"data0": SHAPE, "data1": SHAPE})
    for seen, expected in zip(model(*(array.asnumpy() for array in arrays)), (first, second, third)):
        assert close(seen, expected.asnumpy())


@pytest.mark.parametrize("prefixes", [False, True])
@pytest.mark.parametrize("kind", ["mxnet", "numpy"])
def test_a_symbol_with_its_parameters(mxnet, data, prefixes, kind):
    """MRT: Model(symbol, params)."""
    symbol = mxnet.sym.BatchNorm(mxnet.sym.Convolution(mxnet.sym.var("data"), kernel=(3, 3), num_filter=4, name="c"),
                                 name="b")
    executor = symbol.simple_bind(mxnet.cpu(), data=SHAPE, grad_req="null")
    generator = np.random.default_rng(1)
    params = {}
    for prefix, arrays in ("arg:", executor.arg_dict), ("aux:", executor.aux_dict):
        for name, array in arrays.items():
            if name != "data":
                array[:] = generator.random(array.shape) + 0.5
                value = array.copy() if kind == "mxnet" else array.asnumpy()
                params[prefix * prefixes + name] = value
    expected = executor.forward(data=mxnet.nd.array(data))[0].asnumpy()
    model = Model.load(symbol, params)
    model.prepare({"data": SHAPE})
    assert close(model(data), expected)


def test_parameters_in_a_file(mxnet, data, tmp_path):
    symbol = mxnet.sym.FullyConnected(mxnet.sym.var("data"), num_hidden=2, no_bias=True, name="f")
    weight = mxnet.nd.array(np.arange(6).reshape(2, 3))
    mxnet.nd.save(str(tmp_path / "f.params"), {"arg:f_weight": weight})
    model = Model.load(symbol, tmp_path / "f.params")
    model.prepare((1, 3))
    assert model(np.ones((1, 3), np.float32)).tolist() == [[3, 12]]


def test_what_cannot_be_loaded_is_named(mxnet, data):
    deferred = network(mxnet, prefix="net_")
    plain = mxnet.gluon.nn.Sequential()
    symbol = mxnet.sym.FullyConnected(mxnet.sym.var("data"), num_hidden=2, name="f")
    for call, error, text in (
            (lambda: Model.load(deferred), InvalidArgumentError, "block 'net' .*\n.*first 'net_conv0_weight'"),
            (lambda: Model.load(mxnet.gluon.nn.Dense(3, in_units=2)), InvalidArgumentError, "initialize"),
            (lambda: Model.load(plain), InvalidArgumentError, "no HybridBlock"),
            (lambda: Model.load(deferred, {}), InvalidArgumentError, "its own parameters"),
            (lambda: Model.load(symbol, [1]), InvalidArgumentError, "saw list"),
            (lambda: Model.load(symbol, {"f_weight": [1.0]}), InvalidArgumentError, "'f_weight'"),
            (lambda: Model.load(symbol).prepare((1, 3)), InvalidFileError, "2 parameters of the MXNet model"),
            (lambda: Model.load(mxnet.sym.gamma(mxnet.sym.var("data"))).prepare((1, 3)), UnsupportedOperatorError,
             "gamma"),
            (lambda: Model.load(mxnet.nd.array([1])), InvalidArgumentError, "NDArray")):
        with pytest.raises(error, match=text):
            call()


@pytest.mark.parametrize("other, text", [(torch.nn.ReLU(), "from_torch"), (5, "int"), (None, "NoneType")])
def test_other_objects_are_refused(other, text):
    """Oracle: the type's name, and where a PyTorch module belongs."""
    with pytest.raises(InvalidArgumentError, match=text):
        Model.load(other)


def test_asking_does_not_import_mxnet():
    """Oracle: sys.modules of a fresh process."""
    code = ("import sys; from bridges.mxnet.live import is_live\n"
            "class Symbol: pass\n"
            "Symbol.__module__ = 'mxnet.symbol'\n"
            "assert not is_live(Symbol()) and not is_live(3) and 'mxnet' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert not is_live(object())
