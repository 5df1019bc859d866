"""The driver of quantization: names, scales, requested precisions, and nodes kept in float."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.errors import CalibrationError, PrecisionError
from mrt_torch.graph.editor import input_nodes, output_nodes, shape_of
from mrt_torch.graph.facts import facts_of, source_name
from mrt_torch.graph.stage import Stage, check_stage
from mrt_torch.passes import prepare, quantize
from mrt_torch.quantization import QuantizationSettings
from mrt_torch.quantization.recipe import RECIPES
from tests.mrt_torch.ops.graphs import (
    assert_within,
    aten,
    both_recipes,
    calibrated_of,
    draw,
    graph,
    integer_model,
    operators,
    relative_error,
    thresholds_of,
    unary,
)

X = draw(4, 3, 6, 6, dtype=torch.float32)
ORIGINAL = QuantizationSettings(recipe=RECIPES["original"])


def network(e, x):
    weight = e.constant("conv/weight", draw(4, 3, 3, 3, seed=1, dtype=torch.float32))
    y = e.call(aten.conv2d.default, x, weight, None, [1, 1], [1, 1], name="conv/out")
    y = e.call(aten.leaky_relu.default, y, 0.1, name="act/0")
    y = e.call(aten.mean.dim, y, [2, 3], False, name="pool")
    y = e.call(aten.linear.default, y, e.constant("fc", draw(5, 4, dtype=torch.float32)), name="fc/out")
    return e.call(aten.softmax.int, y, 1, name="prob"), y


@pytest.fixture
def prepared():
    return prepare(graph(network, X.shape, dtype=torch.float32))


def run(module, x):
    facts = facts_of(input_nodes(module.graph)[0])
    return module((x.double() * facts.scale).round().to(torch.int32))


def test_integer_nodes_carry_the_names_of_the_float_nodes(prepared):
    """The node that holds a float node's value has its name, in the graph and in the source."""
    module, scales = quantize(prepared, thresholds_of(prepared, X), ORIGINAL)
    check_stage(module, Stage.INTEGER)
    names = {n.name: source_name(n) for n in module.graph.nodes if n.op == "call_function"}
    floats = {n.name: source_name(n) for n in prepared.graph.nodes if n.op == "call_function"}
    # slope * x is x at another scale: the first of the two float nodes names the integer node.
    shared = {n.name for n in prepared.graph.nodes if n.target is aten.mul.Scalar}
    assert {name: names[name] for name in floats if name not in shared} == {
        name: source for name, source in floats.items() if name not in shared}
    assert [n.name for n in output_nodes(module.graph)] == ["prob", "fc_out"]
    assert [facts_of(n).scale for n in output_nodes(module.graph)] == scales


def test_outputs_carry_the_names_of_the_float_outputs(prepared):
    """Also one that was brought to one scale after the node that holds the value, whose name stays in the graph."""
    module, scales = quantize(prepared, calibrated_of(prepared, X), QuantizationSettings())
    assert [source_name(n) for n in output_nodes(module.graph)] == ["prob", "fc/out"]
    assert [facts_of(n).scale for n in output_nodes(module.graph)] == scales
    named = {n.name: n.target._opname for n in module.graph.nodes if n.op == "call_function"}
    assert (named["conv_out"], named["fc_out"], named["prob"]) == ("conv2d", "dense", "cvm_clip")


