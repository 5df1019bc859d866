"""Small graphs with transposes, and what fuse_transpose leaves of them."""

from __future__ import annotations

from mrt_torch.graph.runner import run_pass
from mrt_torch.graph.stage import Stage
from mrt_torch.passes import fuse_transpose
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, operators, transposed

PERMUTE = aten.permute.default
X = draw(2, 3, 4, 5)
LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]  # channels to the end, and back


def permuted(module):
    """Axes of the permute nodes that are left."""
    return [list(n.args[1]) for n in module.graph.nodes if n.target is PERMUTE]


def check(module, expected, *inputs):
    """The operators left by fuse_transpose, exact values, and that a second run finds nothing to do."""
    after = transposed(module)
    assert operators(after) == expected
    assert_same_values(module, after, *(inputs or (X,)), tolerance=1e-15)
    assert run_pass(after, fuse_transpose, Stage.FLOAT).firings == 0
    return after


def chain(*steps, shape=(2, 3, 4, 5)):
    """Graph of operators one after another; a step is a target with its arguments."""
    def build(e, x):
        for target, *arguments in steps:
            x = e.call(target, x, *arguments)
        return x
    return graph(build, shape)


ELEMENTWISE = [(aten.relu.default,), (aten.leaky_relu.default, 0.1), (aten.clamp.default, -0.3, 0.5),
               (aten.dropout.default, 0.5, False), (aten.sigmoid.default,), (aten.tanh.default,), (aten.exp.default,),
               (aten.mul.Scalar, 3.0), (aten.add.Scalar, 3.0), (aten.sub.Scalar, 3.0), (aten.rsub.Scalar, 3.0),
               (aten.div.Scalar, 3.0), (aten.neg.default,), (aten.abs.default,)]


BY_AXIS = [(aten.slice.Tensor, 1, 0, 2, 1), (aten.slice.Tensor, -1, 0, 3, 2),
           (aten.constant_pad_nd.default, [1, 1], 0.0),
           (aten.constant_pad_nd.default, [0, 0, -1, 2, 3, 0], 1.5), (aten.flip.default, [1, 3]),
           (aten.repeat.default, [1, 2, 1, 3]), (aten.repeat_interleave.self_int, 2, -1), (aten.zeros_like.default,),
           (aten.full_like.default, 2.0)]
