"""Several inputs become slices of one called data."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, input_nodes, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.passes import fuse_multiple_inputs, name_input, prepare
from tests.mrt_torch.ops.graphs import aten, draw, graph, operators


def fused(module):
    return run_pass(module, fuse_multiple_inputs, Stage.SOURCE)


def outputs(e, *inputs):
    return [e.call(aten.relu.default, x) for x in inputs]


@pytest.mark.parametrize("names", [("left", "right", "mask"), ("data", "im_info", "rest"), ("a", "b", "data"),
                                   ("data_1", "data", "data_2"), ("x/0", "x.1", "input")])
def test_three_inputs(names):
    """Oracle: the graph with three inputs, fed with the parts of the joined one; also at another batch."""
    shapes = [(2, 3, 4), (2, 5), (2,)]
    module = graph(outputs, *shapes, names=names)
    result = fused(module)
    joined = run_pass(result.module, name_input, Stage.SOURCE).module
    assert result.firings == 3
    assert [(n.name, n.target, shape_of(n)) for n in input_nodes(joined.graph)] == [("data", "data", (2, 18))]
    for batch in (2, 7):
        parts = [draw(batch, *shape[1:], seed=i) for i, shape in enumerate(shapes)]
        data = torch.cat([part.reshape(batch, -1) for part in parts], 1)
        for found, expected in zip(joined(data), module(*parts), strict=True):
            assert torch.equal(found, expected)


def test_parts_keep_their_names():
    """A part can be found, split at and calibrated by the name of the input it was."""
    module = fused(graph(outputs, (2, 3, 4), (2, 5), names=("left/x", "right/x"))).module
    assert operators(module) == ["slice", "reshape", "slice", "relu", "relu"]
    parts = [n.args[0] for n in module.graph.nodes if n.target is aten.relu.default]
    assert [source_name(n) for n in parts] == ["left/x", "right/x"]


def test_an_input_nothing_reads_keeps_its_place():
    module = graph(lambda e, a, b, c: e.call(aten.add.Tensor, a, c), (2, 3), (2, 4), (2, 3))
    data = draw(2, 10)
    assert torch.equal(fused(module).module(data)[0], data[:, :3] + data[:, 7:])


def test_one_input_is_left_alone():
    assert fused(graph(outputs, (2, 3))).firings == 0


def test_inputs_of_other_batches_are_refused():
    with pytest.raises(InvalidGraphError, match="share their batch axis") as error:
        fused(graph(outputs, (2, 3), (3, 3), names=("a", "b")))
    assert error.value.why == "input shapes {'a': (2, 3), 'b': (3, 3)}"
    with pytest.raises(InvalidGraphError, match="share their batch axis"):
        fused(graph(outputs, (2, 3), ()))


@pytest.mark.parametrize("types, joined", [
    ((torch.float32, torch.int64), torch.float32), ((torch.int64, torch.float32, torch.float64), torch.float64),
    ((torch.int64, torch.int64), torch.int64), ((torch.bool, torch.int64), torch.int64),
    ((torch.bool, torch.bool), torch.bool), ((torch.int32, torch.float16), torch.float16)], ids=str)
def test_inputs_of_several_types(types, joined):
    """Joined as the floats among them; each part has its own type again. Oracle: the graph of separate inputs."""
    editor = GraphEditor(empty_graph_module())
    inputs = [editor.input(f"x{position}", (2, 3), dtype) for position, dtype in enumerate(types)]
    editor.output([editor.call(aten._to_copy.default, node, dtype=torch.float64) for node in inputs])
    editor.module.recompile()
    arrays = [torch.tensor([[0, 1, 1], [1, 0, 0]]).to(dtype) for dtype in types]
    expected = editor.module(*arrays)
    module = fused(editor.module).module
    assert next(iter(module.graph.nodes)).meta["val"].dtype == joined
    seen = module(torch.cat([array.to(joined) for array in arrays], 1))
    assert all(torch.equal(first, second) for first, second in zip(seen, expected, strict=True))


@pytest.mark.parametrize("name", ["x", "data_1", "n0", "input"])
def test_the_input_is_renamed(name):
    module = graph(outputs, (2, 3), names=(name,))
    result = run_pass(module, name_input, Stage.SOURCE)
    node = input_nodes(result.module.graph)[0]
    assert (result.firings, node.name, node.target, source_name(node)) == (1, "data", "data", name)
    assert torch.equal(result.module(data=draw(2, 3))[0], draw(2, 3).relu())
    assert run_pass(result.module, name_input, Stage.SOURCE).firings == 0


def test_another_node_called_data_makes_room():
    module = graph(lambda e, x: e.call(aten.relu.default, x, name="data"), (2, 3), names=("x",))
    result = run_pass(module, name_input, Stage.SOURCE).module
    assert [n.name for n in result.graph.nodes] == ["data", "data_node", "output"]
    assert torch.equal(prepare(module)(draw(2, 3))[0], draw(2, 3).relu())


def test_a_graph_without_input_is_refused():
    module = graph(lambda e: e.constant("w", draw(3)))
    with pytest.raises(InvalidGraphError, match="the graph has no input"):
        run_pass(module, name_input, Stage.SOURCE)
