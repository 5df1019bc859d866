"""Calibration by configuration. Oracle: the activations themselves, batch by batch."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from mrt_torch.calibration import (
    AbsmaxObserver,
    AFeature,
    ALFeature,
    Calibrator,
    MMFeature,
    Optimizor,
    register_optimizor,
)
from mrt_torch.calibration.optimizors import OPTIMIZORS
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from mrt_torch.passes import sym_calibrate, sym_config_infos, sym_slice_channel
from mrt_torch.passes.calibrate import CalibratedFeatures
from mrt_torch.quantization.quantizers import QUANTIZERS, USQuantizer, register_quantizer
from tests.mrt_torch.ops.graphs import aten, draw, graph
from tests.mrt_torch.small_models import images, prepared

BATCHES = [images(4, seed=seed) for seed in (1, 2, 3)]
CHANNELS = {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": 2}}


class Activations(fx.Interpreter):
    """Keeps the value of every node."""

    def __init__(self, module):
        super().__init__(module, garbage_collect_values=False)
        self.values = {}

    def run_node(self, node):
        self.values[node.name] = super().run_node(node)
        return self.values[node.name]


def activations(module) -> list[dict[str, torch.Tensor]]:
    """Values of all nodes for each batch."""
    found = []
    for batch in BATCHES:
        run = Activations(module)
        run.run(batch)
        found.append(run.values)
    return found


def default_features(module) -> dict:
    calibrator = Calibrator(module)
    calibrator.run(BATCHES, torch.device("cpu"))
    return calibrator.features()


@pytest.mark.parametrize("configuration", [None, {}, {"conv0": {"gn_info": {"gn_type": "layer-wise"}}}])
def test_nodes_without_quantizer_and_optimizor_are_calibrated_by_default(configuration):
    """Oracle: the Calibrator as MRT uses it, with its ranges of operands and its sample."""
    model = prepared()
    features = sym_calibrate(model, None, BATCHES, configuration)
    assert features == default_features(model.module)
    calibrated = features.calibrated()
    assert ("relu1", 1) not in calibrated.operand_features and ("pool0", 1) in calibrated.operand_features
    assert len(calibrated.sample) == sum(map(len, BATCHES))


def test_a_configured_node_has_the_feature_of_its_quantizer():
    """Historical value: the extremes of all batches, by the quantizer's kind; the rest stays as by default."""
    module = prepared().module
    features = sym_calibrate(module, {}, BATCHES, {"op:Convolution": {"quant_type": "UniformSymmetric"},
                                                   "op:relu": {"quant_type": "UniformAffine"}})
    seen = activations(module)
    for name in ("conv0", "conv1"):
        assert features[name] == AFeature(max(float(values[name].abs().max()) for values in seen))
    for name in ("relu0", "relu1"):
        assert features[name] == MMFeature(0.0, max(float(values[name].max()) for values in seen))
    rest = default_features(module)
    assert all(features[name] == rest[name] for name in ("data", "pool0", "features", "dense"))


def test_the_whole_documented_pipeline_calibrates_every_node_symmetrically():
    """sym_config_infos fills in UniformSymmetric and HistoricalValue: MRT's thresholds. mrt-core 4: largest magnitudes.
    """
    model = prepared()
    features = sym_calibrate(model, None, BATCHES, sym_config_infos(model, None))
    seen = activations(model.module)
    assert features == {name: AFeature(max(float(values[name].abs().max()) for values in seen)) for name in features}
    assert features.calibrated().operand_features == {}


def test_moving_averages_remember_the_batches_before():
    """(1 - c) * history + c * new, after the first; in the original each batch replaced the one before."""
    module = prepared().module
    features = sym_calibrate(module, None, BATCHES, {"conv1": {"opt_info": ("MovingAverage", "c", 0.25)}})
    average = None
    for values in activations(module):
        new = float(values["conv1"].abs().max())
        average = new if average is None else 0.75 * average + 0.25 * new
    assert features["conv1"].get_threshold() == pytest.approx(average, rel=1e-6), "statistics are float32 or better"


def test_data_is_read_once():
    reads = []

    class Once:
        def __iter__(self):
            reads.append(1)
            return iter(BATCHES)

    sym_calibrate(prepared(), None, Once(), {"_RES_": {"opt_info": {"opt_type": "HistoricalValue"}}})
    assert reads == [1]


def test_params_replace_the_weights():
    """Doubled first weights and biases double what the first convolution gives."""
    model = prepared()
    tensors = {name: 2 * getattr(model.module, name) for name in ("conv0_weight", "conv0_bias")}
    plain, doubled = (sym_calibrate(model, params, BATCHES, {"conv0": {"quant_type": "UniformSymmetric"}})
                      for params in (None, tensors))
    assert doubled["conv0"].get() == 2 * plain["conv0"].get()


