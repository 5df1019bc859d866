"""conv2d and dense against plain loops over Python integers."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.cvm import OPERATORS, Call, Interval
from mrt_torch.cvm.linear import _in_float64
from mrt_torch.errors import InvalidArgumentError
from tests.mrt_torch.cvm.calls import assert_range_holds, call_on, integers, limits, operand, run

PLAIN = {"strides": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}


def convolve(x, w, b, strides, padding, dilation, groups):
    """Cross-correlation by definition: nested lists of Python integers, padding read as 0."""
    (n, _, height, width), (o, cg, kh, kw) = x.shape, w.shape
    x, w = x.tolist(), w.tolist()
    oh = (height + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // strides[0] + 1
    ow = (width + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // strides[1] + 1
    result = torch.zeros(n, o, oh, ow, dtype=torch.int64)
    for i, j, p, q in itertools.product(range(n), range(o), range(oh), range(ow)):
        total = 0 if b is None else b[j].item()
        for k, r, s in itertools.product(range(cg), range(kh), range(kw)):
            row = p * strides[0] + r * dilation[0] - padding[0]
            column = q * strides[1] + s * dilation[1] - padding[1]
            if 0 <= row < height and 0 <= column < width:
                total += x[i][j // (o // groups) * cg + k][row][column] * w[j][k][r][s]
        result[i, j, p, q] = total
    return result


@st.composite
def convolutions(draw):
    groups = draw(st.integers(1, 3))
    cg, og = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in "hw"]
    attributes = {name: [draw(st.integers(low, 2)) for _ in "hw"]
                  for name, low in (("strides", 1), ("padding", 0), ("dilation", 1))}
    extent = [draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), 6))
              for k, d, p in zip(kernel, attributes["dilation"], attributes["padding"])]
    seed, low = draw(st.integers(0, 99)), draw(st.sampled_from([-127, 0, 127]))
    x = integers((draw(st.integers(1, 2)), groups * cg, *extent), low, 127, seed)
    w = integers((groups * og, cg, *kernel), seed=seed + 1)
    b = integers((groups * og,), -2 ** 20, 2 ** 20, seed + 2) if draw(st.booleans()) else None
    return x, w, b, {**attributes, "groups": groups}


@settings(deadline=None, max_examples=60)
@given(convolutions())
def test_conv2d_is_the_definition(example):
    x, w, b, attributes = example
    tensors = (x, w) if b is None else (x, w, b)
    assert run("conv2d", *tensors, **attributes).tolist() == convolve(x, w, b, **attributes).tolist()
    assert_range_holds("conv2d", *tensors, constants=(1, 2), **attributes)
    assert_range_holds("conv2d", *tensors, **attributes)


def test_conv2d_accepts_no_bias_by_position():
    x, w = integers((1, 2, 4, 4)), integers((3, 2, 2, 2), seed=1)
    assert torch.equal(torch.ops.cvm.conv2d(x, w, None, **PLAIN), torch.ops.cvm.conv2d(x, w, **PLAIN))


@pytest.mark.parametrize("bias", [None, [3, -4]])
def test_conv2d_range_is_reached_with_extreme_operands(bias):
    """Data that matches the signs of one output channel's weights makes every product extreme."""
    w = integers((2, 3, 2, 2))
    x = torch.zeros(1, 3, 2, 2, dtype=torch.int32)
    x[0, 0, 0] = torch.tensor([127, -127])
    tensors = (x, w) if bias is None else (x, w, torch.tensor(bias, dtype=torch.int32))
    row, call = OPERATORS["conv2d"], call_on("conv2d", *tensors, constants=(1, 2), **PLAIN)
    predicted = row.value_range(call)
    aligned = {(o, s): (w[o].sign() * s * 127)[None].to(torch.int32) for o in (0, 1) for s in (1, -1)}
    extremes = [run("conv2d", x, *tensors[1:], **PLAIN)[0, o].item() for (o, s), x in aligned.items()]
    assert predicted == Interval(min(extremes), max(extremes))


