"""Float graphs written as MXNet files: run by MXNet, and imported again."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import torch

from bridges.mxnet.export_float import FLOAT_WRITERS, export_float
from bridges.mxnet.importer import import_symbol
from bridges.mxnet.params_file import read_params, strip_prefixes
from bridges.mxnet.symbol_file import read_symbol
from mrt_torch.errors import ExportError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.ops.registry import TRANSFORMERS
from mrt_torch.passes.prepare import prepare
from tests.bridges.mxnet import float_cases
from tests.bridges.mxnet.float_cases import FloatCase
from tests.bridges.mxnet.float_function_cases import FUNCTION_CASES
from tests.bridges.mxnet.float_logic_cases import LOGIC_CASES
from tests.bridges.mxnet.float_normalization_cases import NORMALIZATION_CASES
from tests.bridges.mxnet.oracle import TOLERANCE, check_close, targets

aten = torch.ops.aten
CASES = [*float_cases.CASES, *FUNCTION_CASES, *LOGIC_CASES, *NORMALIZATION_CASES]


def write(module, folder):
    paths = str(folder / "m-symbol.json"), str(folder / "m-0000.params")
    export_float(module, *paths)
    return paths


def run_file(mx, paths, **inputs):
    """Outputs of the two files, loaded by MXNet itself."""
    symbol, params = mx.sym.load(paths[0]), mx.nd.load(paths[1])
    arrays = {name.split(":", 1)[1]: array for name, array in (params or {}).items()}
    arrays.update(
        {name: mx.nd.array(value.numpy(), dtype=value.numpy().dtype) for name, value in inputs.items()})
    states = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    prefixes = {name.split(":", 1)[1]: name.split(":", 1)[0] for name in params or {}}
    assert all(prefixes[name] == "aux" for name in states)
    executor = symbol.bind(mx.cpu(), {name: arrays[name] for name in symbol.list_arguments()},
                           aux_states=states, grad_req="null")
    return [output.asnumpy() for output in executor.forward(is_train=False)]


def import_file(paths, dtype=torch.float32):
    return import_symbol(read_symbol(paths[0]), strip_prefixes(read_params(paths[1])), dtype=dtype)


def random_input(shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_every_target_has_a_case():
    """The writers, and all operators that can be quantized, are the oracle."""
    tested = {case.target for case in CASES} | {operator.getitem}
    assert set(FLOAT_WRITERS) == tested
    of_aten = {target for target in TRANSFORMERS if getattr(target, "namespace", "") == "aten"}
    assert of_aten <= set(FLOAT_WRITERS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator(case, mxnet, tmp_path):
    """Oracle: torch on the graph that was exported, in MXNet and after importing the file."""
    module, data = case.graph(), random_input(case.shape)
    paths = write(module, tmp_path)
    expected = [output.numpy() for output in module(data)]
    outputs = run_file(mxnet, paths, data=data)
    assert [output.dtype for output in outputs] == [np.float32]
    check_close([torch.from_numpy(output) for output in outputs], expected, TOLERANCE)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator_imported_again(case, tmp_path):
    """Oracle: torch on the graph that was exported."""
    module, data = case.graph(), random_input(case.shape)
    back = import_file(write(module, tmp_path))
    check_close(back(data), [output.numpy() for output in module(data)], TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_types_are_kept(mxnet, tmp_path, dtype):
    """Oracle: the buffers, and torch in float64."""
    case = FloatCase(aten.linear.default, (2, 5), ((3, 5), (3,)))
    paths = write(case.graph(dtype), tmp_path)
    for name, array in read_params(paths[1]).items():
        assert np.array_equal(array, getattr(case.graph(dtype), name.removeprefix("arg:")).numpy())
        assert array.dtype == str(dtype).removeprefix("torch.")
    if dtype is torch.float64:
        data = random_input(case.shape, dtype=dtype)
        (output,) = run_file(mxnet, paths, data=data)
        assert output.dtype == np.float64
        np.testing.assert_allclose(output, case.graph(dtype)(data)[0].numpy(), rtol=1e-14)


def test_clip_bounds_in_float64(mxnet, tmp_path):
    """MXNet's clip keeps bounds in float32; 0.1 is none. Oracle: torch in float64, bit for bit."""
    case = FloatCase(aten.clamp.default, (2, 5), (), (-0.1, 0.1))
    data = random_input(case.shape, dtype=torch.float64)
    (output,) = run_file(mxnet, write(case.graph(torch.float64), tmp_path), data=data)
    assert np.array_equal(output, case.graph(torch.float64)(data)[0].numpy())


def test_padding_ignores_what_it_borders(mxnet, tmp_path):
    """Infinity and NaN at the edge do not spread into the border. Oracle: torch."""
    case = FloatCase(aten.constant_pad_nd.default, (2, 3), (), ([1, 1], 2.0))
    data = torch.tensor([[np.inf, 1.0, np.nan], [np.nan, 2.0, -np.inf]])
    (output,) = run_file(mxnet, write(case.graph(), tmp_path), data=data)
    assert np.array_equal(output, case.graph()(data)[0].numpy(), equal_nan=True)


def test_reduction_to_a_number(mxnet, tmp_path):
    """What MXNet gives one axis and torch none is fine where it is reshaped. Oracle: torch."""
    editor = GraphEditor(empty_graph_module())
    total = editor.call(aten.amax.default, editor.input("data", (2, 3)), [0, 1])
    editor.output([editor.call(aten.reshape.default, total, [1])])
    editor.module.recompile()
    data = random_input((2, 3))
    (output,) = run_file(mxnet, write(editor.module, tmp_path), data=data)
    assert np.array_equal(output, editor.module(data)[0].numpy())


