"""Quantization under the documented signature. Oracle: MRT.quantize, and the float graph."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from mrt_torch.calibration import AFeature
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from mrt_torch.graph.stage import Stage, check_stage
from mrt_torch.passes import sym_calibrate, sym_config_infos, sym_slice_channel
from mrt_torch.passes.generalized import quantize
from mrt_torch.quantization import QuantizationSettings, SBuffer, SLBuffer
from mrt_torch.quantization.recipe import recipe_named
from tests.mrt_torch.ops.graphs import CheckedRun, assert_deployable
from tests.mrt_torch.small_models import images, prepared

DATA = images(8, seed=1)


def quantized(symbol, configuration=None, precs=None, buffers=None, *, params=None, features=None, bits=None,
              restore=(), shift_bits=8, softmax_lambd=10.0, settings=None):
    """``quantize`` after ``sym_calibrate``."""
    features = sym_calibrate(symbol, params, DATA, configuration) if features is None else features
    return quantize(symbol, params, features, {} if precs is None else precs, {} if buffers is None else buffers,
                    configuration or {}, bits or {}, set(restore), shift_bits, softmax_lambd, settings=settings)


def of_mrt(model, **settings):
    mrt = model.get_mrt()
    mrt.set_data(DATA)
    mrt.calibrate()
    for name, value in settings.items():
        getattr(mrt, f"set_{name}")(value)
    return mrt.quantize()


def test_without_a_configuration_it_is_what_mrt_gives():
    model = prepared()
    symbol, params = quantized(model)
    reference = of_mrt(model)
    assert torch.equal(symbol.to_graph()(torch.arange(-54, 54, dtype=torch.int32).reshape(1, 3, 6, 6))[0],
                       reference.to_graph()(torch.arange(-54, 54, dtype=torch.int32).reshape(1, 3, 6, 6))[0])
    assert (symbol.stage, symbol.record) == (Stage.INTEGER, reference.record)
    assert params and all(tensor.dtype is torch.int32 for tensor in params.values())


def test_of_a_graph_comes_a_graph():
    module = prepared().module
    symbol, params = quantized(module)
    assert isinstance(symbol, fx.GraphModule)
    check_stage(symbol, Stage.INTEGER)
    assert_deployable(symbol)
    assert {tuple(t.shape) for t in params.values()} == {tuple(b.shape) for b in symbol.buffers()}


def test_settings_reach_the_quantization():
    """Each as MRT sets it."""
    model, x = prepared(), images(3, seed=5)
    for arguments, settings in (({"shift_bits": 2}, {"shift_bits": 2}), ({"softmax_lambd": 4}, {"softmax_lambd": 4}),
                                ({"precs": {"data": {"out_key": 6}}}, {"input_prec": 6}),
                                ({"precs": {"image": {"out_key": 6}}}, {"input_prec": 6}),
                                ({"precs": {"dense": {"dense": 9}}}, {"output_prec": 9})):
        assert torch.equal(quantized(model, **arguments)[0](x), of_mrt(model, **settings)(x)), arguments
    mrt = model.get_mrt()
    mrt.set_data(DATA)
    mrt.calibrate()
    mrt.set_op_input_prec("Convolution", 5)
    assert torch.equal(quantized(model, bits={"Convolution": 5})[0](x), mrt.quantize()(x))


def test_further_settings_may_be_given():
    """Here the recipe that is MRT's own."""
    model, x = prepared(), images(3, seed=5)
    mrt = model.get_mrt()
    mrt.set_accuracy("original")
    mrt.set_data(DATA)
    mrt.calibrate()
    symbol, _ = quantized(model, settings=QuantizationSettings(recipe=recipe_named("original")))
    assert torch.equal(symbol(x), mrt.quantize()(x))


def test_buffers_and_precisions_of_every_node_are_filled():
    """Oracle: the float activations; integers over the scale are them within 4 % of the largest."""
    module, precs, buffers = prepared().module, {"dense": {"dense": 12}}, {}
    symbol, _ = quantized(module, precs=precs, buffers=buffers)
    names = [node.name for node in module.graph.nodes if node.op in ("placeholder", "call_function")]
    assert list(buffers) == names and set(precs) == set(names)
    assert precs["data"] == {"out_key": 8} and precs["dense"] == {"dense": 12, "out_key": 12}
    run = CheckedRun(symbol)
    run.run(torch.round(DATA * buffers["data"].get()).clamp(-127, 127).to(torch.int32))
    floats = fx.Interpreter(module, garbage_collect_values=False)
    floats.run(DATA)
    expected = {node.name: value for node, value in floats.env.items()}
    inner = set(names) & set(run.values) - {"dense"}  # whose buffer is that of the output, which is requantized
    assert len(inner) >= 5
    for name in inner:
        buffer, value = buffers[name], run.values[name].to(torch.float64)
        assert isinstance(buffer, (SBuffer, SLBuffer))
        assert int(run.values[name].abs().max()) < 2 ** (precs[name]["out_key"] - 1)
        scales = torch.tensor(buffer.get(), dtype=torch.float64)
        scales = scales.reshape(1, -1, *[1] * (value.dim() - 2)) if scales.dim() else scales
        assert (value / scales - expected[name]).abs().max() < 0.04 * expected[name].abs().max(), name
    output = symbol(torch.round(DATA * buffers["data"].get()).to(torch.int32))[0].to(torch.float64)
    assert (output / buffers["dense"].get() - expected["dense"]).abs().max() < 0.04 * expected["dense"].abs().max()


