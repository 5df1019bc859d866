"""Sweeps over a graph: to a fixed point, or an error that says whose fault it is."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.ops import TRANSFORMERS, Transformer
from mrt_torch.passes import fuse_transpose, rewrite
from tests.mrt_torch.ops.graphs import aten, draw, graph, operators, unary


def test_rewrite_runs_to_a_fixed_point_and_counts():
    """rsub(0.5): neg and add. Then nothing is left to do."""
    result = run_pass(unary(aten.rsub.Scalar, 0.5), rewrite, Stage.FLOAT)
    assert (result.firings, operators(result.module)) == (1, ["neg", "add"])
    assert run_pass(result.module, rewrite, Stage.FLOAT).firings == 0


def test_rules_uncover_each_other():
    """x / 1 * 1 + 0: each vanishes in turn, and the input is the output."""
    def build(e, x):
        return e.call(aten.add.Scalar, e.call(aten.mul.Scalar, e.call(aten.div.Scalar, x, 1.0), 1.0), 0.0)

    result = run_pass(graph(build, (2, 3)), rewrite, Stage.FLOAT)
    assert operators(result.module) == []
    assert (result.module(draw(2, 3))[0] == draw(2, 3)).all()


def test_a_rule_that_never_ends_is_an_error():
    """A class of the user that replaces its operator by itself for ever."""
    class Restless(Transformer):
        def rewrite(self, op, *, editor, **context):
            return editor.call(op.target, *op.args)

    before = TRANSFORMERS[aten.relu.default]
    TRANSFORMERS.register(Restless(), aten.relu.default, override=True)
    try:
        with pytest.raises(InvalidGraphError, match="the pass 'rewrite' reaches no fixed point"):
            run_pass(unary(aten.relu.default), rewrite, Stage.FLOAT)
    finally:
        TRANSFORMERS.register(before, aten.relu.default, override=True)


def test_an_empty_graph():
    module = graph(lambda e, x: x, (2, 3))
    assert run_pass(module, rewrite, Stage.FLOAT).firings == 0
    assert run_pass(module, fuse_transpose, Stage.FLOAT).firings == 0