def test_shared_and_auxiliary_buffers(mxnet, tmp_path):
    """Two normalisations read the same moments, one of them also as data. Oracle: torch."""
    editor = GraphEditor(empty_graph_module())
    data = editor.input("data", (2, 3))
    mean, variance, scale = (editor.constant(name, torch.rand(3) + 0.5) for name in ("mean", "var", "scale"))
    options = (False, 0.1, 1e-5, False)
    first = editor.call(aten.batch_norm.default, data, scale, None, mean, variance, *options, name="bn")
    second = editor.call(aten.batch_norm.default, first, None, scale, mean, variance, *options, name="bn")
    editor.output([editor.call(aten.mul.Tensor, second, mean)])
    editor.module.recompile()
    paths, values = write(editor.module, tmp_path), random_input((2, 3))
    assert sorted(read_params(
        paths[1])) == ["arg:bn_batch_norm_beta", "arg:bn_gamma", "arg:scale", "aux:mean", "aux:var"]
    check_close([torch.from_numpy(run_file(mxnet, paths, data=values)[0])],
                [editor.module(values)[0].numpy()], TOLERANCE)


def test_all_impossible_nodes_are_listed(tmp_path):
    """Oracle: one line for each bad node; no file appears."""
    editor = GraphEditor(empty_graph_module())
    data = editor.input("data", (2, 3, 8, 8))
    weight = editor.constant("weight", torch.ones(3, 3, 2, 2))
    raised = editor.call(aten.conv_transpose2d.input, data, weight, None, [1, 1], [0, 0], [1, 1], 1, [2, 2], name="up")
    sines = editor.call(aten.lgamma.default, raised, name="sine")
    total = editor.call(aten.sum.dim_IntList, sines, [0, 1, 2, 3], name="total")
    editor.output([editor.call(aten.digamma.default, total, name="last")])
    editor.module.recompile()
    with pytest.raises(ExportError) as caught:
        write(editor.module, tmp_path)
    for text in ("4 nodes", "'up'", "output_padding", "'sine'", "no such operator", "'total'", "no axes",
                 "'last'"):
        assert text in str(caught.value)
    assert not list(tmp_path.iterdir())


def load_shared(shared_models, name, shape):
    symbol = read_symbol(shared_models / f"{name}-symbol.json")
    params = strip_prefixes(read_params(shared_models / f"{name}-0000.params"))
    return import_symbol(symbol, params, {"data": shape})


@pytest.mark.parametrize("name, shape", [("mnist_lenet", (1, 1, 28, 28)), ("cifar_resnet8", (1, 3, 32, 32))])
@pytest.mark.parametrize("prepared", [False, True])
def test_shared_model(mxnet, shared_models, tmp_path, name, shape, prepared):
    """Import, export, import again; oracles: the first import, and MXNet on the exported files."""
    module = load_shared(shared_models, name, shape)
    module = prepare(module) if prepared else module
    paths = write(module, tmp_path)
    back = import_file(paths)
    if not prepared:
        assert targets(back) == targets(module)
        assert sorted(dict(back.named_buffers())) == sorted(dict(module.named_buffers()))
    for batch in (1, 3):
        data = random_input((batch, *shape[1:]), seed=batch)
        expected = [output.numpy() for output in module(data)]
        check_close(back(data), expected, TOLERANCE)
        # MXNet adds up in another order over some twenty layers.
        check_close([torch.from_numpy(output) for output in run_file(mxnet, paths, data=data)], expected,
                    1e-4)
    (tmp_path / "again").mkdir()
    again = write(back, tmp_path / "again")
    if not prepared:
        assert [open(path, "rb").read() for path in again] == [open(path, "rb").read() for path in paths]


def gluon_net(mx, kind):
    """A small untrained net."""
    nn = mx.gluon.nn
    net = nn.HybridSequential(prefix=f"{kind}_")
    with net.name_scope():
        if kind == "plain":
            net.add(nn.Conv2D(6, 3, strides=2, padding=1), nn.BatchNorm(), nn.LeakyReLU(0.1),
                    nn.MaxPool2D(2, ceil_mode=True), nn.Conv2D(8, 3, groups=2, use_bias=False),
                    nn.Activation("tanh"), nn.AvgPool2D(2, count_include_pad=False), nn.Dropout(0.5),
                    nn.Flatten(), nn.Dense(5, activation="sigmoid"))
        else:
            net.add(
                nn.Conv2D(4, 1), nn.BatchNorm(scale=False), nn.Activation("relu"), nn.GlobalAvgPool2D(),
                nn.Dense(7),
                nn.HybridLambda(
                    lambda F, x: F.broadcast_sub(F.softmax(x) * 2, F.mean(x, axis=1, keepdims=True))))
    return net


@pytest.mark.parametrize("kind", ["plain", "global"])
def test_gluon_net(mxnet, tmp_path, kind):
    """Oracle: the net itself in MXNet."""
    mxnet.random.seed(3)
    net = gluon_net(mxnet, kind)
    net.initialize(mxnet.init.Xavier())
    net.hybridize()
    data = random_input((2, 3, 17, 17))
    expected = net(mxnet.nd.array(data.numpy())).asnumpy()
    net.export(str(tmp_path / "net"))
    source = str(tmp_path / "net-symbol.json"), str(tmp_path / "net-0000.params")
    module = import_symbol(read_symbol(source[0]), strip_prefixes(read_params(source[1])),
                           {"data": (1, 3, 17, 17)})
    outputs = run_file(mxnet, write(module, tmp_path), data=data)
    check_close([torch.from_numpy(output) for output in outputs], [expected], TOLERANCE)


def test_same_graph_same_bytes(tmp_path):
    """Oracle: the first export."""
    case, files = CASES[4], []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files.append([open(path, "rb").read() for path in write(case.graph(), tmp_path / folder)])
    assert files[0] == files[1]
