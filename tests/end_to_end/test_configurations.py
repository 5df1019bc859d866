"""Every kind of configuration by node, through the documented stages, to deployed integers.

Oracles: the float model; the deployed files; MXNet in float64 on exported integers; the real runtime.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import nn

from mrt_torch import Model, load_real_data
from mrt_torch.passes import (
    sym_calibrate,
    sym_config_infos,
    sym_separate_bias,
    sym_separate_pad,
    sym_slice_channel,
)
from mrt_torch.passes.generalized import quantize
from tests.end_to_end.following import Followed, check_deployed, check_mxnet, check_runtime, check_values
from tests.end_to_end.models import as_tuple

DATA = torch.randn(4, 3, 8, 9, generator=torch.Generator().manual_seed(0))
WITHIN = 0.05  # 8-bit inputs, and channels that differ by 16, which a scale for the tensor serves badly


class Net(nn.Module):
    """A plain, a depthwise and a grouped convolution whose channels differ in range, and a dense layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.plain = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=(0, 1), stride=(2, 1), groups=8)
        self.grouped = nn.Conv2d(8, 12, (1, 2), groups=4, bias=False)
        self.dense = nn.Linear(12, 6)
        with torch.no_grad():
            self.plain.weight *= torch.tensor([1, 4] * 4).reshape(-1, 1, 1, 1)

    def forward(self, x):
        x = torch.relu(self.plain(x))
        x = nn.functional.leaky_relu(self.depthwise(x), 0.1)
        return self.dense(torch.relu(self.grouped(x)).mean((2, 3)))


def channel_wise(step: int) -> dict:
    return {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": step}}


def group_wise(groups: int) -> dict:
    return {"quant_type": "GroupConv", "gn_info": {"gn_type": "group-wise", "num_groups": groups, "is_weight": False}}


SYMMETRIC, AFFINE = {"quant_type": "UniformSymmetric"}, {"quant_type": "UniformAffine"}
CONFIGURATIONS = {
    "nothing": {},
    "symmetric": {"_RES_": SYMMETRIC},
    "affine": {"_RES_": AFFINE},
    "channel-wise": {"plain": channel_wise(1), "depthwise": channel_wise(1), "grouped": channel_wise(2),
                     "dense": channel_wise(4)},
    "channel-wise, symmetric": {"op:Convolution": channel_wise(1), "_RES_": SYMMETRIC},
    "group-wise": {"into_depthwise": group_wise(8), "into_grouped": group_wise(4), "_RES_": SYMMETRIC},
    "moving average": {"_RES_": {**AFFINE, "opt_info": {"opt_type": "MovingAverage", "c": 0.5}}},
    "divergence": {"op:relu": {"opt_info": '{"opt_type"; "KLDivergence". "bucket_bit"; 10}'}, "_RES_": SYMMETRIC},
}


@lru_cache
def prepared() -> Model:
    model = Model.from_torch(Net().eval(), DATA[:2])
    model.prepare((1, *DATA.shape[1:]))
    return model


def named(configuration, model: Model) -> dict:
    """The configuration with the names that the graph has for the layers and for what they read."""
    nodes = {}
    for node in model.module.graph.nodes:
        if node.op == "call_function" and len(node.args) > 1 and getattr(node.args[1], "op", "") == "get_attr":
            layer = node.args[1].target.removesuffix("_weight").rpartition("_")[2]
            nodes |= {layer: node.name, f"into_{layer}": node.args[0].name}
    return {nodes.get(key, key): value for key, value in configuration.items()}


@lru_cache
def quantized(name: str, separate: bool = False) -> Model:
    """The documented stages, for a configuration by name; none of them changes what it is given."""
    model, configuration = prepared(), CONFIGURATIONS[name]
    cfg_dict = sym_config_infos(model, None, named(configuration, model)) if configuration else {}
    symbol, params = sym_slice_channel(model, None, cfg_dict)
    if separate:
        symbol, params = sym_separate_bias(*sym_separate_pad(symbol, params))
    features = sym_calibrate(symbol, params, [DATA[:2], DATA[2:]], cfg_dict)
    return quantize(symbol, params, features, {}, {}, cfg_dict, {}, set(), 8, 10.0)[0]


def followed(name: str, folder: Path, separate: bool = False) -> Followed:
    """That model, deployed."""
    result = quantized(name, separate)
    integers = load_real_data(DATA, "data", result.record.inputs)
    deployed = result.to_cvm("model", folder, input_shape=tuple(DATA.shape))
    return Followed(prepared(), None, result, DATA, integers, deployed)


def reference() -> list:
    with torch.no_grad():
        return [output.numpy() for output in as_tuple(Net().eval()(DATA))]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_deployed_integers_are_those_of_the_graph(name, tmp_path):
    result = followed(name, tmp_path)
    check_values(result, reference(), quantized=WITHIN)
    check_deployed(result)


def test_separated_pads_and_biases(tmp_path):
    result = followed("affine", tmp_path, separate=True)
    check_values(result, reference(), quantized=WITHIN)
    check_deployed(result)


@pytest.mark.parametrize("name", ["affine", "channel-wise", "group-wise"])
def test_mxnet_computes_the_same_integers(name, tmp_path, mxnet):
    check_mxnet(followed(name, tmp_path), tmp_path)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_runtime_computes_the_same_integers(name, tmp_path):
    check_runtime(followed(name, tmp_path))


def test_configurations_make_different_models():
    """So that the tests above follow different graphs."""
    outputs = [quantized(name)(DATA) for name in CONFIGURATIONS]
    for position, output in enumerate(outputs):
        assert not any(torch.equal(output, other) for other in outputs[:position])