@both_recipes
def test_a_float_node_may_be_called_like_an_integer_operator(recipe):
    """Intermediate nodes make room. fx alone would call the float node's integers cvm_right_shift_default_1."""
    def build(e, x):
        y = e.call(aten.linear.default, x, e.constant("w", draw(4, 6)), name="dense_default")
        y = e.call(aten.linear.default, y, e.constant("w", draw(4, 4)), name="broadcast_mul_default")
        return e.call(aten.relu.default, y, name="cvm_right_shift_default")

    model = integer_model(graph(build, (2, 6)), draw(2, 6), recipe=recipe)
    assert [source_name(n) for n in output_nodes(model.module.graph)] == ["cvm_right_shift_default"]
    named = {n.name: n.target._opname for n in model.module.graph.nodes if n.op == "call_function"}
    assert (named["dense_default"], named["broadcast_mul_default"]) == ("dense", "dense")
    assert named["cvm_right_shift_default"] == "relu"


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_outputs_of_a_requested_precision(prepared, bits):
    """The reported scale is the exact one: integer / scale is the float output within a unit of that precision, and
    what 8 bits cost inside (1 % of the largest). (MRT defect 11: precisions of new outputs are facts of the nodes.)"""
    thresholds = thresholds_of(prepared, X)
    module, scales = quantize(prepared, thresholds, QuantizationSettings(input_precision=8, output_precision=bits))
    for node, scale, float_node, found, expected in zip(
            output_nodes(module.graph), scales, output_nodes(prepared.graph), run(module, X), prepared(X), strict=True):
        threshold = thresholds[float_node.name]
        assert facts_of(node).precision == bits
        assert scale == pytest.approx((2 ** (bits - 1) - 1) / threshold, rel=2 ** -11)
        assert_within(found.double() / scale, expected.double(), 1.0 / scale + 0.01 * threshold)


def test_outputs_without_a_request_stay_as_they_are(prepared):
    module, scales = quantize(prepared, thresholds_of(prepared, X), ORIGINAL)
    logits = output_nodes(module.graph)[1]
    assert logits.target._opname == "dense"
    assert facts_of(logits).scale == scales[1]


def test_an_output_whose_channels_have_scales_of_their_own_gets_one_scale(prepared):
    """32767 over the threshold, and two bits more for what lies beyond it."""
    thresholds = thresholds_of(prepared, X)
    module, scales = quantize(prepared, thresholds, QuantizationSettings())
    logits = output_nodes(module.graph)[1]
    assert (logits.target._opname, facts_of(logits).precision) == ("cvm_right_shift", 18)
    assert facts_of(logits).scale == scales[1] == 32767 / thresholds["fc_out"]


@pytest.mark.parametrize("restored", [["conv/out"], ["act/0"], ["prob"], ["fc/out", "pool"],
                                      ["conv/out", "act/0", "pool", "fc/out", "prob"]])
def test_restored_nodes_run_in_float(prepared, restored):
    """MRT defect 6: islands run, and cost nothing but 16 bits around them. With everything restored, only the input
    has 8 bits: 1 % in the norm; otherwise 3 %."""
    module, scales = quantize(prepared, thresholds_of(prepared, X), QuantizationSettings(restore=frozenset(restored)))
    check_stage(module, Stage.RESTORED)
    floats = [n.target for n in module.graph.nodes if n.op == "call_function" and n.target.namespace == "aten"]
    assert len(floats) >= len(restored)
    for batch in (X, X[:1]):
        for found, scale, expected in zip(run(module, batch), scales, prepared(batch), strict=True):
            assert found.dtype == torch.int32
            assert relative_error(found.double() / scale, expected.double()) < (0.01 if len(restored) == 5 else 0.03)


def test_restoring_a_bad_operator_helps(prepared):
    """What the debugging aid is for: the convolution at 3 bits is bad, and in float it is not."""
    thresholds, narrow = thresholds_of(prepared, X), {"Convolution": 3}
    errors = []
    for restore in (frozenset(), frozenset(["conv/out"])):
        settings = QuantizationSettings(operator_precisions=narrow, restore=restore)
        module, scales = quantize(prepared, thresholds, settings)
        errors.append(relative_error(run(module, X)[1].double() / scales[1], prepared(X)[1].double()))
    assert errors[1] < errors[0] / 3


def test_a_missing_threshold_names_the_node(prepared):
    thresholds = thresholds_of(prepared, X)
    del thresholds["fc_out"]
    with pytest.raises(CalibrationError, match="a node has no threshold") as error:
        quantize(prepared, thresholds, QuantizationSettings())
    assert error.value.where == "node 'fc/out' (aten.linear.default)"


def test_the_float_graph_is_unchanged(prepared):
    code, weight = prepared.code, prepared.conv_weight.clone()
    quantize(prepared, thresholds_of(prepared, X), QuantizationSettings())
    assert prepared.code == code
    assert torch.equal(prepared.conv_weight, weight)