def test_slices_are_calibrated_by_themselves():
    """Channel-wise granularity: each slice of the input has a range of its own."""
    model, configuration = prepared(), {"conv1": CHANNELS, "_RES_": {"quant_type": "UniformSymmetric"}}
    sliced, params = sym_slice_channel(model, None, configuration)
    features = sym_calibrate(sliced, params, BATCHES, configuration)
    seen = activations(model.module)
    for begin in (0, 2):
        part = max(float(values["pool0"][:, begin:begin + 2].abs().max()) for values in seen)
        assert features[f"conv1_x{begin}"].get_threshold() == part


def test_a_channel_wise_node_must_be_sliced_before():
    with pytest.raises(InvalidArgumentError, match="sliced before calibration(.|\n)*'conv1'(.|\n)*sym_slice_channel"):
        sym_calibrate(prepared(), None, BATCHES, {"conv1": CHANNELS})


def test_several_inputs_may_come_by_name():
    """As for MRT.set_data: a Model that joined its inputs joins the data too."""
    from mrt_torch import Model

    class Sum(torch.nn.Module):
        def forward(self, a, b):
            return a + b

    model = Model.from_torch(Sum(), (torch.zeros(2, 3), torch.zeros(2, 3)))
    model.prepare()
    names = list(model.joined.shapes)
    data = {name: torch.full((4, 3), value) for name, value in zip(names, (1.0, 2.5), strict=True)}
    features = sym_calibrate(model, None, data, None)
    assert features[next(iter(features))].get_threshold() == 2.5


def test_a_feature_that_is_replaced_counts_alone():
    """What the defaults know of the operand besides would outweigh it."""
    features = sym_calibrate(prepared(), None, BATCHES, None)
    assert isinstance(features, CalibratedFeatures) and ("pool0", 1) in features.calibrated().operand_features
    features["pool0"] = AFeature(1.0)
    calibrated = features.calibrated()
    assert calibrated.features["pool0"] == AFeature(1.0) and ("pool0", 1) not in calibrated.operand_features
    del features["features"]
    assert "features" not in features.calibrated().features


@pytest.mark.parametrize("data, message", [([], "no calibration data"), (images(2)[:, :2], "wrong shape"),
                                           (images(2) * float("nan"), "not finite")])
def test_bad_data(data, message):
    with pytest.raises(CalibrationError, match=message):
        sym_calibrate(prepared(), None, data, None)


def test_an_optimizor_may_count_the_tensor_as_a_whole_before_a_grouped_convolution():
    """Whose default observer counts each channel."""
    def build(editor, x):
        weight = editor.constant("weight", draw(4, 1, 3, 3, dtype=torch.float32))
        x = editor.call(aten.relu.default, x, name="act")
        return editor.call(aten.conv2d.default, x, weight, None, [1, 1], [1, 1], [1, 1], 4, name="depthwise")

    module = graph(build, (2, 4, 5, 5), dtype=torch.float32)
    data = draw(3, 4, 5, 5, dtype=torch.float32)
    for optimizor in ("KLDivergence", "Percentile", "MSE"):
        features = sym_calibrate(module, None, data, {"act": {"opt_info": {"opt_type": optimizor}}})
        assert isinstance(features["act"], AFeature) and 0 < features["act"].get() <= 1
    grouped = {"gn_info": {"gn_type": "group-wise", "num_groups": 2, "is_weight": False}, "quant_type": "GroupConv"}
    features = sym_calibrate(module, None, data, {"act": grouped})
    expected = torch.relu(data).amax((0, 2, 3)).reshape(2, 2).amax(1).tolist()
    assert features["act"] == ALFeature(expected)


def test_optimizors_and_quantizers_of_the_user_are_configured_by_name():
    """Oracle: half of the largest magnitude of each batch, the larger of which counts."""
    known, quantizers = dict(OPTIMIZORS), dict(QUANTIZERS)
    try:
        @register_quantizer
        class Halved(USQuantizer):
            name = "HalvedSymmetric"

        @register_optimizor
        class Half(Optimizor):
            name, quant_types, attributes = "Half", (Halved.name,), {"share": (0.5, (float,))}

            def make_observer(self, quant_type, node=None):
                return AbsmaxObserver()

            def optimize(self, observer, quant_type, groups=None):
                return AFeature(self.share * observer.result())

        module = prepared().module
        features = sym_calibrate(module, None, BATCHES, {
            "conv0": {"quant_type": "HalvedSymmetric", "opt_info": {"opt_type": "Half"}}})
        largest = max(float(values["conv0"].abs().max()) for values in activations(module))
        assert features["conv0"] == AFeature(0.5 * largest)
        with pytest.raises(InvalidArgumentError, match="'Half' does not support the quantizer 'UniformAffine'"):
            sym_calibrate(module, None, BATCHES, {"conv0": {"quant_type": "UniformAffine", "opt_info": ("Half",)}})
    finally:
        for registry, before in ((OPTIMIZORS, known), (QUANTIZERS, quantizers)):
            for name in registry.keys() - before.keys():
                del registry[name]
