"""Pooling; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from mrt_torch.passes.prepare import prepare
from tests.bridges.mxnet.oracle import check_close, compare, targets

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
    module = compare(mxnet, symbol, data=(0, 3, 8, 7))
    assert targets(module)[:2] == ["constant_pad_nd", "avg_pool2d"] and targets(module)[2:] in (["mul"], ["div"])


@pytest.mark.parametrize("window", WINDOWS)
def test_sum_equals_mxnet(mxnet, window):
    symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), pool_type="sum", **WINDOWS[window])
    assert targets(compare(mxnet, symbol, data=(0, 3, 7, 8))) == ["avg_pool2d"]


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("attributes", [dict(global_pool=True), dict(stride=(2, 1), pad=(0, 1)),
                                        dict(stride=(2, 2), pooling_convention="full")], ids=str)
def test_lp_equals_mxnet(mxnet, power, attributes):
    """x**p without abs: sums of negative numbers have no square root, so that p = 2 alone is safe everywhere."""
    symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), kernel=(3, 2), pool_type="lp", p_value=power, **attributes)
    compare(mxnet, symbol, data=(0, 3, 7, 6))


@pytest.mark.parametrize("kind", ["max", "avg", "sum", "lp"])
@pytest.mark.parametrize("layout, kernel", [("NHWC", (3, 2)), ("NWC", (3,)), ("NDHWC", (2, 3, 2))])
@pytest.mark.parametrize("whole", [False, True])
def test_channels_last_equals_mxnet(mxnet, kind, layout, kernel, whole):
    symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), kernel=kernel, stride=(2,) * len(kernel), pool_type=kind,
                               p_value=2, layout=layout, global_pool=whole)
    module = compare(mxnet, symbol, data=(0, *(7, 6, 5)[:len(kernel)], 3))
    assert targets(module)[0] == targets(module)[-1] == "permute"


VOLUMES = {"plain": dict(kernel=(2, 2, 2)), "global": dict(kernel=(1, 1, 1), global_pool=True),
           "odd": dict(kernel=(3, 2, 3), stride=(2, 1, 2), pad=(1, 0, 1)),
           "full": dict(kernel=(3, 3, 2), stride=(2, 2, 2), pad=(1, 1, 0), pooling_convention="full")}


@pytest.mark.parametrize("kind", ["max", "avg", "sum"])
@pytest.mark.parametrize("case", VOLUMES)
@pytest.mark.parametrize("count", [True, False])
def test_three_axes_equal_mxnet(mxnet, kind, case, count):
    """prepare makes 2-D pooling of it; 1e-5 for another order of float32 sums."""
    symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), pool_type=kind, count_include_pad=count, **VOLUMES[case])
    module = compare(mxnet, symbol, data=(0, 2, 6, 7, 5))
    prepared, data = prepare(module), torch.rand(3, 2, 6, 7, 5)
    assert not any("3d" in target for target in targets(prepared))
    check_close(prepared(data), [output.numpy() for output in module(data)])


@pytest.mark.parametrize("kind", ["max", "avg", "sum"])
@pytest.mark.parametrize("count", [True, False])
@pytest.mark.parametrize("kernel, pad", [((3, 3), (2, 2)), ((4, 3), (3, 2)), ((5, 3), (4, 0))])
def test_padding_wider_than_half_the_kernel(mxnet, kind, count, kernel, pad):
    """torch refuses it: maxima get a border of repeated edges, averages one of zeros."""
    for convention in ("valid", "full"):
        symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), kernel=kernel, pad=pad, stride=(1, 2), pool_type=kind,
                                   pooling_convention=convention, count_include_pad=count)
        compare(mxnet, symbol, data=(0, 3, 8, 7))


@pytest.mark.parametrize("count", [True, False])
@pytest.mark.parametrize("kind", ["avg", "sum"])
@pytest.mark.parametrize("attributes", [dict(kernel=(3, 2), stride=(4, 5), pad=(2, 1), pooling_convention="full"),
                                        dict(kernel=(2, 2), pad=(2, 3))], ids=str)
def test_windows_in_the_padding_alone(mxnet, kind, count, attributes):
    """MXNet gives 0 for them."""
    symbol = mxnet.sym.Pooling(mxnet.sym.var("data"), pool_type=kind, count_include_pad=count, **attributes)
    compare(mxnet, symbol, data=(0, 2, 9, 9))


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
    (dict(pooling_convention="same"), "same"),
    (dict(kernel="(1, 1)", stride="(4, 4)", pooling_convention="full", pad="(0, 0)"), "lies outside"),
    (dict(kernel="(2, 2)", pad="(2, 2)"), "lies outside"),
    (dict(kernel="(1, 1)", stride="(4, 4)", pool_type="avg", pooling_convention="full"), "divides by zero"),
])
def test_unsupported_variants_are_named(import_node, attributes, message):
    """Oracle: the support table of the converter."""
    with pytest.raises(UnsupportedOperatorError, match=message):
        import_node("Pooling", {"kernel": "(2, 2)", **attributes}, (1, 3, 8, 8))


def test_empty_windows_of_volumes_are_named(import_node):
    """Oracle: MXNet, which gives NaN there, and 0 for one and two axes."""
    with pytest.raises(UnsupportedOperatorError, match="divides by zero"):
        import_node("Pooling", dict(kernel="(2, 2, 2)", stride="(3, 3, 3)", pad="(1, 1, 1)", pool_type="avg",
                                    pooling_convention="full", count_include_pad="False"), (1, 3, 5, 5, 5))


@pytest.mark.parametrize("attributes, message", [
    (dict(pool_type="lp", p_value="4"), "p_value is 4"), (dict(kernel="(3, 3, 3)"), "2 positive numbers"),
    (dict(layout="NCW"), "layout is NCW"), (dict(stride="(2,)"), "2 numbers from 1 on")])
def test_contradictions_are_named(import_node, attributes, message):
    """Oracle: MXNet refuses them too."""
    with pytest.raises(InvalidGraphError, match=message):
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
            # A window reads padding alone: its maximum is the lowest float, its average a division by zero.
            assert any(pad) or convention == "full"
            assert kind != "sum"
    check()
