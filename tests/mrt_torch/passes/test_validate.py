"""All refusals at once, each with its reason. (MRT defect 1: the original never ran its checks.)"""

from __future__ import annotations

import operator

import pytest

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.passes import prepare, unsupported, validate
from tests.mrt_torch.ops.graphs import aten, draw, graph, unary


def test_everything_is_listed_at_once():
    """Unknown operators once each with count, first node and nearest; refused nodes one by one."""
    def build(e, x):
        y = e.call(aten.lgamma.default, e.call(aten.lgamma.default, x, name="block/gamma0"), name="block/gamma1")
        y = e.call(aten.erfinv.default, y)
        y = e.call(aten.clamp.default, y, 1.0, 0.0, name="clip0")
        return e.call(aten.sum.dim_IntList, y, [0], False, name="sum0")

    lines = unsupported(graph(build, (2, 3)))
    assert lines[:2] == [
        "node 'clip0' (aten.clamp.default): its bounds 1.0 and 0.0 are not an interval",
        "node 'sum0' (aten.sum.dim_IntList): it reduces the batch axis, which is free"]
    gamma, nearest = lines[2].split("; ")
    assert gamma == "aten.lgamma.default, 2 times, first at node 'block/gamma0' (aten.lgamma.default)"
    assert nearest.startswith("the nearest supported operator is aten.")
    assert lines[3:] == ["aten.erfinv.default, once, first at node 'erfinv_default' (aten.erfinv.default); "
                         "the nearest supported operator is aten.erf.default"]


def test_the_error_holds_all_lines_and_a_remedy():
    module = unary(aten.lgamma.default)
    with pytest.raises(UnsupportedOperatorError, match="the model holds operators that cannot be quantized") as error:
        prepare(module)
    assert all(line in str(error.value) for line in unsupported(module))
    assert "split the model before them" in error.value.remedy


def test_items_of_an_unknown_operator_are_not_listed():
    def build(e, x):
        pair = e.call(aten.max.dim, x, 1)
        return e.call(operator.getitem, pair, 0), e.call(operator.getitem, pair, 1)

    assert len(unsupported(graph(build, (2, 3)))) == 1


@pytest.mark.parametrize("target, arguments", [
    (aten.lgamma.default, ()), (aten.erfinv.default, ()), (aten.cumsum.default, (1,)), (aten.digamma.default, ())])
def test_activations_that_look_like_supported_ones(target, arguments):
    """MRT defect 1: unknown functions went through as other ones."""
    with pytest.raises(UnsupportedOperatorError, match=f"aten.{target._opname}"):
        prepare(unary(target, *arguments))


def test_products_over_the_batch_are_refused():
    """A product of two activations is taken, but where it mixes the samples."""
    def build(e, x):
        columns = e.call(aten.permute.default, x, [1, 2, 0])
        return e.call(aten.bmm.default, columns, e.call(aten.permute.default, columns, [0, 2, 1]))

    with pytest.raises(UnsupportedOperatorError, match="it sums over the batch axis"):
        prepare(graph(build, (2, 3, 4)))


def test_more_than_six_axes_are_refused():
    """cvm-format 5: the runtime takes six."""
    module = unary(aten.reshape.default, [-1, 1, 3, 1, 4, 1, 5])
    with pytest.raises(UnsupportedOperatorError, match="it has 7 axes; the runtime takes 6 at most"):
        prepare(module)
    assert unsupported(unary(aten.reshape.default, [-1, 1, 3, 4, 1, 5])) == []


def test_a_supported_graph_has_no_lines():
    module = unary(aten.relu.default)
    assert unsupported(module) == []
    assert validate(module) == 0


def test_the_source_line_is_quoted():
    """Errors quote the user's own line, which torch's capture leaves in stack_trace."""
    module = graph(lambda e, x: e.call(aten.lgamma.default, x), (2, 3))
    node = next(n for n in module.graph.nodes if n.op == "call_function")
    node.meta["stack_trace"] = 'File "net.py", line 7, in forward\n    return lgamma(x)'
    assert 'File "net.py", line 7, in forward: return lgamma(x)' in unsupported(module)[0]


def test_nothing_is_changed_before_validation():
    module = unary(aten.lgamma.default)
    before = module.code
    with pytest.raises(UnsupportedOperatorError):
        prepare(module)
    assert module.code == before
    assert module(draw(2, 3, 4, 5))[0].shape == (2, 3, 4, 5)
