"""Oracle: the definition of uniform symmetric quantization (mrt-gen section 3) in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrt_torch import AFeature, Quantizer, SBuffer, USQuantizer
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, tensor_of
from mrt_torch.quantization import QuantizationContext, QuantizationSettings

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


def test_the_base_names_what_a_class_lacks():
    with pytest.raises(TypeError, match="Quantizer does not define sample"):
        Quantizer().sample(WEIGHT)
