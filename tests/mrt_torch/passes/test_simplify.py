"""Rules run until none fires, and tell what they did. Oracle: graphs small enough to count by hand."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.ops import Transformer, decline, register_pass, register_transformer
from mrt_torch.ops.registry import TRANSFORMERS
from mrt_torch.passes import Simplification, fuse_constant, fuse_transpose, rewrite, simplify

aten = torch.ops.aten


def transposed_activations() -> torch.fx.GraphModule:
    editor = GraphEditor(empty_graph_module())
    x = editor.input("x", (2, 3, 4))
    first = editor.call(aten.permute.default, x, [0, 2, 1])
    activated = editor.call(aten.leaky_relu.default, first, 0.1)
    scaled = editor.call(aten.mul.Tensor, activated, editor.constant("c", torch.tensor([2.0])))
    editor.output([editor.call(aten.permute.default, scaled, [0, 2, 1])])
    editor.module.recompile()
    return editor.module


def test_nothing_fires_at_the_fixed_point():
    module, report = transposed_activations(), Simplification()
    before = module(torch.arange(24.0).reshape(2, 3, 4) - 12)
    assert simplify(module, report) > 0
    module.recompile()
    assert rewrite(module) == fuse_transpose(module) == fuse_constant(module) == simplify(module) == 0
    assert report.rounds >= 2
    torch.testing.assert_close(module(torch.arange(24.0).reshape(2, 3, 4) - 12)[0], before[0])


def test_the_report_counts_firings_and_gives_reasons():
    """One LeakyReLU is rewritten; the two transposes meet, so no rule has a reason to leave one."""
    report = Simplification()
    simplify(transposed_activations(), report)
    written = report.to_json()
    assert written["rewrite"]["LeakyReLU"] == {"fired": 1, "declined": {}}
    assert written["fuse_transpose"]["Transpose"]["fired"] >= 1
    assert written["rounds"] == report.rounds and written["fuse_constant"] == report.constants


def test_a_rule_gives_its_reason():
    @register_pass("validate", "fuse_transpose", "calculate_ops")
    @register_transformer(aten.atan2.default)
    class Reluctant(Transformer):
        op_name = "reluctant"

        def rewrite(self, op, **context):
            return decline(op, "it is Sunday", context)

    editor = GraphEditor(empty_graph_module())
    x = editor.input("x", (2, 3))
    editor.output([editor.call(aten.atan2.default, x, x)])
    report = Simplification()
    try:
        assert simplify(editor.module, report) == 0
        assert list(report.rewrite.declined["Reluctant"].values()) == ["it is Sunday"]
        assert report.rewrite.fired["Reluctant"] == 0
    finally:
        TRANSFORMERS.unregister(aten.atan2.default)


def test_rules_that_undo_each_other_are_refused():
    """rewrite makes an operator that fuse_transpose turns back."""
    @register_pass("validate", "calculate_ops")
    @register_transformer(aten.atan2.default)
    class Back(Transformer):
        def rewrite(self, op, *, editor, **context):
            return editor.call(aten.hypot.default, *op.args)

    @register_pass("validate", "rewrite", "calculate_ops")
    @register_transformer(aten.hypot.default)
    class Forth(Transformer):
        def fuse_transpose(self, op, *, editor, **context):
            return editor.call(aten.atan2.default, *op.args)

        def rewrite(self, op, **context):
            return op

    Back.registered_passes |= {"fuse_transpose"}
    editor = GraphEditor(empty_graph_module())
    x = editor.input("x", (2, 3))
    editor.output([editor.call(aten.atan2.default, x, x)])
    try:
        with pytest.raises(InvalidGraphError, match="no fixed point together"):
            simplify(editor.module)
    finally:
        TRANSFORMERS.unregister(aten.atan2.default)
        TRANSFORMERS.unregister(aten.hypot.default)
