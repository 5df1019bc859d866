"""Channel-wise granularity over a graph. Oracle: the graph before; equal but for the order of sums."""

from __future__ import annotations

import pytest

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.facts import source_name
from mrt_torch.passes import sym_config_infos, sym_slice_channel
from tests.mrt_torch.ops.graphs import assert_same_values, aten, draw, graph, operators
from tests.mrt_torch.small_models import images, prepared

LAYER_WISE = {"gn_type": "layer-wise"}


def channel_wise(step: int, ichannel: int = 1) -> dict:
    return {"gn_info": {"gn_type": "channel-wise", "ichannel": ichannel, "step": step}}


def two_convolutions():
    def build(editor, x):
        for name in ("first", "second"):
            weight = editor.constant(f"{name}_weight", draw(4, 4, 3, 3, seed=len(name)))
            x = editor.call(aten.conv2d.default, x, weight, editor.constant(f"{name}_bias", draw(4, seed=1)), [1, 1],
                            [1, 1], [1, 1], 1, name=name)
        return editor.call(aten.relu.default, x, name="act")
    return graph(build, (2, 4, 5, 5))


def test_only_what_is_configured_is_sliced():
    module = two_convolutions()
    configuration = {"second": channel_wise(2)}
    sliced, params = sym_slice_channel(module, {}, configuration)
    assert operators(sliced) == ["conv2d", "slice", "conv2d", "slice", "conv2d", "add", "relu"]
    assert_same_values(module, sliced, draw(2, 4, 5, 5))
    assert {name: tuple(tensor.shape) for name, tensor in params.items()} == {
        "first_weight": (4, 4, 3, 3), "first_bias": (4,), "second_bias": (4,),
        "second_weight_0": (4, 2, 3, 3), "second_weight_2": (4, 2, 3, 3)}
    total = next(node for node in sliced.graph.nodes if node.target is aten.add.Tensor)
    assert (total.name, source_name(total)) == ("second", "second")
    assert operators(module) == ["conv2d", "conv2d", "relu"], "the graph that was given"


def test_new_nodes_are_layer_wise_and_inherit_the_rest():
    """mrt-gen 5: new nodes get layer-wise configurations; those of X and W become layer-wise."""
    configuration = sym_config_infos(two_convolutions(), {}, {
        "second": {**channel_wise(2), "quant_type": "UniformAffine"},
        "first": {**channel_wise(1), "opt_info": {"opt_type": "MovingAverage"}},
        "second_weight": channel_wise(2)})
    sliced, _ = sym_slice_channel(two_convolutions(), {}, configuration)
    assert list(configuration) == [node.name for node in sliced.graph.nodes if node.op != "output"]
    assert all(attributes["gn_info"] == LAYER_WISE for attributes in configuration.values())
    assert configuration["second"]["quant_type"] == "UniformAffine"
    assert configuration["second_x0"]["opt_info"] == configuration["first"]["opt_info"] == ("MovingAverage", "c", 0.01)
    assert configuration["second_weight_2"]["quant_type"] == "UniformSymmetric"


def test_a_configuration_that_names_some_nodes_grows_by_theirs_only():
    configuration = {"op:Convolution": channel_wise(2)}
    sliced, _ = sym_slice_channel(two_convolutions(), {}, configuration)
    assert operators(sliced).count("conv2d") == 4
    assert {"first", "second"} <= set(configuration) and "act" not in configuration
    assert "op:Convolution" not in configuration


def test_without_channel_wise_nodes_nothing_changes():
    for configuration in (None, {}, {"first": {"gn_info": LAYER_WISE}}, {"first": {"quant_type": "UniformAffine"}}):
        sliced, _ = sym_slice_channel(two_convolutions(), {}, configuration)
        assert operators(sliced) == operators(two_convolutions())


@pytest.mark.parametrize("configuration, message", [
    ({"act": channel_wise(1)}, "channel-wise granularity is for convolutions and dense layers\n  where: node 'act'"),
    ({"data": channel_wise(1)}, "for convolutions and dense layers\n  where: node 'data'"),
    ({"_RES_": channel_wise(1)}, "for convolutions and dense layers"),
    ({"first": channel_wise(3)}, r"the step divides the input channels\n  where: node 'first'(.|\n)*step 3 for 4"),
    ({"first": channel_wise(4)}, "needs two slices at least"),
    ({"first": channel_wise(2, ichannel=2)}, "sliced along axis 1\n  where: node 'first'(.|\n)*saw ichannel 2"),
])
def test_what_is_refused(configuration, message):
    before = dict(configuration)
    with pytest.raises(InvalidArgumentError, match=message):
        sym_slice_channel(two_convolutions(), {}, configuration)
    assert configuration == before


def test_a_model():
    """Tolerance: float32 sums of 36 terms in another order."""
    model = prepared()
    sliced, _ = sym_slice_channel(model, {}, {"conv1": channel_wise(2), "dense": channel_wise(1)})
    assert sliced(images()).sub(model(images())).abs().max() < 1e-5
    assert sliced.output_names() == model.output_names()


def test_a_sliced_model_quantizes():
    """Oracle: the float model, within 3 % of its range; mrt-gen 10 saw no loss by slicing."""
    model = prepared()
    sliced, _ = sym_slice_channel(model, {}, {"conv1": channel_wise(1)})
    mrt = sliced.get_mrt()
    mrt.set_data(images(8, seed=1))
    mrt.calibrate()
    quantized, x = mrt.quantize(), images(8, seed=1)
    assert (quantized(x) - model(x)).abs().max() < 0.03 * model(x).abs().max()
