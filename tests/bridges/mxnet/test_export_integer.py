"""Integer graphs written as MXNet files: run by MXNet, and read back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.mxnet.export_integer import build_symbol, export_integer
from bridges.mxnet.exporters.integer import INTEGER_WRITERS
from bridges.mxnet.import_integer import import_integer
from bridges.mxnet.importer import import_symbol
from bridges.mxnet.params_file import read_params, strip_prefixes, write_params
from bridges.mxnet.symbol_file import read_symbol, write_symbol
from mrt_torch.calibration.calibrate import Calibrator
from mrt_torch.cvm import OPERATORS, Interval, analyse, verify
from mrt_torch.errors import ExportError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, input_nodes, output_nodes
from mrt_torch.graph.facts import facts_of, set_facts
from mrt_torch.passes.prepare import prepare
from mrt_torch.passes.quantize import quantize
from mrt_torch.quantization.settings import QuantizationSettings
from tests.bridges.cvm.graphs import integer_graph, integers, two_headed_graph
from tests.bridges.cvm.operator_cases import CASES, OperatorCase
from tests.mrt_torch.cvm.detection_graphs import detection_graph

cvm = torch.ops.cvm
WIDEST = 2 ** 31 - 1

# Cases that the CVM runtime cannot run, but MXNet can, and extremes.
MORE_CASES = [
    OperatorCase("batch_dot", (2, 3, 7), (integers((2, 4, 7)),), {}),
    OperatorCase("batch_dot", (1, 1, 3), (integers((1, 5, 3)),), {}),
    OperatorCase("non_max_suppression", (3, 20, 6), (torch.tensor([20, 0, 7], dtype=torch.int32),),
                 {"iou_threshold": "20", "top_k": "9", "max_output_size": "4"}, 4),
    OperatorCase("max", (2, 3), (), {"axis": "()", "keepdims": "True"}, 2),
    OperatorCase("cvm_left_shift", (2, 30), (), {"precision": "20", "shift_bit": "9"}),
    OperatorCase("cvm_left_shift", (2, 30), (), {"precision": "32", "shift_bit": "24"}),
    OperatorCase("clip", (2, 30), (), {"a_min": "-16777217", "a_max": "2147483646"}, 32),
    OperatorCase("cvm_clip", (3, 9), (), {"precision": "31"}, 32),
    OperatorCase("broadcast_div", (50,), (integers((8, 1), -3, 3),), {}, 32),
    OperatorCase("broadcast_div", (50,), (integers((4, 50), -2 ** 31 + 1, WIDEST),), {}, 32),
    OperatorCase("broadcast_div", (4, 5), (torch.zeros(1, dtype=torch.int32),), {}),
    OperatorCase("where", (4,), (integers((4, 3, 2)), integers((4, 3, 2), seed=1)), {}),
    OperatorCase("take", (4, 5), (integers((7,), -40, 40),), {"axis": "None"}),
    OperatorCase("sum", (2, 3), (), {"axis": "(0, 1)", "exclude": "True"}),
    OperatorCase("max", (2, 3), (), {"axis": "()"}),
    OperatorCase("strided_slice", (6, 5), (), {"begin": "(5, -1)", "end": "(-9, 0)", "stride": "(-1, -2)"}),
    OperatorCase("strided_slice", (6, 5), (),
                 {"begin": "(0, 1)", "end": "(2147483647, 4)", "stride": "(2, 2)"}),
    OperatorCase("cvm_lut", (30,), (integers((100, 1), -2 ** 31 + 1, WIDEST),), {"in_dim": "100"}),
    OperatorCase("cvm_lut", (30,), (integers((1, 50), -9000, 9000),), {"in_dim": "50"}, 32),
    OperatorCase("squeeze", (1, 1), (), {}),
]
ALL_CASES = CASES + MORE_CASES




def extremes(case):
    """Inputs at both ends of the range, 0 and +-1, in turn, with steps that no axis has."""
    bound = 2 ** (case.precision - 1) - 1
    values = torch.tensor([bound, -bound, 0, 1, -1, bound - (bound > 0), -bound + (bound > 0)],
                          dtype=torch.int32)
    count = int(np.prod(case.shape))
    return values[torch.arange(count) % len(values)].reshape(case.shape)


def write(module, folder):
    """The two files of a graph, verified or not."""
    symbol, params = build_symbol(module)
    write_symbol(symbol, folder / "m-symbol.json")
    write_params(folder / "m-0000.params", params)
    return folder / "m-symbol.json", folder / "m-0000.params"


def read(symbol_path, params_path):
    return import_integer(read_symbol(symbol_path), read_params(params_path))


def assert_same(outputs, expected):
    assert len(outputs) == len(expected)
    for output, reference in zip(outputs, expected):
        assert tuple(output.shape) == tuple(reference.shape)
        assert np.array_equal(np.asarray(output), np.asarray(reference))


def test_every_operator_has_a_writer_and_a_case():
    """The table of CVM operators is the oracle."""
    names = {row.name for row in OPERATORS}
    assert set(INTEGER_WRITERS) == names
    assert {case.operator for case in ALL_CASES} == names


@pytest.mark.parametrize("case", ALL_CASES, ids=str)
def test_operator_in_mxnet(case, mxnet, tmp_path):
    """Oracle: torch.ops.cvm, bit for bit, on random values and extremes."""
    from bridges.mxnet.execute import run_symbol
    module = case.graph()
    paths = write(module, tmp_path)
    for data in (case.input(7), extremes(case)):
        outputs = run_symbol(*paths, data.numpy())
        assert all(output.dtype == np.int64 for output in outputs)
        assert_same(outputs, module(data))


@pytest.mark.parametrize("case", ALL_CASES, ids=str)
def test_operator_read_back(case, tmp_path):
    """Oracle: the exported graph itself, bit for bit."""
    module = case.graph()
    back = read(*write(module, tmp_path))
    for data in (case.input(7), extremes(case)):
        assert_same(back(data), module(data))


def small_model(shape=(2, 3, 8, 8), names=("conv/a", "conv/a")):
    """Two inputs' worth of variety on one: shared buffer, repeated names, both heads of other shapes."""
    def build(editor, data):
        set_facts(data, scale=12.7)
        weight = editor.constant("weight", integers((4, 3, 3, 3)))
        again = editor.graph.get_attr(weight.target)
        again.meta.update(weight.meta)
        options = {"strides": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}
        first = editor.call(cvm.conv2d.default, data, weight, name=names[0], **options)
        second = editor.call(cvm.conv2d.default, data, again, name=names[1], **options)
        total = editor.call(cvm.elemwise_add.default, first, second)
        small = editor.call(cvm.cvm_right_shift.default, total, precision=8, shift_bit=9)
        mean = editor.call(cvm.sum.default, small, axis=[2, 3], keepdims=False, exclude=False)
        flat = editor.call(cvm.reshape.default, small, shape=[-1, 256])
        return [mean, flat]
    module = integer_graph(build, shape)
    for head, scale in zip(output_nodes(module.graph), (3.25, 1e-7)):
        set_facts(head, scale=scale)
    return module