def zero_points(symbol) -> int:
    """Operands that had a zero point subtracted."""
    return sum(node.op == "call_function" and node.target._opname == "broadcast_sub" for node in symbol.graph.nodes)


def test_the_quantizer_of_a_node_decides_about_its_zero_point():
    """The inputs of conv1 and of the dense layer come from a ReLU: a symmetric quantizer leaves half its codes unused.
    """
    module = prepared().module
    symmetric, affine = {"quant_type": "UniformSymmetric"}, {"quant_type": "UniformAffine"}
    counts = {}
    for name, configuration in (("default", {}), ("one", {"pool0": symmetric}), ("symmetric", {"_RES_": symmetric}),
                                ("affine", {"_RES_": symmetric, "pool0": affine, "features": affine}),
                                ("filled", sym_config_infos(module, None))):
        counts[name] = zero_points(quantized(module, configuration)[0])
    assert counts == {"default": 2, "one": 1, "symmetric": 0, "affine": 2, "filled": 0}


@pytest.mark.parametrize("configuration", [
    {"conv1": {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": 2}}},
    {"op:Convolution": {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": 1}},
     "_RES_": {"quant_type": "UniformSymmetric"}},
    {"_RES_": {"quant_type": "UniformAffine"}}, {"_RES_": {"opt_info": {"opt_type": "KLDivergence"}}}])
def test_the_documented_stages_one_after_another(configuration):
    """Oracle: the float model, within 10 % of its range on the calibration data; the integers are deployable."""
    model = prepared()
    filled = sym_config_infos(model, None, configuration)
    symbol, params = sym_slice_channel(model, None, filled)
    integer, _ = quantized(symbol, filled, params=params)
    assert_deployable(integer.module)
    assert (integer(DATA) - model(DATA)).abs().max() < 0.1 * model(DATA).abs().max()


def test_a_restored_node_stays_in_float():
    symbol, _ = quantized(prepared(), restore={"relu0"})
    assert symbol.stage is Stage.RESTORED


def test_plain_features_will_do():
    model = prepared()
    features = {name: AFeature(feature.get_threshold()) for name, feature in
                sym_calibrate(model, None, DATA, None).items()}
    symbol, _ = quantized(model, features=features)
    assert (symbol(DATA) - model(DATA)).abs().max() < 0.05 * model(DATA).abs().max()


@pytest.mark.parametrize("arguments, error, message", [
    ({"features": {}}, CalibrationError, "has no threshold"),
    ({"features": {"other": AFeature(1.0)}}, InvalidArgumentError, r"of another graph(.|\n)*no nodes \['other'\]"),
    ({"precs": {"data": {"conv0": 6}}}, InvalidArgumentError, "one reader of a node cannot be set"),
    ({"precs": {"relu0": {"relu0": 6}}}, InvalidArgumentError, r"'relu0' is no output(.|\n)*\['dense'\]"),
    ({"precs": {"data": 6}}, InvalidArgumentError, "precs maps names to precisions by key"),
    ({"precs": {"data": {"out_key": 99}}}, InvalidArgumentError, "input_precision is an integer from 2 to 31"),
    ({"bits": {"Convolution": 99}}, InvalidArgumentError, "the input precision of Convolution"),
    ({"restore": {"nowhere"}}, InvalidArgumentError, "no node 'nowhere'"),
    ({"shift_bits": 0}, InvalidArgumentError, "shift_bits is an integer"),
    ({"softmax_lambd": -1}, InvalidArgumentError, "softmax_lambd is a positive"),
])
def test_what_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        quantized(prepared(), **arguments)


def test_outputs_cannot_differ_in_the_precision_that_is_wanted():
    model = prepared(heads=2)
    with pytest.raises(InvalidArgumentError, match="all outputs have one precision"):
        quantized(model, precs={"dense": {"dense": 8}, "features": {"features": 9}})
    precs = {"dense": {"dense": 9}, "features": {"features": 9}}
    quantized(model, precs=precs)
    assert precs["features"] == {"features": 9, "out_key": 9}


def test_empty_wishes_and_those_of_a_run_before_are_none():
    """The original starts with an empty mapping for each node, and fills in the inferred precisions."""
    model, precs = prepared(), {"relu0": {}}
    first, _ = quantized(model, precs=precs)
    again, _ = quantized(model, precs=precs)
    assert torch.equal(first(DATA), again(DATA))