def test_padding_makes_zero_possible():
    """Data of 5..9 and weights of 1: a window that reads padding sums less than 5 * K."""
    x, w = integers((1, 1, 3, 3), 5, 9), torch.ones(1, 1, 3, 3, dtype=torch.int32)
    row = OPERATORS["conv2d"]
    assert row.value_range(call_on("conv2d", x, w, constants=(1,), **PLAIN)).minimum >= 45
    padded = {**PLAIN, "padding": [1, 0]}
    assert row.value_range(call_on("conv2d", x, w, constants=(1,), **padded)).minimum == 0
    assert_range_holds("conv2d", x, w, constants=(1,), **padded)


# (K, bias bits or None) -> bits: cvm-format 3.1, edges measured on the runtime. bit_length(64) is 7.
@pytest.mark.parametrize(("length", "bias", "bits"), [
    (1, None, 17), (64, None, 23), (65535, None, 32), (65536, None, 33), (32767, 8, 32), (32768, 8, 33),
    (64, 31, 32), (64, 32, 33), (576, 8, 27)])
def test_precision_is_the_rule_of_the_runtime(length, bias, bits):
    data, weight = torch.zeros(1, length, dtype=torch.int32), torch.zeros(1, length, dtype=torch.int32)
    operands = [data, weight] + ([torch.zeros(1, dtype=torch.int32)] if bias else [])
    call = call_on("dense", *operands, precisions=[8, 8, bias])
    assert OPERATORS["dense"].precision(call) == bits
    images = [t.view(1, length, 1, 1) for t in operands[:2]] + operands[2:]
    assert OPERATORS["conv2d"].precision(call_on("conv2d", *images, precisions=[8, 8, bias], **PLAIN)) == bits


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 3), st.booleans(), st.integers(0, 99))
def test_dense_is_the_definition(rows, length, units, with_bias, seed):
    x, w = integers((rows, length), seed=seed), integers((units, length), seed=seed + 1)
    b = integers((units,), -2 ** 30, 2 ** 30, seed + 2)
    expected = [[sum(a * c for a, c in zip(xs, ws)) + (bias if with_bias else 0)
                 for ws, bias in zip(w.tolist(), b.tolist())] for xs in x.tolist()]
    tensors = (x, w, b) if with_bias else (x, w)
    assert run("dense", *tensors).tolist() == expected
    assert_range_holds("dense", *tensors, constants=(1,))
    assert_range_holds("dense", *tensors, constants=(2,))


def test_dense_is_exact_at_the_edge_of_32_bits():
    """65535 products of 127 * 127 are the greatest sum that the runtime's rule admits."""
    x = torch.full((1, 65535), 127, dtype=torch.int32)
    assert run("dense", x, x).item() == 65535 * 127 * 127
    assert run("dense", x, -x).item() == -65535 * 127 * 127


def test_float64_products_are_exact_at_the_edge_of_32_bits():
    """The path of CUDA devices and dilated convolutions; oracle: the same sum in Python integers."""
    x = torch.full((1, 65535), 127, dtype=torch.int32)
    bias = torch.tensor([-1], dtype=torch.int32)
    assert _in_float64(torch.nn.functional.linear, x, x, bias).item() == 65535 * 127 * 127 - 1
    assert _in_float64(torch.nn.functional.linear, x, x, None).dtype == torch.int32


def test_range_without_constants_counts_the_products():
    data, weight = torch.tensor([[-3, 5]], dtype=torch.int32), torch.tensor([[-2, 4]], dtype=torch.int32)
    assert OPERATORS["dense"].value_range(call_on("dense", data, weight)) == Interval(2 * -12, 2 * 20)


def test_limits():
    x, w = integers((1, 2, 5, 5), -100, 100), integers((3, 2, 2, 2), -100, 100)
    assert not limits("conv2d", x, w, **PLAIN)
    assert "the data has 9 bits" in limits("conv2d", x, w, precisions=[9, 8], **PLAIN)
    assert "the weight has 9 bits" in limits("dense", x[0, 0], x[0, 1], precisions=[8, 9])
    wide = {**PLAIN, "padding": [4097, 0], "strides": [1, 4097]}
    assert "padding 4097" in limits("conv2d", x, w, **wide)
    assert "strides 4097" in limits("conv2d", x, w, **wide)
    assert "dilation 5000" in limits("conv2d", x, w[:, :, :1, :1], **{**PLAIN, "dilation": [5000, 1]})