def test_any_batch(mxnet, tmp_path):
    """Oracle: torch.ops.cvm; the shape in the file is an example of the batch, both in MXNet and read
    back."""
    from bridges.mxnet.execute import run_symbol
    module = small_model()
    paths = tmp_path / "m.json", tmp_path / "m.params"
    export_integer(module, *paths)
    back = read(*paths)
    for batch in (1, 2, 5):
        data = integers((batch, 3, 8, 8), seed=batch)
        expected = module(data)
        assert_same(run_symbol(*paths, {"data": data}), expected)
        assert_same(back(data), expected)


def test_plain_mxnet_is_exact(mxnet, tmp_path):
    """A file needs nothing but the Custom operators: simple_bind and SymbolBlock. Oracle: torch.ops.cvm."""
    import bridges.mxnet.cvm_op  # noqa: F401
    module, data = small_model(), integers((2, 3, 8, 8))
    paths = [str(tmp_path / name) for name in ("m-symbol.json", "m-0000.params")]
    export_integer(module, *paths)
    executor = mxnet.sym.load(paths[0]).simple_bind(mxnet.cpu(), grad_req="null")
    loaded = {name.split(":")[1]: array for name, array in mxnet.nd.load(paths[1]).items()}
    executor.copy_params_from(loaded)
    values = mxnet.nd.array(data.numpy(), dtype="float64")
    assert_same([output.asnumpy() for output in executor.forward(is_train=False, data=values)], module(data))
    block = mxnet.gluon.SymbolBlock.imports(paths[0], ["data"], paths[1])
    assert_same([output.asnumpy() for output in block(values)], module(data))


