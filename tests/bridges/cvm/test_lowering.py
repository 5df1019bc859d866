"""From graph to file content. Oracle: the format's rules, spelled out for small graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridges.cvm import lowering
from bridges.cvm.lowering import lower, operand_nodes
from bridges.cvm.storage import check_storage, stored_tensors
from mrt_torch.errors import ExportError
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.facts import set_facts
from tests.bridges.cvm.graphs import convolution_graph, cvm, deployed_bytes, integer_graph, integers, two_headed_graph
from tests.bridges.cvm.operator_cases import CASES
from tests.mrt_torch.cvm.detection_graphs import detection_graph


def diamond(editor, data):
    """A dead node, a weight read through two get_attr nodes, one operand used twice."""
    weight = editor.constant("weight", torch.tensor([[1, -2, 300, 4]], dtype=torch.int32))
    again = editor.graph.get_attr("weight")
    again.meta.update(weight.meta)
    editor.call(cvm.negative.default, data)
    left = editor.call(cvm.elemwise_add.default, weight, data)
    right = editor.call(cvm.elemwise_add.default, again, data)
    joined = editor.call(cvm.elemwise_add.default, left, right)
    return [editor.call(cvm.elemwise_add.default, joined, joined)]


def test_order_names_and_shared_parameters():
    """The input is node 0 though it is read second; dead nodes are gone; one buffer is one parameter."""
    symbol, parameters = lower(integer_graph(diamond))
    assert [node.name for node in symbol.nodes] == ["data", "weight", "elemwise_add_0", "elemwise_add_1",
                                                    "elemwise_add_2", "elemwise_add_3"]
    assert [node.inputs for node in symbol.nodes] == [
        (), (), ((1, 0), (0, 0)), ((1, 0), (0, 0)), ((2, 0), (3, 0)), ((4, 0), (4, 0))]
    assert symbol.heads == ((5, 0),)
    assert symbol.precisions == (8, 10, -1, -1, -1, -1)
    assert list(parameters) == ["weight"] and parameters["weight"].dtype == np.int32


@pytest.mark.parametrize(("largest", "dtype", "precision"), [
    (0, np.int8, 1), (1, np.int8, 2), (127, np.int8, 8), (128, np.int32, 9), (2 ** 31 - 1, np.int32, 32)])
def test_parameters_of_at_most_8_bits_are_int8(largest, dtype, precision):
    symbol, parameters = lower(integer_graph(
        lambda editor, data: [editor.constant("c", torch.tensor([-largest], dtype=torch.int32))]))
    assert parameters["c"].dtype == dtype and parameters["c"] == -largest
    assert symbol.precisions == (8, precision)


def test_names_are_unique_ascii_and_do_not_depend_on_fx_names():
    def build(editor, data):
        first = editor.constant("relu_0", integers((1, 4)))
        second = editor.constant("data", integers((1, 4), seed=1))
        x = editor.call(cvm.elemwise_add.default, first, second, name="über.schön")
        return [editor.call(cvm.relu.default, x, name="relu_0"), data]
    names = [node.name for node in lower(integer_graph(build, name="bild"))[0].nodes]
    assert names == ["data", "relu_0", "data_1", "elemwise_add_0", "relu_0_1"]


def test_same_graph_same_bytes_whatever_its_node_names():
    """Renaming fx nodes must not change a byte."""
    def build(prefix):
        def heads(editor, data):
            x = editor.call(cvm.relu.default, data, name=f"{prefix}_x")
            return [editor.call(cvm.negative.default, x, name=f"{prefix}_y")]
        return integer_graph(heads)
    assert deployed_bytes(build("a")) == deployed_bytes(build("b")) == deployed_bytes(build("a"))


def test_heads_that_are_input_constant_and_repeated():
    symbol, _ = lower(integer_graph(lambda e, data: [data, e.constant("c", integers((1, 4))), data]))
    assert symbol.heads == ((0, 0), (1, 0), (0, 0))


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_input(count):
    graph = integer_graph(lambda editor, data: [editor.constant("c", integers((1, 4)))])
    data = next(iter(graph.graph.nodes))
    if count == 0:
        graph.graph.erase_node(data)
    else:
        with graph.graph.inserting_before(data):
            set_facts(GraphEditor(graph).input("second", (1, 4), torch.int32), precision=8)
    with pytest.raises(ExportError, match=f"the graph has {count}"):
        lower(graph)


def test_storage_limit(monkeypatch):
    monkeypatch.setattr(lowering, "LARGEST_STORAGE", 100)
    with pytest.raises(ExportError, match="storage"):
        lower(convolution_graph())


@pytest.mark.parametrize("graph", [convolution_graph(), two_headed_graph(), integer_graph(diamond),
                                   detection_graph(), detection_graph(heads=slice(2, 3)),
                                   *(case.graph() for case in CASES[::5])])
def test_storage_plan_is_safe(graph):
    """Oracle: the liveness checker, on the nodes of the file."""
    symbol, _ = lower(graph)
    tensors = stored_tensors(symbol.nodes, symbol.shapes)
    assert check_storage(tensors, [symbol.entry(head) for head in symbol.heads], symbol.storage_ids) == []


def test_operators_of_two_outputs():
    """References name the output; both outputs have a shape, an unset precision and a storage of their own."""
    symbol, _ = lower(detection_graph())
    names = [node.name for node in symbol.nodes]
    valid = names.index("get_valid_counts_0")
    assert symbol.nodes[names.index("non_max_suppression_0")].inputs == ((valid, 1), (valid, 0))
    assert symbol.heads[:2] == ((valid, 0), (valid, 1))
    counts, rows = (symbol.entry((valid, output)) for output in (0, 1))
    assert (symbol.shapes[counts], symbol.shapes[rows]) == ((1,), (1, 5, 6))
    assert symbol.precisions[counts] == symbol.precisions[rows] == -1
    assert symbol.storage_ids[counts] != symbol.storage_ids[rows]
    alone, _ = lower(detection_graph(heads=slice(1, 2)))  # the counts are written, and read by nobody
    counts, rows = (alone.entry((valid, output)) for output in (0, 1))
    assert alone.storage_ids[counts] != alone.storage_ids[rows]


def test_composites_are_refused():
    def build(editor, data):
        return [editor.call(cvm.batch_dot.default, data, data)]
    with pytest.raises(ExportError, match="no batch_dot"):
        lower(integer_graph(build, (2, 3, 4)))


def test_operands_keep_order_and_repetitions():
    graph = integer_graph(lambda editor, data: [editor.call(cvm.concatenate.default, [data, data], axis=0)])
    call = next(node for node in graph.graph.nodes if node.op == "call_function")
    assert [operand.name for operand in operand_nodes(call)] == ["data", "data"]
    graph = integer_graph(lambda editor, data: [editor.call(
        cvm.dense.default, data, editor.constant("w", integers((2, 4))), None)])
    call = next(node for node in graph.graph.nodes if node.op == "call_function")
    assert [operand.name for operand in operand_nodes(call)] == ["data", "w"]
