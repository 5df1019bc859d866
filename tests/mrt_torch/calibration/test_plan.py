"""Oracle: the kinds of observers that the rules name, written down node by node."""

from __future__ import annotations

import torch

from mrt_torch.calibration import (
    AbsmaxObserver,
    ChannelMinMaxObserver,
    HistogramObserver,
    MinMaxObserver,
    default_observers,
)
from mrt_torch.calibration.plan import is_from_zero, operand_groups
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import set_facts

aten = torch.ops.aten


def convolution(editor, x, outputs, inputs, groups=1, name=None):
    weight = editor.constant(f"{name}_weight", torch.ones(outputs, inputs // groups, 1, 1))
    return editor.call(aten.conv2d.default, x, weight, None, [1, 1], [0, 0], [1, 1], groups, name=name)


def network():
    """Two heads: one of indices, one of rank 1 behind convolutions, grouped and not, and a dense layer."""
    editor = GraphEditor(empty_graph_module())
    x = editor.input("image", (2, 4, 6, 6))
    x = convolution(editor, x, 4, 4, name="stem")
    relu = editor.call(aten.relu.default, x, name="relu")
    pool = editor.call(aten.max_pool2d.default, relu, [2, 2], [2, 2], [0, 0], [1, 1], False, name="pool")
    x = convolution(editor, pool, 4, 4, groups=4, name="depthwise")
    convolution_only = convolution(editor, x, 6, 4, name="pointwise")
    both = editor.call(aten.neg.default, convolution_only, name="both")
    x = editor.call(aten.add.Tensor, convolution(editor, both, 6, 6, groups=3, name="grouped"),
                    convolution(editor, both, 6, 6, name="ungrouped"), name="total")
    flat = editor.call(aten.flatten.using_ints, x, 1, -1, name="flat")
    dense = editor.call(aten.linear.default, flat, editor.constant("dense_weight", torch.ones(3, 54)), name="dense")
    index = editor.call(aten.argmax.default, dense, 1, name="index")
    mean = editor.call(aten.mean.dim, dense, [1], False, name="mean")
    editor.output([index, mean])
    editor.module.recompile()
    return editor.module


def test_every_node_of_a_network():
    module = network()
    make = default_observers(module)
    made = {node.name: make(node) for node in module.graph.nodes if node.op in ("placeholder", "call_function")}
    assert {name: type(observer) for name, observer in made.items()} == {
        "image": ChannelMinMaxObserver,     # an operand, but an input
        "stem": ChannelMinMaxObserver, "relu": ChannelMinMaxObserver,
        "pool": HistogramObserver, "depthwise": HistogramObserver,
        "pointwise": ChannelMinMaxObserver, "both": HistogramObserver,
        "grouped": ChannelMinMaxObserver, "ungrouped": ChannelMinMaxObserver, "total": ChannelMinMaxObserver,
        "flat": HistogramObserver, "dense": ChannelMinMaxObserver,
        "index": AbsmaxObserver,            # whole numbers
        "mean": MinMaxObserver,             # no channels
    }
    histograms = {name: (o.signed, o.counts_by_channel, o.by_channel) for name, o in made.items()
                  if isinstance(o, HistogramObserver)}
    assert histograms == {"pool": (False, True, True), "depthwise": (True, False, True),
                          "both": (True, True, True), "flat": (True, False, True)}
    assert operand_groups(module) == {"pool": (1, 4), "depthwise": (1,), "both": (1, 3), "flat": (1,)}


def test_axis_1_that_is_the_batch_is_no_channel():
    editor = GraphEditor(empty_graph_module())
    x = editor.input("sequence", (7, 2, 5))
    set_facts(x, batch_axis=1)
    x = editor.call(aten.neg.default, x, name="negative")
    y = editor.call(aten.permute.default, x, [1, 0, 2], name="batch_first")
    editor.output([editor.call(aten.linear.default, x, editor.constant("w", torch.ones(3, 5)), name="dense"), y])
    editor.module.recompile()
    make = default_observers(editor.module)
    made = {node.name: make(node) for node in editor.module.graph.nodes if node.op in ("placeholder", "call_function")}
    assert {name: type(observer) for name, observer in made.items()} == {
        "sequence": MinMaxObserver, "negative": HistogramObserver, "batch_first": ChannelMinMaxObserver,
        "dense": MinMaxObserver}
    assert not made["negative"].by_channel


def test_what_cannot_be_below_zero():
    editor = GraphEditor(empty_graph_module())
    x = editor.input("x", (2, 3))
    cases = {
        "x": (x, False), "relu": (editor.call(aten.relu.default, x, name="relu"), True),
        "clamped": (editor.call(aten.clamp.default, x, 0.0, 6.0), True),
        "below": (editor.call(aten.clamp.default, x, -1.0, 6.0), False),
        "above": (editor.call(aten.clamp.default, x, None, 6.0), False),
        "negative": (editor.call(aten.neg.default, x), False)}
    turned = editor.call(aten.permute.default, cases["relu"][0], [1, 0])
    flat = editor.call(aten.reshape.default, turned, [-1], name="flat")
    cases["flat"] = flat, True
    cases["flat x"] = editor.call(aten.reshape.default, x, [-1]), False
    for name, (node, expected) in cases.items():
        assert is_from_zero(node) is expected, name
