"""Oracle: the definitions of what is configured, in float64; the deployed graph's own integers."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from mrt_torch import MRT, AFeature, MMFeature, Model, SBuffer
from mrt_torch.calibration.features import ALFeature
from mrt_torch.calibration.observers import AbsmaxObserver
from mrt_torch.errors import CalibrationError, InvalidArgumentError, InvalidFileError
from mrt_torch.passes import prepare
from mrt_torch.quantization import QuantizationContext, QuantizationSettings, SLBuffer
from mrt_torch.quantization.recipe import RECIPES
from tests.mrt_torch.ops.graphs import calibrated_of, draw, graph, integer_model, operators

aten = torch.ops.aten
DATA = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
SYMMETRIC, AFFINE, GROUPED = ({"quant_type": name} for name in ("UniformSymmetric", "UniformAffine", "GroupConv"))


def group_wise(groups, weight=False):
    return {**GROUPED, "gn_info": {"gn_type": "group-wise", "num_groups": groups, "is_weight": weight}}


class Net(nn.Module):
    """A convolution, a grouped one whose groups differ in range, and a dense layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3, groups=4)
        self.dense = nn.Linear(4, 5)
        with torch.no_grad():
            self.first.weight *= torch.tensor([1, 1, 4, 4, 8, 8, 2, 2]).reshape(-1, 1, 1, 1)
            self.second.weight *= torch.tensor([1, 8, 2, 4]).reshape(-1, 1, 1, 1)

    def forward(self, x):
        return self.dense(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))


def fresh(accuracy="default"):
    model = Model.from_torch(Net().eval(), DATA[:2])
    model.prepare((1, 3, 6, 6))
    mrt = MRT(model, accuracy=accuracy)
    mrt.set_data(DATA)
    return mrt


def names(mrt):
    """Names in the graph of the layers, their weights, and what they read."""
    found = {}
    for node in mrt.model.module.graph.nodes:
        if node.op == "call_function" and node.target in (aten.conv2d.default, aten.linear.default):
            layer = ("first", "second", "dense")[len(found) // 3]
            found |= {layer: node.name, f"{layer}_weight": node.args[1].name, f"{layer}_input": node.args[0].name}
    return found


def weighted_sums(mrt):
    """What was chosen for each layer, by its name in the graph."""
    from mrt_torch.ops.registry import apply_pass
    context = QuantizationContext(mrt.model.module, mrt._calibrated(), mrt.settings)
    for node in mrt.model.module.graph.nodes:
        if node.op not in ("get_attr", "output"):
            with context.editor.inheriting(node):
                context.set_value(node, apply_pass("quantize", node, context=context))
    return {op.name: sums for op, sums in context.weighted_sums.items()}


def configured(configuration, accuracy="default"):
    """An MRT that was configured by the names above and calibrated, and those names."""
    mrt = fresh(accuracy)
    known = names(mrt)
    mrt.set_cfg_dict({known.get(name, name): value for name, value in configuration.items()})
    mrt.calibrate()
    return mrt, known


def test_a_symmetric_operand_has_one_scale_and_no_zero_point():
    mrt, known = configured({"second_input": SYMMETRIC, "dense_input": SYMMETRIC})
    default, _ = configured({})
    sums, plain = weighted_sums(mrt), weighted_sums(default)
    for layer in ("second", "dense"):
        assert not bool(sums[known[layer]].data.zeros.any()) and len(sums[known[layer]].data.scales) == 1
        feature = mrt.features[known[f"{layer}_input"]]
        assert isinstance(feature, AFeature)
        assert float(sums[known[layer]].data.scales) == pytest.approx(127 / feature.absmax, rel=2 ** -10)
    assert bool(plain[known["dense"]].data.zeros.any()) and len(plain[known["second"]].data.scales) == 4
    assert not any(key[0] == known["dense_input"] for key in mrt.operand_features)


def test_an_affine_operand_has_a_zero_point_whatever_the_recipe():
    mrt, known = configured({"dense_input": AFFINE, "second_input": AFFINE}, "original")
    sums = weighted_sums(mrt)
    for layer in ("second", "dense"):
        data, feature = sums[known[layer]].data, mrt.features[known[f"{layer}_input"]]
        assert isinstance(feature, MMFeature) and feature.minimum == 0
        assert float(data.scales) == pytest.approx(254 / feature.maximum, rel=2 ** -10)
        assert int(data.zeros) == round(feature.maximum / 2 * 254 / feature.maximum)
    assert not bool(sums[known["first"]].data.zeros.any())


def test_groups_of_a_grouped_convolution_have_scales_whatever_the_recipe():
    mrt, known = configured({"second_input": group_wise(4), "second_weight": group_wise(4, weight=True)}, "original")
    sums, feature = weighted_sums(mrt)[known["second"]], mrt.features[known["second_input"]]
    assert isinstance(feature, ALFeature) and len(feature.get()) == 4
    wanted = [127 / value for value in feature.get()]
    assert sums.data.scales.tolist() == pytest.approx(wanted, rel=2 ** -8)
    weight = Net().second.weight.double()
    own = 127 / weight.flatten(1).abs().amax(1)
    assert torch.allclose(sums.scales / sums.data.scales, own, rtol=1e-6)


def test_groups_of_a_weight_share_a_scale():
    weight = draw(6, 2, 3, 3) * torch.arange(1, 7).reshape(-1, 1, 1, 1)
    module = graph(lambda e, x: e.call(aten.conv2d.default, x, e.constant("w", weight), None, [1, 1], [0, 0], [1, 1],
                                       2), (2, 4, 5, 5))
    data = draw(2, 4, 5, 5)
    for own, shared in ((group_wise(2, True), 3), (GROUPED, 3), ({"gn_info": {"gn_type": "layer-wise"}}, 6), ({}, 1)):
        model = integer_model(module, data, configuration={"w": own} if own else {})
        largest = weight.flatten(1).abs().amax(1).reshape(-1, shared).amax(1).repeat_interleave(shared)
        integers = model.module.get_buffer(model.node("conv2d").args[1].target)
        assert torch.equal(integers.double(), (weight * (127 / largest).reshape(-1, 1, 1, 1)).round())


def test_an_optimizor_of_a_weight_clips_it():
    """MSE cuts off the one weight that is far from the others; the default optimizor keeps it."""
    weight = draw(4, 3, 3, 3, magnitude=0.1)
    weight[0, 0, 0, 0] = 10.0
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False)).eval()
    with torch.no_grad():
        net[0].weight.copy_(weight)
    model = Model.from_torch(net, DATA[:2])
    model.prepare((1, 3, 6, 6))
    mrt = MRT(model)
    mrt.set_data(DATA)
    name = next(node.name for node in model.module.graph.nodes if node.op == "get_attr")
    mrt.set_cfg_dict({name: {"opt_info": ("Percentile", "percentile", 98.0)}})
    mrt.calibrate()
    threshold = mrt.features[name].get_threshold()
    assert threshold < 1
    (sums,) = weighted_sums(mrt).values()
    assert float((sums.whole_kernel / (sums.scales / sums.data.scales).reshape(-1, 1, 1, 1)).max()) <= threshold * 1.001


