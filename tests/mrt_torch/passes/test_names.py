"""Names that are free in a graph, although fx has given them before."""

from __future__ import annotations

from mrt_torch.graph.runner import copy_graph_module
from mrt_torch.passes.names import claim_name
from tests.mrt_torch.ops.graphs import aten, graph


def two_nodes():
    module = graph(lambda e, x: e.call(aten.relu.default, e.call(aten.relu.default, x, name="a"), name="b"), (2, 3))
    return module, {n.name: n for n in module.graph.nodes}


def test_a_free_name():
    module, nodes = two_nodes()
    claim_name(nodes["a"], "c")
    assert [n.name for n in module.graph.nodes] == ["data", "c", "b", "output"]


def test_a_name_that_another_node_has():
    module, nodes = two_nodes()
    claim_name(nodes["b"], "a")
    assert [n.name for n in module.graph.nodes] == ["data", "a_node", "a", "output"]
    module.graph.lint()


def test_a_name_whose_owner_is_gone():
    module, nodes = two_nodes()
    nodes["a"].replace_all_uses_with(nodes["data"])
    module.graph.erase_node(nodes["a"])
    claim_name(nodes["b"], "a")
    assert [n.name for n in module.graph.nodes] == ["data", "a", "output"]


def test_the_own_name():
    module, nodes = two_nodes()
    claim_name(nodes["a"], "a")
    assert nodes["a"].name == "a"


def test_copies_and_new_nodes_respect_a_claimed_name():
    module, nodes = two_nodes()
    claim_name(nodes["b"], "a")
    copy = copy_graph_module(module)
    assert [n.name for n in copy.graph.nodes] == ["data", "a_node", "a", "output"]
    with module.graph.inserting_before(nodes["b"]):
        assert module.graph.create_node("call_function", aten.neg.default, (nodes["data"],), {}, "a").name != "a"
    module.graph.lint()
