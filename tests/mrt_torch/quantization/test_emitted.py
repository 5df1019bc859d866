"""``Quantizer.quantize`` with zero points and by group. Oracle: the definitions of scale and zero point, in float64."""

from __future__ import annotations

import math

import pytest
import torch

from mrt_torch import AFeature, SZBuffer
from mrt_torch.calibration.features import ALFeature
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.runner import finish
from mrt_torch.graph.stage import Stage
from mrt_torch.ops.registry import apply_pass
from mrt_torch.passes import prepare
from mrt_torch.quantization import GroupConvQuant, QuantizationContext, QuantizationSettings, SLBuffer, UAQuantizer
from mrt_torch.quantization.calibrated import Calibrated
from mrt_torch.quantization.precision import round_half_away
from tests.mrt_torch.ops.graphs import CheckedRun, calibrated_of, draw, graph

aten = torch.ops.aten
FRACTION = 2.0 ** -11  # of a value: fractions of 12 bits, and scales that differ by as much


def holding(data, quantizer, bits, *arguments, feature=None, **keywords):
    """Node, precision and buffer of the square of the input, with the integers and their float values."""
    module = prepare(graph(lambda e, x: e.call(aten.mul.Tensor, x, x, name="a"), data.shape))
    known = calibrated_of(module, data)
    known = known if feature is None else Calibrated({**known.features, "a": feature})
    context = QuantizationContext(module, known, QuantizationSettings(input_precision=12))
    for node in module.graph.nodes:
        if node.op != "output":
            with context.editor.inheriting(node):
                context.set_value(node, apply_pass("quantize", node, context=context))
    op = output_nodes(module.graph)[0]
    with context.editor.inheriting(op):
        node, precision, buffer = quantizer.quantize(op, bits, *arguments, context=context, **keywords)
    context.editor.output([node])
    finish(context.editor.module, Stage.INTEGER)
    facts = facts_of(input_nodes(context.editor.module.graph)[0])
    integers = (data * facts.scale).round().to(torch.int32)
    run = CheckedRun(context.editor.module)
    run.run(integers)
    assert precision == facts_of(node).precision
    return run.values[node.name].double(), buffer, (integers / facts.scale) ** 2


@pytest.mark.parametrize("bits", [2, 8, 16])
@pytest.mark.parametrize("scale", [None, 1.7])
def test_the_affine_quantizer_of_an_activation(bits, scale):
    """float = integer / scale + zero point within half a step, integers in 0 ... 2**bits - 1; FRACTION of the range."""
    data = draw(2, 3, 4) + 2
    integers, buffer, values = holding(data, UAQuantizer(), bits, scale)
    assert isinstance(buffer, SZBuffer)
    used, zero_point = buffer.get()
    low, high = float(values.min()), float(values.max())
    assert math.isclose(used, scale or (2 ** bits - 1) / (high - low), rel_tol=0.01)
    assert 0 <= int(integers.min()) and int(integers.max()) <= 2 ** bits - 1
    reached = values.clamp(max=zero_point + (2 ** bits - 1) / used)
    error = (integers / used + zero_point - reached).abs().max()
    assert float(error) <= 1.01 / used + FRACTION * high


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_the_affine_quantizer_of_one_value(value):
    integers, buffer, values = holding(torch.full((2, 3), value, dtype=torch.float64), UAQuantizer(), 8)
    scale, zero_point = buffer.get()
    assert float((integers / scale + zero_point - values).abs().max()) <= 0.5 / scale
    assert scale == 1.0 if value == 0 else scale > 1


def parameter(values, quantizer, *arguments, **keywords):
    module = graph(lambda e, x: e.call(aten.add.Tensor, x, e.constant("w", values)), values.shape)
    context = QuantizationContext(module, {}, QuantizationSettings())
    weight = next(node for node in module.graph.nodes if node.op == "get_attr")
    with context.editor.inheriting(weight):
        node, precision, buffer = quantizer.quantize(weight, *arguments, context=context, **keywords)
    assert precision == facts_of(node).precision
    return context.editor.tensor_of(node).double(), buffer


@pytest.mark.parametrize("scale", [None, 3.0])
def test_the_affine_quantizer_of_a_parameter(scale):
    """(w - min) * scale, rounded half up into 0 ... 255."""
    values = draw(4, 5, magnitude=3.0) + 7
    integers, buffer = parameter(values, UAQuantizer(), 8, scale)
    low, high = float(values.min()), float(values.max())
    used = scale or 255 / (high - low)
    assert buffer == SZBuffer(used, low)
    assert torch.equal(integers, ((values - low) * used + 0.5).floor().clamp(0, 255))


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_the_affine_quantizer_of_a_constant_parameter(value):
    integers, buffer = parameter(torch.full((3, 2), value, dtype=torch.float64), UAQuantizer(), 8)
    assert buffer == SZBuffer(1.0, value) and not bool(integers.any())


def test_a_precision_beyond_the_runtime_is_refused():
    with pytest.raises(InvalidArgumentError, match="1 to 30 bits"):
        parameter(draw(2, 2), UAQuantizer(), 31)


@pytest.mark.parametrize("scale", [None, 2.0])
def test_the_grouped_quantizer_of_a_weight(scale):
    """127 over the largest magnitude of each group of output channels; zeros have the scale 1."""
    values = draw(6, 2, 3) * torch.tensor([1, 1, 8, 8, 0, 0]).reshape(-1, 1, 1)
    integers, buffer = parameter(values, GroupConvQuant(), 8, scale, groups=3)
    largest = values.reshape(3, -1).abs().amax(1)
    scales = [scale or (127 / float(own) if own else 1.0) for own in largest]
    assert isinstance(buffer, SLBuffer) and buffer.get() == pytest.approx(scales, rel=1e-7)  # features are float32
    factors = torch.tensor(buffer.get(), dtype=torch.float64).repeat_interleave(2).reshape(-1, 1, 1)
    assert torch.equal(integers, round_half_away(values * factors).clamp(-127, 127))


@pytest.mark.parametrize("feature, groups, count", [(None, None, 4), (None, 2, 2), (ALFeature([1.0, 16.0]), None, 2),
                                                    (AFeature(16.0), 1, 1)])
def test_the_grouped_quantizer_of_an_activation(feature, groups, count):
    """Half a step of each group, and FRACTION of its largest."""
    data = draw(2, 4, 3) * torch.tensor([1, 1, 4, 4]).reshape(-1, 1)
    integers, buffer, values = holding(data, GroupConvQuant(), 8, feature=feature, groups=groups)
    scales = torch.tensor(buffer.get(), dtype=torch.float64).repeat_interleave(4 // count).reshape(-1, 1)
    assert len(buffer.get()) == count and float(integers.abs().max()) <= 127
    assert bool(((integers / scales - values).abs() <= 0.51 / scales + FRACTION * values.max() + 1 / 2048).all())


@pytest.mark.parametrize("groups", [3, 8])
def test_groups_that_do_not_divide_the_channels_are_refused(groups):
    with pytest.raises(InvalidArgumentError, match="must divide"):
        holding(draw(2, 4, 3), GroupConvQuant(), 8, groups=groups)
    with pytest.raises(InvalidArgumentError, match="must divide"):
        parameter(draw(4, 3), GroupConvQuant(), 8, groups=groups)