def test_limit_of_the_column_buffer():
    """C * kh * kw * oh * ow = 2**31 overflows, one window less does not; cvm-format 3.1."""
    def reasons(height):
        data = operand(torch.empty(1, 2048, height, 1024, device="meta"), 8, value_range=Interval(-127, 127))
        weight = operand(torch.empty(1, 2048, 1, 1, device="meta"), 8, value_range=Interval(-127, 127))
        return OPERATORS["conv2d"].limits(Call((data, weight), PLAIN, (1, 1, height, 1024)))
    assert not reasons(1023)
    assert "C * kh * kw * oh * ow is 2147483648" in reasons(1024)[0]


@pytest.mark.parametrize(("data", "weight", "bias", "changes"), [
    ((1, 2, 4, 4), (3, 3, 2, 2), None, {}), ((1, 4, 4, 4), (3, 2, 2, 2), None, {"groups": 2}),
    ((2, 4, 4), (3, 2, 2, 2), None, {}), ((1, 2, 4, 4), (3, 2, 2, 2), (2,), {}),
    ((1, 2, 4, 4), (3, 2, 5, 2), None, {}), ((1, 2, 4, 4), (3, 2, 2, 2), None, {"strides": [1]}),
    ((1, 2, 4, 4), (3, 2, 2, 2), None, {"strides": [1, 0]}),
    ((1, 2, 4, 4), (3, 2, 2, 2), None, {"groups": 0})])
def test_shapes_the_runtime_refuses(data, weight, bias, changes):
    shapes = [data, weight] + ([bias] if bias else [])
    with pytest.raises(InvalidArgumentError):
        OPERATORS["conv2d"].output_shape(shapes, {**PLAIN, **changes})


@pytest.mark.parametrize("shapes", [[(2, 3), (4, 2)], [(2, 3, 1), (4, 3)], [(2, 3), (4, 3), (3,)]])
def test_dense_shapes_the_runtime_refuses(shapes):
    with pytest.raises(InvalidArgumentError):
        OPERATORS["dense"].output_shape(shapes, {})


def test_written_attributes_come_from_the_weight():
    tensors = integers((1, 4, 5, 6)), integers((6, 2, 3, 2)), integers((6,))
    call = call_on("conv2d", *tensors, **{**PLAIN, "groups": 2})
    assert OPERATORS["conv2d"].write_attributes(call) == {
        "channels": "6", "kernel_size": "(3, 2)", "strides": "(1, 1)", "padding": "(0, 0)",
        "dilation": "(1, 1)", "groups": "2", "layout": "NCHW", "kernel_layout": "OIHW",
        "out_layout": "NCHW", "out_dtype": "same", "use_bias": "True"}
    dense = call_on("dense", integers((3, 4)), integers((5, 4)))
    assert OPERATORS["dense"].write_attributes(dense) == {"units": "5", "use_bias": "False"}


def test_missing_attributes_get_the_defaults_of_the_runtime():
    assert OPERATORS["conv2d"].read_attributes({"channels": "6", "kernel_size": "[3, 2]"}) == PLAIN


def test_unit_cost():
    """cvm-format 4.6: 3 * K, plus 1 with a bias."""
    x, w, b = integers((1, 4, 5, 6)), integers((6, 2, 3, 2)), integers((6,))
    attributes = {**PLAIN, "groups": 2}
    assert OPERATORS["conv2d"].unit_cost(call_on("conv2d", x, w, **attributes)) == 36
    assert OPERATORS["conv2d"].unit_cost(call_on("conv2d", x, w, b, **attributes)) == 37
    assert OPERATORS["dense"].unit_cost(call_on("dense", integers((2, 9)), integers((3, 9)))) == 27
