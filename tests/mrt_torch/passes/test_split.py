"""Cutting a graph in two and joining the halves again."""

from __future__ import annotations

import operator

import pytest
import torch

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.stage import Stage, check_stage
from mrt_torch.ops.likeness import BROADCAST_LIKE, SLICE_LIKE
from mrt_torch.passes import merge, prepare, quantize, split
from mrt_torch.passes.split import find_node
from mrt_torch.quantization import QuantizationSettings
from tests.mrt_torch.ops.graphs import aten, draw, graph, operators, thresholds_of

X = draw(2, 3, 4, 4, dtype=torch.float32)


def network(e, x):
    """Two heads: a mean, and a product of an early and a late activation."""
    weight = e.constant("weight", draw(3, 3, 3, 3, dtype=torch.float32))
    early = e.call(aten.relu.default, e.call(aten.conv2d.default, x, weight, None, [1, 1], [1, 1]), name="net/early")
    late = e.call(aten.tanh.default, early, name="net/late")
    pooled = e.call(aten.mean.dim, late, [2, 3], False, name="net/pooled")
    return pooled, e.call(aten.mul.Tensor, early, late, name="net/product")


@pytest.fixture
def prepared():
    return prepare(graph(network, X.shape, dtype=torch.float32))


@pytest.mark.parametrize("keys", [["net/early"], ["net/late", "net/early"], ["net_early", "net/pooled", "net/late"],
                                  ["net/product", "net/pooled"], ["data"]])
def test_base_then_top_is_the_whole(prepared, keys):
    """Oracle: the whole graph, exactly. Base returns the keys in topological order, top takes them by their names."""
    base, top = split(prepared, keys, Stage.FLOAT)
    order = [n.name for n in prepared.graph.nodes if n.name in {key.replace("/", "_") for key in keys}]
    assert [n.name for n in output_nodes(base.graph)] == order
    assert sorted(n.name for n in input_nodes(top.graph)) == sorted(order)
    assert all(n.name == n.target for n in input_nodes(top.graph))
    assert sorted(source_name(n) for n in input_nodes(top.graph)) == sorted(
        source_name(find_node(prepared, key)) for key in keys)
    between = dict(zip(order, base(X), strict=True))
    for found, expected in zip(top(**between), prepared(X), strict=True):
        assert torch.equal(found, expected)


def test_the_halves_share_nothing_but_tensors(prepared):
    before = prepared.code
    base, top = split(prepared, ["net/early"], Stage.FLOAT)
    assert prepared.code == before
    assert (operators(base), operators(top)) == (["conv2d", "relu"], ["tanh", "mean", "mul"])
    assert [name for name, _ in base.named_buffers()] == ["weight"] and not list(top.named_buffers())
    assert base.weight.data_ptr() == prepared.weight.data_ptr()


@pytest.mark.parametrize("keys, message", [
    (["net/late"], None), ([], "split takes distinct node names"), (["net/late"] * 2, "split takes distinct"),
    (["net/late", "net_late"], "split takes distinct node names"), (["nowhere"], "the graph has no node 'nowhere'"),
    (["weight"], "the graph has no node 'weight'")])
def test_keys_that_do_not_cut(prepared, keys, message):
    """Above net/late, the product still reads net/early, which needs the input."""
    with pytest.raises(InvalidArgumentError, match=message or "the keys do not cut the graph in two"):
        split(prepared, keys, Stage.FLOAT)


def test_find_node_takes_the_last_of_one_source():
    """A rewritten operator is several nodes with one source name: the last holds its value."""
    module = prepare(graph(lambda e, x: e.call(aten.leaky_relu.default, x, 0.1, name="act"), X.shape))
    assert find_node(module, "act").target is aten.sub.Tensor


def quantized(base, data):
    return quantize(base, thresholds_of(base, data), QuantizationSettings(input_precision=12))