def test_facts_come_back(tmp_path):
    """Oracle: the exported graph's own facts."""
    module = small_model()
    set_facts(input_nodes(module.graph)[0], value_range=Interval(0, 99))
    analyse(module)
    export_integer(module, tmp_path / "m.json", tmp_path / "m.params")
    back = read(tmp_path / "m.json", tmp_path / "m.params")
    verify(back)
    for nodes in (input_nodes, output_nodes):
        for node, reference in zip(nodes(back.graph), nodes(module.graph), strict=True):
            assert node.meta["val"].shape == reference.meta["val"].shape
            for fact in ("precision", "scale", "value_range"):
                assert getattr(facts_of(node), fact) == getattr(facts_of(reference), fact)


def test_facts_survive_mxnet(mxnet, tmp_path):
    """MXNet loads and saves the symbol; reading its file gives the same graph. Oracle: the file before."""
    import bridges.mxnet.cvm_op  # noqa: F401
    export_integer(small_model(), tmp_path / "m.json", tmp_path / "m.params")
    mxnet.sym.load(str(tmp_path / "m.json")).save(str(tmp_path / "again.json"))
    before, after = (read(tmp_path / name, tmp_path / "m.params") for name in ("m.json", "again.json"))
    assert facts_of(input_nodes(after.graph)[0]) == facts_of(input_nodes(before.graph)[0])
    assert [facts_of(n).scale for n in output_nodes(after.graph)] == [3.25, 1e-7]
    data = integers((2, 3, 8, 8))
    assert_same(after(data), before(data))


def test_names_are_the_models_and_unique(tmp_path):
    """The last of several nodes of one name, which gives the result, keeps it; a shared buffer is stored
    once."""
    export_integer(small_model(), tmp_path / "m.json", tmp_path / "m.params")
    symbol = read_symbol(tmp_path / "m.json")
    names = [node.name for node in symbol.nodes]
    assert len(set(names)) == len(names)
    convolutions = [node.name for node in symbol.operators if node.operator == "Convolution"]
    assert convolutions == ["conv/a_conv2d", "conv/a"]
    assert [node.name for node in symbol.variables] == ["data", "weight"]
    assert list(read_params(tmp_path / "m.params")) == ["arg:weight"]


def test_same_graph_same_bytes(tmp_path):
    """Also after reading back and writing again, once names are unique. Oracle: the first export."""
    files = []
    for folder, module in (("a", small_model()), ("b", small_model())):
        (tmp_path / folder).mkdir()
        export_integer(module, tmp_path / folder / "m.json", tmp_path / folder / "m.params")
        files.append([(tmp_path / folder / name).read_bytes() for name in ("m.json", "m.params")])
    assert files[0] == files[1]
    (tmp_path / "c").mkdir()
    export_integer(read(tmp_path / "a/m.json", tmp_path / "a/m.params"), tmp_path / "c/m.json",
                   tmp_path / "c/m.params")
    assert [(tmp_path / "c" / name).read_bytes() for name in ("m.json", "m.params")] == files[0]


def test_parameters_are_exact_beyond_float32(tmp_path):
    """2**31 - 1 and its neighbours survive. Oracle: the buffer."""
    values = torch.tensor([WIDEST, WIDEST - 1, -WIDEST, 2 ** 24 + 1], dtype=torch.int32)
    case = OperatorCase("broadcast_max", (1, 4), (values,), {})
    paths = write(case.graph(), tmp_path)
    stored = read_params(paths[1])["arg:c0"]
    assert stored.dtype == np.float64 and np.array_equal(stored, values.numpy())
    assert torch.equal(read(*paths).c0, values)


def quantized_model(folder, name, shape):
    """Integer graph of a shared model, calibrated on random data."""
    symbol = read_symbol(folder / f"{name}-symbol.json")
    module = prepare(import_symbol(symbol, strip_prefixes(read_params(folder / f"{name}-0000.params")),
                                   shape))
    calibrator = Calibrator(module)
    calibrator.run([torch.randn((16, *shape[1:]), generator=torch.Generator().manual_seed(0))],
                   torch.device("cpu"))
    return quantize(module, calibrator.thresholds(), QuantizationSettings())[0]


@pytest.mark.parametrize("name, shape", [("mnist_lenet", (1, 1, 28, 28)), ("cifar_resnet8", (1, 3, 32, 32))])
def test_quantized_model(mxnet, shared_models, tmp_path, name, shape):
    """Oracle: the integer graph in torch, bit for bit; MXNet and the graph read back must give the same."""
    from bridges.mxnet.execute import run_symbol
    module = quantized_model(shared_models, name, shape)
    paths = tmp_path / "m-symbol.json", tmp_path / "m-0000.params"
    export_integer(module, *paths)
    back = read(*paths)
    verify(back)
    data = integers((3, *shape[1:]))
    expected = module(data)
    assert max(output.abs().max() for output in expected) > 100
    assert_same(run_symbol(*paths, data), expected)
    assert_same(back(data), expected)


