"""Features, optimizors and observers of the user through MRT, to deployed integers. Oracles: numpy on the activations,
and the deployed files.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mrt_torch import MRT, AFeature, Model, load_real_data
from mrt_torch.calibration import Observer
from mrt_torch.calibration.features import FEATURES, Feature, MMFeature, register_feature
from mrt_torch.calibration.optimizor import OPTIMIZORS
from mrt_torch.calibration.optimizors import Optimizor, register_optimizor
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from tests.end_to_end.following import Followed, check_deployed, check_values

DATA = torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def registered():
    """What a test registers is gone after it."""
    features, optimizors = dict(FEATURES), dict(OPTIMIZORS)
    yield
    for registry, before in ((FEATURES, features), (OPTIMIZORS, optimizors)):
        for name in registry.keys() - before.keys():
            del registry[name]


def network() -> tuple[Model, list[np.ndarray]]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Flatten(),
                           nn.Linear(64, 3)).eval()
    model = Model.from_torch(module, DATA[:2])
    model.prepare((2, 3, 6, 6))
    with torch.no_grad():
        return model, [module(DATA).numpy()]


def activation(model: Model) -> tuple[str, torch.Tensor]:
    """The name of the first ReLU, and its values."""
    node = next(n for n in model.module.graph.nodes if n.target is torch.ops.aten.relu.default)

    class Keep(torch.fx.Interpreter):
        def run_node(self, n):
            value = super().run_node(n)
            self.kept = value if n is node else getattr(self, "kept", None)
            return value
    keep = Keep(model.module)
    keep.run(DATA)
    return node.name, keep.kept


def follow(mrt: MRT, expected, folder, bound: float) -> Followed:
    quantized = mrt.quantize()
    integers = load_real_data(DATA, "data", mrt.get_inputs_ext())
    folder = quantized.to_cvm("model", folder, input_shape=tuple(DATA.shape))
    followed = Followed(mrt.model, mrt, quantized, DATA, integers, folder)
    check_values(followed, expected, quantized=bound)
    check_deployed(followed)
    return followed


def test_an_optimizor_of_the_user(tmp_path):
    """It sees each batch with the feature of it; the mean of the batches' magnitudes counts here."""
    @register_optimizor
    class MeanOfBatches(Optimizor):
        name, quant_types, attributes = "MeanOfBatches", ("UniformSymmetric",), {"share": (1.0, (float,))}

        def get_opt(self, raw_ft, out, *, hist_ft=None, name=None, logger=None):
            assert float(np.abs(np.asarray(out)).max()) == pytest.approx(raw_ft.get())
            return AFeature(self.share * raw_ft.get() if hist_ft is None else (hist_ft.get() + raw_ft.get()) / 2)

    model, expected = network()
    name, values = activation(model)
    mrt = model.get_mrt()
    mrt.set_cfg_dict({name: {"quant_type": "UniformSymmetric", "opt_info": ("MeanOfBatches", "share", 1.0)}})
    mrt.set_data([DATA[:8], DATA[8:]])
    mrt.calibrate()
    halves = [float(half.abs().max()) for half in values.split(8)]
    assert mrt.features[name] == AFeature(float(np.mean(halves)))
    follow(mrt, expected, tmp_path, 0.05)
    with pytest.raises(InvalidArgumentError, match="is registered already"):
        register_optimizor(MeanOfBatches)


def test_an_observer_with_a_range_gives_zero_points(tmp_path):
    """The same graph as by default: a subtraction before the shift. Magnitudes alone have none."""
    class Quantiles(Observer):
        def __init__(self):
            super().__init__()
            self.register_buffer("ends", torch.zeros(2))

        def measure(self, tensor):
            values = tensor.flatten().float()
            self.ends = torch.stack([torch.minimum(self.ends[0], values.quantile(0.001)),
                                     torch.maximum(self.ends[1], values.quantile(0.999))])
            return values.abs().amax()

        def feature(self):
            self.check()
            return MMFeature(*self.ends.tolist())

    model, expected = network()
    name, values = activation(model)
    mrt = model.get_mrt()
    mrt.set_data(DATA)
    mrt.calibrate(observer=Quantiles)
    wanted = np.quantile(values.numpy(), 0.999)
    assert mrt.features[name] == MMFeature(0.0, mrt.th_dict[name]) and mrt.th_dict[name] == pytest.approx(wanted, 1e-5)
    mrt.set_th_dict({**mrt.th_dict, "data": float(DATA.abs().max())})
    assert "broadcast_sub" in follow(mrt, expected, tmp_path, 0.1).operators()


def test_a_feature_of_the_user_is_kept_in_files(tmp_path):
    """What get_range says of it is its range; in another session it must be registered."""
    @register_feature
    class Spread(Feature):
        """A mean and the distance to both ends."""

        name = "Spread"

        def __init__(self, mean, reach):
            self.mean, self.reach = float(mean), float(reach)

        def get(self):
            return self.mean, self.reach

        def get_threshold(self):
            return abs(self.mean) + self.reach

        def get_range(self):
            return self.mean - self.reach, self.mean + self.reach

        def scaled(self, factor):
            return Spread(self.mean * factor, self.reach * factor)

        def serialize(self):
            return [self.name, self.mean, self.reach]

    class Middle(Observer):
        def __init__(self):
            super().__init__()
            self.register_buffer("ends", torch.zeros(2))

        def measure(self, tensor):
            low, high = torch.aminmax(tensor)
            self.ends = torch.stack([torch.minimum(self.ends[0], low), torch.maximum(self.ends[1], high)])
            return torch.maximum(high, -low)

        def feature(self):
            low, high = self.ends.tolist()
            return Spread((low + high) / 2, (high - low) / 2)

    model, expected = network()
    name, values = activation(model)
    mrt = model.get_mrt()
    mrt.set_data(DATA)
    mrt.calibrate(observer=Middle)
    assert mrt.features[name].get_range() == pytest.approx((0.0, float(values.max())))
    follow(mrt, expected, tmp_path, 0.02)
    mrt.save("net", tmp_path)
    again = MRT.load("net", tmp_path)
    assert again.features == mrt.features
    assert torch.equal(again.quantize()(DATA), mrt.quantize()(DATA))
    mrt.set_threshold(name, 0.5)
    assert mrt.th_dict[name] == pytest.approx(0.5)
    del FEATURES["Spread"]
    with pytest.raises(InvalidFileError, match="Spread"):
        MRT.load("net", tmp_path)
