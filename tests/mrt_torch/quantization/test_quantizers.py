"""Oracle: the definition of uniform symmetric quantization (mrt-gen section 3) in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch import AFeature, Quantizer, SBuffer, USQuantizer
from mrt_torch.calibration import ALFeature, MMFeature
from mrt_torch.errors import InvalidArgumentError, PrecisionError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, tensor_of
from mrt_torch.quantization import QuantizationContext, QuantizationSettings
from mrt_torch.quantization.quantizers import (
    QUANTIZERS,
    GroupConvQuant,
    UAQuantizer,
    get_quantizer,
    register_quantizer,
)

WEIGHT = np.array([[0.5, -2.0], [1.25, 0.0]])


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor])
def test_numbers(convert):
    quantizer = USQuantizer()
    assert quantizer.sample(convert(WEIGHT)) == AFeature(2.0)
    assert quantizer.get_range(8) == (-127, 127)
    assert quantizer.get_prec(128) == 9
    assert quantizer.get_scale(8, AFeature(2.0)) == 63.5
    assert quantizer.get_scale(8, AFeature(0)) == 1.0
    integers, bits = quantizer.int_realize(convert(WEIGHT) * 20, 8)
    assert integers.tolist() == [[10, -40], [25, 0]] and bits == 7


def test_the_lowest_integer_is_sampled_whole():
    assert USQuantizer().sample(np.array([-128, 3], np.int8)) == AFeature(128)


@pytest.mark.parametrize("data", [np.array([np.nan]), np.array([np.inf]), np.empty(0)])
def test_what_has_no_feature(data):
    with pytest.raises(InvalidArgumentError):
        USQuantizer().sample(data)


@pytest.mark.parametrize("scale", [None, 10.0])
def test_a_parameter_becomes_integers_of_the_graph(scale):
    editor = GraphEditor(empty_graph_module())
    node = editor.constant("weight", torch.from_numpy(WEIGHT).float())
    context = QuantizationContext(editor.module, {}, QuantizationSettings())
    with context.editor.inheriting(node):
        integer, bits, buffer = USQuantizer().quantize(node, 8, scale, context=context)
    used = scale or 63.5
    assert buffer == SBuffer(used)
    assert tensor_of(context.editor.module, integer).tolist() == np.trunc(
        WEIGHT * used + np.copysign(0.5, WEIGHT)).astype(int).tolist()
    assert bits == (8 if scale is None else 6)


@pytest.mark.parametrize("call", [lambda q: q.sample(WEIGHT), lambda q: q.get_range(8), lambda q: q.get_prec(3),
                                  lambda q: q.get_scale(8, AFeature(1)), lambda q: q.int_realize(WEIGHT, 8),
                                  lambda q: q.quantize(None, 8)],
                         ids=["sample", "get_range", "get_prec", "get_scale", "int_realize", "quantize"])
def test_the_base_names_what_a_class_lacks(call, request):
    with pytest.raises(TypeError, match=f"Quantizer does not define {request.node.callspec.id}"):
        call(Quantizer())


def test_the_registry():
    assert {name: QUANTIZERS[name] for name in ("UniformSymmetric", "UniformAffine", "GroupConv")} == {
        "UniformSymmetric": USQuantizer, "UniformAffine": UAQuantizer, "GroupConv": GroupConvQuant}
    assert isinstance(get_quantizer(), USQuantizer) and isinstance(get_quantizer("UniformAffine"), UAQuantizer)

    class Mine(USQuantizer):
        name = "test_quantizers.Mine"

    register_quantizer(Mine)
    try:
        assert isinstance(get_quantizer(Mine.name), Mine)
        with pytest.raises(InvalidArgumentError, match="registered already"):
            register_quantizer(Mine)
    finally:
        del QUANTIZERS[Mine.name]
    for name in (Mine.name, "", None, 3):
        with pytest.raises(InvalidArgumentError, match="known are UniformSymmetric"):
            get_quantizer(name)


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor])
def test_affine_numbers(convert):
    """Oracle: mrt-gen section 3, by hand."""
    quantizer = UAQuantizer()
    assert quantizer.sample(convert(WEIGHT)) == MMFeature(-2, 1.25)
    assert quantizer.get_range(8) == (0, 255) and quantizer.get_range(1) == (0, 1)
    assert quantizer.get_scale(8, MMFeature(-2, 1.4)) == 255 / 3.4
    assert quantizer.get_scale(8, MMFeature(3, 3)) == 1
    assert [quantizer.get_prec(value) for value in (0, 1, 1.5, 2, 3, 255, 255.5, 256)] == [1, 1, 2, 2, 2, 8, 9, 9]
    integers, bits = quantizer.int_realize(convert(np.array([-5.0, 0.5, 2.4, 300.0])), 8)
    assert integers.tolist() == [0, 1, 2, 255] and bits == 8 and integers.dtype == torch.int32
    assert quantizer.int_realize(convert(np.array([2.4])), 8)[1] == 2


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.integers(1, 16))
def test_an_affine_parameter_is_off_by_half_a_step(values, prec):
    """Oracle: the definition value = integer / scale + zero point, in numpy. 1e-9 of the span for rounding."""
    integers, bits, scale, zero_point = UAQuantizer().realize_parameter(np.array(values), prec)
    assert 0 <= int(integers.min()) and int(integers.max()) < 2 ** bits <= 2 ** prec
    back = integers.numpy() / scale + zero_point
    assert np.abs(back - values).max() <= 0.5 / scale + 1e-9 * (max(values) - min(values))
    assert zero_point == min(values)


@pytest.mark.parametrize("value", [0.0, 7.25, -3.0])
def test_a_constant_affine_parameter_is_exact(value):
    integers, bits, scale, zero_point = UAQuantizer().realize_parameter(torch.full((2, 3), value), 8)
    assert (integers.tolist(), bits, scale, zero_point) == ([[0] * 3] * 2, 1, 1.0, value)


@pytest.mark.parametrize("call,error", [
    (lambda q: q.get_prec(-1), PrecisionError), (lambda q: q.get_prec(float("nan")), PrecisionError),
    (lambda q: q.get_prec(float("inf")), PrecisionError),
    (lambda q: q.sample(np.array([np.nan])), InvalidArgumentError),
    (lambda q: q.sample(np.empty(0)), InvalidArgumentError), (lambda q: q.get_range(0), InvalidArgumentError),
    (lambda q: q.int_realize(np.array([np.nan]), 8), InvalidArgumentError),
    (lambda q: q.int_realize(np.array([1.0]), 32), InvalidArgumentError),
    (lambda q: q.get_scale(8, MMFeature(0, 5e-324)), InvalidArgumentError),
    (lambda q: q.realize_parameter(np.array([1.0, np.inf]), 8), InvalidArgumentError)])
def test_what_affine_quantization_refuses(call, error):
    with pytest.raises(error):
        call(UAQuantizer())


def test_groups():
    """Oracle: each slice quantized by itself with USQuantizer."""
    weight = np.random.default_rng(0).normal(size=(6, 2, 3, 3)) * np.logspace(-2, 2, 6)[:, None, None, None]
    quantizer, plain = GroupConvQuant(), USQuantizer()
    assert quantizer.sample(weight, groups=3, axis=0) == ALFeature(
        [plain.sample(part).get() for part in np.split(weight, 3)])
    assert quantizer.sample(weight) == ALFeature(np.abs(weight).max((0, 2, 3)))
    integers, bits, scales = quantizer.realize_parameter(weight, 8, 3)
    for part, seen, scale in zip(np.split(weight, 3), integers.split(2), scales, strict=True):
        assert scale == plain.get_scale(8, plain.sample(part))
        assert torch.equal(seen, plain.int_realize(part * scale, 8)[0])
    assert bits == 8 and quantizer.get_range(8) == (-127, 127)
    assert quantizer.get_scales(8, ALFeature([2, 0])) == (63.5, 1.0)
    assert quantizer.get_scales(8, AFeature(2)) == (63.5,)
    assert quantizer.get_scale(8, ALFeature([2, 0])) == 63.5
    for groups in (4, 0):
        with pytest.raises(InvalidArgumentError, match="divide"):
            quantizer.realize_parameter(weight, 8, groups)


def test_a_group_of_zeros_has_the_scale_1():
    weight = torch.cat([torch.zeros(1, 2), torch.ones(1, 2)])
    integers, _, scales = GroupConvQuant().realize_parameter(weight, 8, 2)
    assert scales == (1.0, 127.0) and integers.tolist() == [[0, 0], [127, 127]]
