"""The real CVM runtime against our integer graphs: outputs, gas, storage and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges.cvm.heads import flatten_heads
from bridges.cvm.load import graph_of
from bridges.cvm.lowering import lower
from bridges.cvm.params_file import format_params, parse_params
from bridges.cvm.runtime import CvmRuntime
from bridges.cvm.symbol_file import format_symbol
from bridges.cvm.symbol_parser import parse_symbol
from mrt_torch.cvm import gas
from mrt_torch.errors import ExportError, InvalidArgumentError, InvalidFileError, RuntimeLibraryError
from tests.bridges.cvm.graphs import convolution_graph, cvm, deployed_bytes, integer_graph, integers, two_headed_graph
from tests.bridges.cvm.operator_cases import CASES

pytestmark = pytest.mark.cvm_runtime
both_devices = pytest.mark.parametrize("device", ["cpu", "formal"])


@pytest.mark.parametrize("case", CASES, ids=str)
@both_devices
def test_operator_gives_the_same_integers_and_gas(runtime, case, device):
    """Oracle: the runtime. Three inputs on one handle: repeated inference must not change parameters."""
    graph = flatten_heads(case.graph())
    symbol, params = deployed_bytes(graph)
    with runtime.load(symbol, params, device) as model:
        for seed in range(3):
            values = case.input(seed)
            for expected, seen in zip(graph(values), model.run(values.numpy()), strict=True):
                assert seen.shape == tuple(expected.shape)
                np.testing.assert_array_equal(seen, expected.numpy())
        assert model.gas == gas(graph) == runtime.gas_of_graph(symbol)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_attributes_in_other_words(runtime, case):
    """A file with defaults left out and other spellings. Oracle: the runtime on that file."""
    symbol, params = deployed_bytes(case.graph())
    parsed = parse_symbol(symbol)
    spelled = replace(parsed, nodes=tuple(
        replace(node, attributes=case.attributes) if node.operator == case.operator else node for node in parsed.nodes))
    values = case.input(7)
    with runtime.load(format_symbol(spelled).encode(), params, "formal") as model:
        heads = graph_of(spelled, parse_params(params))(values)
        for expected, seen in zip(model.run(values.numpy()), heads, strict=True):
            np.testing.assert_array_equal(seen.numpy(), expected)


def chain_graph(bits=8):
    """Reused and in-place storage: a branch, a shared parameter and several readers of one value."""
    def build(editor, data):
        factor = editor.constant("factor", integers((3, 1, 1), 1, 100))
        x = editor.call(cvm.broadcast_mul.default, data, factor)
        x = editor.call(cvm.cvm_right_shift.default, x, precision=8, shift_bit=7)
        y = editor.call(cvm.relu.default, x)
        y = editor.call(cvm.elemwise_add.default, y, x)
        z = editor.call(cvm.broadcast_mul.default, x, factor)
        z = editor.call(cvm.cvm_clip.default, z, precision=bits)
        y = editor.call(cvm.cvm_clip.default, y, precision=bits)
        z = editor.call(cvm.elemwise_sub.default, z, y)
        z = editor.call(cvm.cvm_clip.default, z, precision=bits)
        return [editor.call(cvm.elemwise_add.default, z, x)]
    return integer_graph(build, (1, 3, 4, 4))


@both_devices
@pytest.mark.parametrize("graph", [convolution_graph(), chain_graph(), two_headed_graph(),
                                   two_headed_graph(5)],
                         ids=["convolution", "chain", "two heads of 4 bytes", "two heads of fewer bits"])
def test_graph_with_reused_storage(runtime, graph, device):
    """Oracle: our graph with heads flattened, for values; planned sizes for the storage."""
    symbol, params = deployed_bytes(graph)
    flattened = flatten_heads(graph)
    shape = next(iter(graph.graph.nodes)).meta["val"].shape
    with runtime.load(symbol, params, device) as model:
        for seed in range(3):
            values = integers(shape, -15, 15, seed)
            seen, expected = model.run(values.numpy()), flattened(values)
            for ours, theirs in zip(expected, seen, strict=True):
                np.testing.assert_array_equal(theirs, ours.numpy())
        parsed = parse_symbol(symbol)
        sizes = {}
        for storage, entry in zip(parsed.storage_ids, parsed.shapes, strict=True):
            sizes[storage] = max(sizes.get(storage, 0), 4 * int(np.prod(entry)))
        assert model.storage_size == sum(sizes.values())
        assert model.gas == gas(flattened)


def narrow(editor, x):
    return editor.call(cvm.cvm_clip.default, x, precision=8)


# Operators of every kind of storage use on (1, 4, 4) tensors of 8 bits.
STEPS = [
    lambda e, x, y: e.call(cvm.relu.default, x),
    lambda e, x, y: e.call(cvm.abs.default, x),
    lambda e, x, y: e.call(cvm.negative.default, x),
    lambda e, x, y: narrow(e, e.call(cvm.elemwise_add.default, x, y)),
    lambda e, x, y: narrow(e, e.call(cvm.elemwise_sub.default, x, y)),
    lambda e, x, y: narrow(e, e.call(cvm.broadcast_mul.default, x, y)),
    lambda e, x, y: e.call(cvm.cvm_right_shift.default, x, precision=7, shift_bit=1),
    lambda e, x, y: e.call(cvm.reshape.default, e.call(cvm.flatten.default, x), shape=[1, 4, 4]),
    lambda e, x, y: e.call(cvm.transpose.default, x, axes=[0, 2, 1]),
]


@st.composite
def random_graphs(draw):
    """Chains and branches of steps; any value may be read again, or be a head, or be neither."""
    position = st.integers(0, 99)
    steps = draw(st.lists(st.tuples(st.sampled_from(STEPS), position, position), min_size=1, max_size=14))
    heads = draw(st.lists(position, min_size=1, max_size=3))

    def build(editor, data):
        values = [data, editor.constant("c", integers((1, 4, 4)))]
        for step, first, second in steps:
            values.append(step(editor, values[first % len(values)], values[second % len(values)]))
        return [values[head % len(values)] for head in heads]
    return integer_graph(build, (1, 4, 4))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=random_graphs(), device=st.sampled_from(["cpu", "formal"]))
def test_random_graphs_with_reused_storage(runtime, graph, device):
    """Oracle: our graph, in which every tensor has its own memory."""
    symbol, params = deployed_bytes(graph)
    with runtime.load(symbol, params, device) as model:
        for seed in range(2):
            values = integers((1, 4, 4), seed=seed)
            for seen, expected in zip(model.run(values.numpy()), flatten_heads(graph)(values), strict=True):
                np.testing.assert_array_equal(seen, expected.numpy())


@both_devices
def test_unusual_heads(runtime, device):
    """The input, a constant, a node twice, and heads with different leading extents. Oracle: our graph."""
    def build(editor, data):
        constant = editor.constant("constant", integers((3, 5), -9, 9))
        total = editor.call(cvm.sum.default, data, axis=[], keepdims=False, exclude=False)
        return [data, constant, total, total]
    graph = flatten_heads(integer_graph(build, (2, 3), 4))
    symbol, params = deployed_bytes(graph)
    values = integers((2, 3), -7, 7)
    with runtime.load(symbol, params, device) as model:
        for seen, expected in zip(model.run(values.numpy()), graph(values), strict=True):
            np.testing.assert_array_equal(seen, expected.numpy())


def test_input_as_only_head(runtime):
    """A graph without operators or parameters. Oracle: the input."""
    symbol, params = deployed_bytes(integer_graph(lambda editor, data: [data], (2, 3), 12))
    assert len(params) == 32
    values = integers((2, 3), -2000, 2000).numpy()
    with runtime.load(symbol, params) as model:
        np.testing.assert_array_equal(model.run(values)[0], values)


def unverified_bytes(build, shape, precision=8):
    """The files of a graph that neither was verified nor had its heads flattened."""
    symbol, parameters = lower(integer_graph(build, shape, precision))
    return format_symbol(symbol).encode(), format_params(parameters)


def wide_convolution(editor, data):
    weight = editor.constant("w", integers((2, 3, 1, 1)))
    return [editor.call(cvm.conv2d.default, data, weight, strides=[1, 1], padding=[0, 0], dilation=[1, 1],
                        groups=1)]


def wide_product(editor, data):
    factor = editor.constant("w", integers((1,), 2 ** 20, 2 ** 20))
    return [editor.call(cvm.broadcast_mul.default, data, factor)]


def thick_padding(editor, data):
    weight = editor.constant("w", integers((2, 3, 1, 1)))
    return [editor.call(cvm.conv2d.default, data, weight, strides=[1, 1], padding=[4097, 0], dilation=[1, 1],
                        groups=1)]


@pytest.mark.parametrize(("build", "shape", "precision", "message"), [
    (wide_convolution, (1, 3, 4, 4), 9, "INT8"),
    (wide_product, (1, 4), 16, "precison"),
    (thick_padding, (1, 3, 1, 1), 8, "padding"),
])
def test_runtime_refuses_what_verify_refuses(runtime, build, shape, precision, message):
    """Oracle: the runtime; its message reaches the error, and ours lists a reason for the same graph."""
    with pytest.raises(ExportError, match="not deployable"):
        deployed_bytes(integer_graph(build, shape, precision))
    with pytest.raises(RuntimeLibraryError, match=message):
        runtime.load(*unverified_bytes(build, shape, precision))


def test_runtime_refusals_quote_the_library(runtime):
    symbol, params = deployed_bytes(convolution_graph())
    with pytest.raises(RuntimeLibraryError, match=r"Check output shape failed"):
        runtime.load(symbol.replace(b"[1, 144]", b"[1, 145]"), params)
    with pytest.raises(RuntimeLibraryError, match="conv3d is not registered"):
        runtime.load(symbol.replace(b'"relu"', b'"conv3d"'), params)
    with pytest.raises(RuntimeLibraryError, match="exceed of precision"):
        runtime.load(symbol.replace(b'"list_int", [8, 8,', b'"list_int", [8, 3,'), params)
    with pytest.raises(RuntimeLibraryError, match="conv3d is not registered"):
        runtime.gas_of_graph(symbol.replace(b'"relu"', b'"conv3d"'))


def test_heads_of_different_row_counts_fail_at_inference(runtime):
    """The reason for ``flatten_heads``: without it the runtime loads the model and cannot run it."""
    symbol, params = unverified_bytes(
        lambda editor, data: [data, editor.call(cvm.flatten.default, data)], (2, 3, 4))
    with runtime.load(symbol, params) as model, pytest.raises(RuntimeLibraryError, match="cannot concat"):
        model.run(integers((2, 3, 4)).numpy())


def test_files_that_would_crash_the_runtime_are_refused_before(runtime):
    symbol, params = deployed_bytes(convolution_graph())
    with pytest.raises(InvalidFileError, match="node_row_ptr"):
        runtime.load(symbol.replace(b'"node_row_ptr": [0, 1, 2, 3, 4, 5, 6, 7], ', b""), params)
    with pytest.raises(InvalidFileError, match="corrupt its memory"):
        runtime.load(symbol.replace(rb'\"channels\": \"4\"', rb'\"channels\": \"9\"'), params)
    with pytest.raises(InvalidFileError, match="needs"):
        runtime.load(symbol, params[:-1])


@pytest.mark.parametrize("shape", ["(-4, -1, 0, 4)", "(-4, 1, 2, -1)", "(65536, 65536, -1)"])
def test_reshapes_that_would_crash_the_runtime_are_refused_before(runtime, shape):
    """Divisions by 0, and an extent that is written beyond the shape."""
    symbol, params = deployed_bytes(integer_graph(
        lambda editor, data: [editor.call(cvm.reshape.default, data, shape=[4, 1])]))
    spelled = symbol.replace(b'\\"(4, 1)\\"', b'\\"' + shape.encode() + b'\\"')
    assert spelled != symbol
    for refused in (lambda: runtime.load(spelled, params), lambda: runtime.gas_of_graph(spelled)):
        with pytest.raises(InvalidFileError, match="could crash"):
            refused()


def test_input_is_checked(runtime):
    symbol, params = deployed_bytes(convolution_graph())
    with runtime.load(symbol, params) as model:
        with pytest.raises(InvalidArgumentError, match="exceeds its precision"):
            model.run(np.full((1, 3, 8, 8), -128))
        with pytest.raises(InvalidArgumentError, match="expected integers of shape"):
            model.run(np.zeros((1, 3, 8, 8), np.float32))
        with pytest.raises(InvalidArgumentError, match="expected integers of shape"):
            model.run(np.zeros((3, 8, 8), np.int32))
    with pytest.raises(RuntimeLibraryError, match="closed"):
        model.run(np.zeros((1, 3, 8, 8), np.int32))
    model.close()


def test_unknown_device(runtime):
    with pytest.raises(InvalidArgumentError, match="unknown CVM device"):
        runtime.load(b"", b"", "gpu")


def test_second_library_is_refused(runtime, tmp_path):
    """Oracle: two copies in one process abort it, so the error must come first."""
    other = tmp_path / "libcvm.so"
    other.write_bytes(b"")
    with pytest.raises(RuntimeLibraryError, match="another CVM library"):
        CvmRuntime(other)


def test_nothing_is_printed(runtime, capfd):
    """The library prints a line for gas and the errors; both are captured."""
    symbol, params = deployed_bytes(convolution_graph())
    runtime.gas_of_graph(symbol)
    with pytest.raises(RuntimeLibraryError):
        runtime.load(symbol.replace(b"[1, 144]", b"[1, 145]"), params)
    assert capfd.readouterr() == ("", "")