def test_graph_without_parameters_and_two_inputs(mxnet, tmp_path):
    """Oracle: torch.ops.cvm."""
    from bridges.mxnet.execute import run_symbol
    editor = GraphEditor(empty_graph_module())
    left, right = (editor.input(name, (2, 3), torch.int32) for name in ("left", "right"))
    set_facts(left, precision=8)
    set_facts(right, precision=20, scale=0.5)
    editor.output([editor.call(cvm.broadcast_sub.default, left, right), right])
    editor.module.recompile()
    analyse(editor.module)
    paths = tmp_path / "m.json", tmp_path / "m.params"
    export_integer(editor.module, *paths)
    data = {"left": integers((4, 3)), "right": integers((4, 3), -500000, 500000, seed=1)}
    assert_same(run_symbol(*paths, data), editor.module(*data.values()))
    assert_same(read(*paths)(*data.values()), editor.module(*data.values()))


def test_dead_code_is_not_written(tmp_path):
    """Nodes no head needs, which no runtime would accept, do not matter."""
    module = two_headed_graph()
    with module.graph.inserting_before(output_nodes(module.graph)[0]):
        module.graph.call_function(torch.ops.aten.relu.default, (input_nodes(module.graph)[0],))
    export_integer(module, tmp_path / "m.json", tmp_path / "m.params")
    assert len(read_symbol(tmp_path / "m.json").operators) == 2


def test_unverified_graph_is_refused_and_nothing_written(tmp_path):
    """The reasons are those of verify."""
    module = OperatorCase("relu", (4,)).graph()
    set_facts(output_nodes(module.graph)[0], precision=7)
    with pytest.raises(ExportError, match="need 8 bits, recorded are 7"):
        export_integer(module, tmp_path / "m.json", tmp_path / "m.params")
    assert not list(tmp_path.iterdir())


def test_what_the_cvm_has_yet_to_expand_is_written(mxnet, tmp_path):
    """A left shift and a batch of products, which MXNet has. Oracle: torch.ops.cvm."""
    from bridges.mxnet.execute import run_symbol

    def build(editor, data):
        shifted = editor.call(cvm.cvm_left_shift.default, data, precision=12, shift_bit=3)
        return [shifted, editor.call(cvm.batch_dot.default, data, data)]
    module = integer_graph(build, (2, 3, 4))
    paths = tmp_path / "m.json", tmp_path / "m.params"
    export_integer(module, *paths)
    data = integers((5, 3, 4))
    assert_same(run_symbol(*paths, data), module(data))
    assert_same(read(*paths)(data), module(data))


def test_operators_of_two_outputs(mxnet, tmp_path):
    """Both outputs are read, and are heads. Oracle: torch.ops.cvm."""
    from bridges.mxnet.execute import run_symbol
    module = detection_graph(batch=2)
    paths = tmp_path / "m.json", tmp_path / "m.params"
    export_integer(module, *paths)
    back = read(*paths)
    assert [facts_of(head).value_range for head in output_nodes(back.graph)] == [
        facts_of(head).value_range for head in output_nodes(module.graph)]
    data = integers((3, 5, 6))
    assert_same(run_symbol(*paths, data), module(data))
    assert_same(back(data), module(data))


def test_the_batch_axis_is_kept(tmp_path):
    module = two_headed_graph()
    set_facts(input_nodes(module.graph)[0], batch_axis=2)
    export_integer(module, tmp_path / "m.json", tmp_path / "m.params")
    back = read(tmp_path / "m.json", tmp_path / "m.params")
    assert facts_of(input_nodes(back.graph)[0]).batch_axis == 2


def test_foreign_operators_are_listed(tmp_path):
    """All of them, with counts."""
    module = two_headed_graph()
    data = input_nodes(module.graph)[0]
    with module.graph.inserting_after(data):
        for target in (torch.ops.aten.relu.default, torch.ops.aten.relu.default, torch.ops.aten.abs.default):
            module.graph.call_function(target, (data,))
    with pytest.raises(ExportError, match=r"aten.abs.default: 1 nodes(.|\n)*aten.relu.default: 2 nodes"):
        build_symbol(module)