def test_channel_wise_nodes_are_sliced_and_features_dropped():
    mrt = fresh()
    before, known = mrt.model, names(mrt)
    mrt.calibrate()
    mrt.set_cfg_dict({known["first"]: {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": 1}}})
    assert mrt.model is not before and not mrt.features and not mrt.operand_features and mrt.current_model is mrt.model
    with pytest.raises(CalibrationError):
        mrt.quantize()
    mrt.calibrate()
    assert operators(mrt.quantize().module).count("conv2d") == 4
    expected = Net().eval()(DATA).detach()
    assert float((mrt.current_model(DATA) - expected).norm() / expected.norm()) < 0.05
    mrt.set_cfg_dict({})
    assert mrt.model is before and not mrt.features


def test_the_next_calibration_replaces_what_was_configured_since():
    mrt = fresh()
    known = names(mrt)["dense_input"]
    mrt.calibrate()
    wide, others = mrt.features[known].get_threshold(), dict(mrt.features)
    mrt.set_cfg_dict({known: {"opt_info": ("Percentile", "percentile", 60.0)}})
    assert mrt.features == others
    mrt.calibrate()
    assert isinstance(mrt.features[known], AFeature) and mrt.features[known].get_threshold() < wide
    assert {name: feature for name, feature in mrt.features.items() if name != known} == {
        name: feature for name, feature in others.items() if name != known}
    once = mrt.features[known]
    mrt.calibrate()
    assert mrt.features[known] == once
    mrt.set_cfg_dict({})
    mrt.calibrate()
    assert mrt.features == others


@pytest.mark.parametrize("keywords", [{"lambd": 2.0}, {"observer": AbsmaxObserver}])
def test_other_nodes_keep_the_observers_that_are_asked_for(keywords):
    mrt, plain = fresh(), fresh()
    known = names(mrt)["dense_input"]
    mrt.set_cfg_dict({known: AFFINE})
    mrt.calibrate(**keywords)
    plain.calibrate(**keywords)
    assert isinstance(mrt.features.pop(known), MMFeature)
    assert mrt.features == {name: feature for name, feature in plain.features.items() if name != known}


def test_save_and_load_keep_the_configuration(tmp_path):
    mrt, known = configured({"second_input": group_wise(4), "dense_weight": AFFINE,
                             "first": {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": 1},
                                       "opt_info": {"opt_type": "MovingAverage", "c": 0.5}}})
    expected = mrt.quantize()(DATA)
    mrt.save("net", tmp_path)
    again = MRT.load("net", tmp_path)
    assert (again.settings, again.features, again.buffers) == (mrt.settings, mrt.features, mrt.buffers)
    assert again.settings.configuration[known["dense_weight"]] == AFFINE
    assert torch.equal(again.quantize()(DATA), expected)
    again.set_data(DATA)
    again.calibrate()
    assert again.features == mrt.features


def test_buffers_tell_what_integers_mean(tmp_path):
    mrt, known = configured({})
    assert mrt.buffers == {}
    mrt.quantize()
    assert isinstance(mrt.buffers[known["first"]], SLBuffer) and len(mrt.buffers[known["first"]].get()) == 8
    assert mrt.buffers[known["dense"]] == SBuffer(mrt.get_output_scales()[0])
    placeholder = next(node for node in mrt.model.module.graph.nodes if node.op == "placeholder")
    assert mrt.buffers[placeholder.name] == SBuffer(mrt.get_inputs_ext()[placeholder.name]["scale"])
    mrt.save("net", tmp_path)
    written = json.loads((tmp_path / "net.mrt.ext").read_text().splitlines()[5])
    assert written == {name: json.loads(json.dumps(buffer.serialize())) for name, buffer in mrt.buffers.items()}
    lines = (tmp_path / "net.mrt.ext").read_text().splitlines()
    (tmp_path / "net.mrt.ext").write_text("\n".join([*lines[:5], '{"a": ["Nothing", 1.0]}']) + "\n")
    with pytest.raises(InvalidFileError):
        MRT.load("net", tmp_path)


def test_settings_round_trip():
    settings = QuantizationSettings(configuration={"w": {**AFFINE, "opt_info": ("MovingAverage", "c", 1)}})
    assert settings.configuration["w"]["opt_info"] == ("MovingAverage", "c", 1.0)
    assert QuantizationSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize("own", [{"quant_type": "Nothing"}, {"gn_info": {"gn_type": "row-wise"}}, {"nothing": 1},
                                 {"opt_info": ("Nothing",)}, {"opt_info": ("MovingAverage", "d", 1.0)},
                                 {"opt_info": ("MovingAverage", "c", "1")},
                                 {"quant_type": "GroupConv", "opt_info": ("KLDivergence",)}])
def test_a_bad_configuration_is_refused_and_changes_nothing(own):
    mrt = fresh()
    before = mrt.settings
    with pytest.raises(InvalidArgumentError):
        mrt.set_cfg_dict({names(mrt)["first"]: own})
    with pytest.raises(InvalidArgumentError):
        QuantizationSettings(configuration={"w": own})
    assert mrt.settings is before


@pytest.mark.parametrize("name, own, words", [
    ("second_input", group_wise(3), "divide"), ("second_weight", group_wise(3, True), "divide its output channels")])
def test_groups_that_do_not_fit_are_refused(name, own, words):
    mrt = fresh()
    mrt.set_cfg_dict({names(mrt)[name]: own})
    with pytest.raises(InvalidArgumentError, match=words):
        mrt.calibrate()
        mrt.quantize()


def test_groups_of_another_convolution_are_refused():
    weight = draw(6, 2, 1, 1)
    module = prepare(graph(lambda e, x: e.call(aten.conv2d.default, e.call(aten.mul.Tensor, x, x, name="a"),
                                               e.constant("w", weight), None, [1, 1], [0, 0], [1, 1], 3), (2, 6, 4, 4)))
    with pytest.raises(InvalidArgumentError, match="must be those of the convolution"):
        integer_model(module, draw(2, 6, 4, 4), calibrated_of(module, draw(2, 6, 4, 4)),
                      configuration={"a": group_wise(2)})


def test_nothing_configured_is_the_recipe():
    """An empty configuration, and names that the graph does not have, change no integer."""
    weight, data = draw(4, 3, 3, 3), draw(2, 3, 6, 6)
    module = graph(lambda e, x: e.call(aten.conv2d.default, x, e.constant("w", weight), None, [1, 1], [0, 0], [1, 1],
                                       1), data.shape)
    models = [integer_model(module, data, recipe=recipe, configuration=own)(data)
              for recipe in RECIPES for own in ({}, {"nobody": AFFINE})]
    assert all(torch.equal(models[i], models[i + 1]) for i in range(0, len(models), 2))


@pytest.mark.parametrize("wanted, count", [(2, 2), (4, 4), (8, 4), (1, 1)])
def test_coarser_and_finer_groups_than_those_of_the_convolution(wanted, count):
    """Scales are those the convolution can tell apart: each of its groups has one."""
    mrt, known = configured({"second_input": group_wise(wanted)}, "original")
    data = weighted_sums(mrt)[known["second"]].data
    assert len(data.scales) == count and not bool(data.zeros.any())
    largest = torch.relu(Net().first(DATA)).detach().transpose(0, 1).reshape(count, -1).amax(1)
    assert data.scales.tolist() == pytest.approx((127 / largest).tolist(), rel=2 ** -8)