def test_twice_is_the_same(prepared):
    """Deterministic: nodes, names and constants."""
    thresholds = thresholds_of(prepared, X)
    first, second = (quantize(prepared, thresholds, QuantizationSettings()) for _ in range(2))
    assert first[1] == second[1]
    assert first[0].code == second[0].code
    assert all(torch.equal(tensor, getattr(second[0], name)) for name, tensor in first[0].named_buffers())


def test_one_value_as_two_outputs_of_two_scales():
    """x and -2 * x share their integers up to the sign, x and 2 * x altogether: each output has its own scale."""
    def build(e, x):
        return x, e.call(aten.mul.Scalar, x, 2.0), e.call(aten.mul.Scalar, x, -2.0), x

    x = draw(2, 3)
    model = integer_model(graph(build, x.shape), x)
    nodes = output_nodes(model.module.graph)
    assert len(set(nodes)) == 4
    for found, scale, node, factor in zip(model.integers(x), model.scales, nodes, (1, 2, -2, 1), strict=True):
        assert facts_of(node).scale == scale
        assert_within(found.double() / scale, model.seen(x) * factor, 0)


def test_a_constant_output():
    """An output that reads no input is a parameter of 16 bits, or of the precision requested."""
    def build(e, x):
        return e.call(aten.relu.default, x), e.call(aten.neg.default, e.constant("w", draw(2, 3)))

    x = draw(2, 3)
    prepared = prepare(graph(build, x.shape))
    for bits in (None, 8):
        settings = QuantizationSettings(output_precision=bits)
        module, scales = quantize(prepared, thresholds_of(prepared, x), settings)
        found = run(module, x)[1].double() / scales[1]
        assert_within(found, -draw(2, 3), 0.5 / (127 if bits else 32767))


def test_biases_beyond_32_bits_are_never_emitted():
    """MRT defect 10: a bias has 30 bits at most, whatever the weights."""
    for magnitude in (1.0, 1e-3, 1e-6, 1e-9, 0.0):
        def build(e, x, magnitude=magnitude):
            weight, bias = draw(4, 3) * magnitude, draw(4, seed=1) * 1e3
            return e.call(aten.linear.default, x, e.constant("w", weight), e.constant("b", bias))

        model = integer_model(graph(build, (2, 3)), draw(2, 3))
        assert all(facts_of(n).precision <= 30 for n in model.module.graph.nodes if n.op == "get_attr")
        assert facts_of(model.node("dense")).precision <= 32


def test_products_of_wide_sums_are_brought_to_16_and_15_bits():
    """MRT defect 10: broadcast_mul after additions exceeded 32 bits."""
    def build(e, x):
        y = e.call(aten.add.Tensor, x, e.constant("c", draw(3)))
        for _ in range(4):
            y = e.call(aten.mul.Tensor, y, e.call(aten.add.Tensor, y, x))
        return y

    x = draw(2, 3)
    module = graph(build, x.shape)
    model = integer_model(module, x, input_precision=16)
    assert all(facts_of(n).precision <= 31 for n in model.module.graph.nodes
               if n.op == "call_function" and n.target._opname == "broadcast_mul")
    assert relative_error(model(x), module(x)[0]) < 1e-3


def test_an_overflow_is_a_precision_error():
    """MRT defect 10."""
    module = prepare(unary(aten.sum.dim_IntList, [1], False, shape=(1, 2 ** 23)))
    with pytest.raises(PrecisionError, match="a sum cannot fit 32 bits"):
        quantize(module, {n.name: 1.0 for n in module.graph.nodes}, QuantizationSettings())


def test_the_batch_stays_free(prepared):
    module, scales = quantize(prepared, thresholds_of(prepared, X), QuantizationSettings())
    for batch in (1, 4, 9):
        x = draw(batch, 3, 6, 6, dtype=torch.float32)
        assert [o.shape for o in run(module, x)] == [(batch, 5), (batch, 5)]
    assert shape_of(output_nodes(module.graph)[0]) == (4, 5)
    assert operators(module).count("dense") == 1
