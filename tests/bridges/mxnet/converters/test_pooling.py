"""Pooling; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, targets

WINDOWS = {
    "square": dict(kernel=(2, 2), stride=(2, 2)),
    "default stride": dict(kernel=(3, 2)),
    "odd": dict(kernel=(3, 4), stride=(2, 3), pad=(1, 1)),
    "with gaps": dict(kernel=(2, 2), stride=(3, 3)),
    "one": dict(kernel=(1, 1), stride=(2, 1)),
}


@pytest.mark.parametrize("size", [(7, 8), (13, 11)])
@pytest.mark.parametrize("convention", ["valid", "full"])
@pytest.mark.parametrize("window", WINDOWS)
def test_max_equals_mxnet(mxnet, window, convention, size):
    symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), pool_type="max", pooling_convention=convention,
                               name="pool",
                               **WINDOWS[window])
    assert targets(compare(mxnet, symbol, data=(0, 3, *size))) == ["max_pool2d"]


@pytest.mark.parametrize("count_include_pad", [None, True, False])
@pytest.mark.parametrize("convention", ["valid", "full"])
@pytest.mark.parametrize("window", WINDOWS)
def test_average_equals_mxnet(mxnet, window, convention, count_include_pad):
    symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), pool_type="avg", pooling_convention=convention,
                               name="pool",
                               count_include_pad=count_include_pad, **WINDOWS[window])
    assert targets(compare(mxnet, symbol, data=(0, 3, 7, 8))) == ["avg_pool2d"]


@pytest.mark.parametrize("convention", ["valid", "full"])
def test_average_with_wide_padding(mxnet, convention):
    """torch refuses padding above half the kernel: an explicit border takes its place."""
    symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), pool_type="avg", kernel=(5, 5), pad=(3, 3),
                               stride=(2, 2),
                               pooling_convention=convention)
    assert targets(compare(mxnet, symbol, data=(0, 3, 8, 7))) == ["constant_pad_nd", "avg_pool2d"]


@pytest.mark.parametrize("window", WINDOWS)
def test_sum_equals_mxnet(mxnet, window):
    symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), pool_type="sum", **WINDOWS[window])
    assert targets(compare(mxnet, symbol, data=(0, 3, 7, 8))) == ["avg_pool2d", "mul"]


@pytest.mark.parametrize("kind, target", [("max", "amax"), ("avg", "adaptive_avg_pool2d"), ("sum", "sum")])
@pytest.mark.parametrize("attributes", [{}, dict(kernel=(2, 3), pad=(1, 1), stride=(2, 2)),
                                        dict(kernel=(1, 1), pooling_convention="full")])
def test_global_equals_mxnet(mxnet, kind, target, attributes):
    """Kernel, stride and padding do not count."""
    symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), pool_type=kind, global_pool=True, **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 3, 5, 7))) == [target]


@pytest.mark.parametrize("kind", ["max", "avg", "sum"])
@pytest.mark.parametrize("attributes", [dict(global_pool=True), dict(kernel=(3,), stride=(2,), pad=(1,))])
def test_one_axis_equals_mxnet(mxnet, kind, attributes):
    compare(mxnet, mxnet.sym.Pooling(mxnet.sym.var("data"), pool_type=kind, **attributes), data=(0, 3, 9))


@pytest.mark.parametrize("attributes", [{}, dict(output_size=1), dict(output_size=2), dict(output_size=(3, 2)),
                                        dict(output_size=(5, 7))], ids=str)
def test_adaptive_average_equals_mxnet(mxnet, attributes):
    """Also where the windows differ in size, which only quantization refuses."""
    symbol = mxnet.sym.contrib.AdaptiveAvgPooling2D(mxnet.sym.var("data"), **attributes)
    assert targets(compare(mxnet, symbol, data=(0, 3, 5, 7))) == ["adaptive_avg_pool2d"]


def test_full_that_divides_needs_no_ceil_mode(import_node):
    """Oracle: (8 - 2) / 2 is whole, so that both conventions agree."""
    module = import_node("Pooling", dict(kernel="(2, 2)", stride="(2, 2)", pooling_convention="full"),
                         (1, 3, 8, 8))
    assert next(n for n in module.graph.nodes if n.op == "call_function").args[-1] is False


@pytest.mark.parametrize("attributes, message", [
    (dict(pool_type="lp", p_value="2"), "lp"),
    (dict(pooling_convention="same"), "same"),
    (dict(layout="NHWC"), "NHWC"),
    (dict(kernel="(3, 3)", pad="(2, 2)"), "more than half the kernel"),
    (dict(kernel="(3, 3)", pad="(2, 2)", pool_type="avg", count_include_pad="False"),
     "more than half the kernel"),
    (dict(kernel="(1, 1)", stride="(4, 4)", pooling_convention="full", pad="(0, 0)"), "lies outside"),
    (dict(kernel="(2, 2)", pad="(2, 2)"), "lies outside"),
    (dict(pool_type="sum", kernel="(3, 3)", stride="(2, 2)", pooling_convention="full"),
     "sum with the convention full"),
])
def test_unsupported_variants_are_named(import_node, attributes, message):
    """Oracle: the support table of the converter."""
    with pytest.raises(UnsupportedOperatorError, match=message):
        import_node("Pooling", {"kernel": "(2, 2)", **attributes}, (1, 3, 8, 8))


def test_window_larger_than_the_input(import_node):
    """Oracle: MXNet refuses it too."""
    with pytest.raises(InvalidGraphError, match="a window of 9"):
        import_node("Pooling", dict(kernel="(9, 9)"), (1, 3, 8, 8))


def test_any_window_equals_mxnet_or_is_refused(mxnet):
    """What is not refused is right, and what both frameworks can do is not refused."""
    numbers = st.tuples(st.integers(1, 5), st.integers(1, 5))

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), kernel=numbers, stride=numbers,
           pad=st.tuples(st.integers(0, 4), st.integers(0, 4)), kind=st.sampled_from(["max", "avg", "sum"]),
           convention=st.sampled_from(["valid", "full"]), count=st.sampled_from([None, True, False]))
    def check(size, kernel, stride, pad, kind, convention, count):
        symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), kernel=kernel, stride=stride, pad=pad,
                                   pool_type=kind,
                                   pooling_convention=convention, count_include_pad=count)
        shape = (2, 2, *size)
        try:
            symbol.infer_shape(data=shape)
        except mxnet.MXNetError:
            return
        try:
            compare(mxnet, symbol, batches=(2,), data=shape)
        except UnsupportedOperatorError:
            assert any(pad) or convention == "full"
    check()