@pytest.mark.parametrize("keys", [["net/early"], ["net/late", "net/early"], ["net/product", "net/pooled"]])
def test_a_quantized_base_and_a_float_top(prepared, keys):
    """Oracle: the float network. 8-bit weights and inputs of one convolution are within 2 % in the norm."""
    base, top = split(prepared, keys, Stage.FLOAT)
    integer_base, scales = quantized(base, X)
    by_name = dict(zip([n.name for n in output_nodes(base.graph)], scales, strict=True))
    merged = merge(integer_base, by_name, top)
    check_stage(merged, Stage.RESTORED)
    integers = (X.double() * 2047).round().to(torch.int32)
    assert len(merged(integers)) == 2
    for found, expected in zip(merged(integers), prepared(X), strict=True):
        assert found.dtype == torch.float32
        assert float((found - expected).norm() / expected.norm()) < 0.02
    assert merged(integers[:1])[0].shape == (1, 3)


def test_a_callback_may_replace_nodes(prepared):
    """main2 scales attributes of the top so; here every tanh becomes relu. Oracle: relu in float."""
    base, top = split(prepared, ["net/early"], Stage.FLOAT)
    integer_base, scales = quantized(base, X)
    seen = []

    def callback(node, module):
        seen.append(node.name)
        if node.target is not aten.tanh.default:
            return None
        node.target = aten.relu.default
        return node

    merged = merge(integer_base, {"net_early": scales[0]}, top, callback)
    assert seen == ["net_late", "net_pooled", "net_product"]
    early = split(prepared, ["net/early"], Stage.FLOAT)[0](X)[0]
    found = merged((X.double() * 2047).round().to(torch.int32))
    assert float((found[1] - early * early).norm() / (early * early).norm()) < 0.04


def test_halves_of_different_splits_are_refused(prepared):
    base, _ = split(prepared, ["net/early"], Stage.FLOAT)
    _, top = split(prepared, ["net/late", "net/early"], Stage.FLOAT)
    integer_base, scales = quantized(base, X)
    with pytest.raises(InvalidArgumentError, match="the base gives no 'net/late'"):
        merge(integer_base, {"net_early": scales[0]}, top)


def test_a_shape_that_is_asked_for_does_not_tie_top_to_the_input():
    """Anchors cut to a feature map of fixed extents, as in a detector. Oracle: the whole graph."""
    def build(e, x):
        feature = e.call(aten.relu.default, x, name="feature")
        anchors = e.call(SLICE_LIKE, e.constant("anchors", draw(1, 1, 9, 9, dtype=torch.float32)), feature, [2, 3])
        return e.call(aten.add.Tensor, e.call(aten.tanh.default, feature, name="key"), anchors)
    whole = graph(build, X.shape, dtype=torch.float32)
    base, top = split(whole, ["key"], Stage.SOURCE)
    assert torch.equal(top(*base(X))[0], whole(X)[0])


def test_zeros_of_the_batch_do_not_tie_top_to_the_input():
    """As a recurrent layer starts from: they take the batch of a key. Oracle: the whole graph, at another batch too."""
    def build(e, x):
        zeros = e.call(BROADCAST_LIKE, e.constant("zero", torch.ones(1, 1, 4)), x, [0], [0], name="zeros")
        key = e.call(aten.permute.default, e.call(aten.mean.dim, x, [2], False), [1, 0, 2], name="key")
        return e.call(aten.add.Tensor, e.call(aten.tanh.default, key), e.call(aten.permute.default, zeros, [1, 0, 2]))
    whole = graph(build, X.shape, dtype=torch.float32)
    base, top = split(whole, ["key"], Stage.SOURCE)
    assert [n.name for n in input_nodes(top.graph)] == ["key"]
    for x in (X, torch.cat([X, X, X])):
        assert torch.equal(top(*base(x))[0], whole(x)[0])


def test_unread_random_operators_are_left_to_the_top():
    """fx takes a recurrent layer for random, as it may hold dropout, and would keep it in the base."""
    def build(e, x):
        rows = e.call(aten.mean.dim, x, [2], False, name="rows")
        weights = [e.constant(f"w{position}", draw(*shape, dtype=torch.float32))
                   for position, shape in enumerate([(12, 4), (12, 4), (12,), (12,)])]
        state = e.constant("state", torch.zeros(1, 2, 4))
        layer = e.call(aten.gru.input, rows, state, weights, True, 1, 0.0, False, False, True, name="layer")
        return e.call(operator.getitem, layer, 0)
    base, top = split(graph(build, X.shape, dtype=torch.float32), ["rows"], Stage.SOURCE)
    assert (operators(base), len(list(base.buffers()))) == (["mean"], 0)
    assert len(list(top.buffers())) == 5
