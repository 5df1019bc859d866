"""Configurations by ``MRT.set_cfg_dict``, each to deployed integers.

Oracles: the float model; the deployed files; MXNet in float64 on exported integers; the real runtime.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import nn

from mrt_torch import MRT, Model, load_real_data
from tests.end_to_end.declared import only_declared_operators
from tests.end_to_end.following import Followed, check_deployed, check_mxnet, check_runtime, check_values

DATA = torch.randn(4, 3, 8, 9, generator=torch.Generator().manual_seed(0))
WITHIN = 0.02  # 8-bit operands and inputs; the worst has 0.006
aten = torch.ops.aten


class Net(nn.Module):
    """Convolutions of all kinds, a residual sum, a difference, a product, a maximum, a concatenation and a softmax."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.plain = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 12, (1, 2), groups=4, bias=False)
        self.dense = nn.Linear(24, 6)
        with torch.no_grad():
            self.plain.weight *= torch.tensor([1, 4] * 4).reshape(-1, 1, 1, 1)
            for layer in (self.plain, self.depthwise, self.grouped, self.dense):
                layer.weight += 0.5 * layer.weight.abs().mean()

    def forward(self, x):
        x = torch.relu(self.plain(x))
        y = torch.sigmoid(self.depthwise(x)) * x
        z = torch.relu(self.grouped(torch.maximum(x + y, x - y)))
        z = torch.cat([z.mean((2, 3)), z.sum((2, 3)) / 100], 1)
        return torch.softmax(torch.relu(self.dense(z)), 1)


SYMMETRIC, AFFINE = {"quant_type": "UniformSymmetric"}, {"quant_type": "UniformAffine"}
LAYER_WISE = {"gn_info": {"gn_type": "layer-wise"}}
WEIGHTS = "re:.*weight"


def channel_wise(step: int) -> dict:
    return {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": step}}


def group_wise(groups: int, weight: bool) -> dict:
    return {"quant_type": "GroupConv", "gn_info": {"gn_type": "group-wise", "num_groups": groups, "is_weight": weight}}


#: By name: the recipe, and the configuration by the names that ``named`` knows.
CONFIGURATIONS = {
    "per channel": ("default", {}),
    "symmetric": ("default", {"_RES_": SYMMETRIC}),
    "symmetric, layer-wise": ("default", {WEIGHTS: {**SYMMETRIC, **LAYER_WISE}, "_RES_": SYMMETRIC}),
    "affine": ("default", {"_RES_": AFFINE}),
    "affine, layer-wise": ("original", {WEIGHTS: {**AFFINE, **LAYER_WISE}, "_RES_": AFFINE}),
    "affine weights": ("original", {WEIGHTS: AFFINE}),
    "channel-wise": ("default", {"plain": channel_wise(1), "grouped": channel_wise(1), "dense": channel_wise(8)}),
    "channel-wise, affine": ("original", {"plain": channel_wise(1), "dense": channel_wise(12), "_RES_": AFFINE}),
    "group-wise": ("original", {"into_depthwise": group_wise(8, False), "depthwise_weight": group_wise(8, True),
                                "into_grouped": group_wise(4, False), "grouped_weight": group_wise(4, True)}),
}


def named(configuration: dict, model: Model) -> dict:
    """The configuration with the names that the graph has for the layers, their weights and what they read."""
    nodes = {}
    layers = (node for node in model.module.graph.nodes if node.target in (aten.conv2d.default, aten.linear.default))
    for name, node in zip(("plain", "depthwise", "grouped", "dense"), layers, strict=True):
        nodes |= {name: node.name, f"into_{name}": node.args[0].name, f"{name}_weight": node.args[1].name}
    return {nodes.get(key, key): value for key, value in configuration.items()}


@lru_cache
def quantized(name: str) -> tuple[MRT, Model]:
    model = Model.from_torch(Net().eval(), DATA[:2])
    model.prepare((1, *DATA.shape[1:]))
    recipe, configuration = CONFIGURATIONS[name]
    mrt = MRT(model, accuracy=recipe)
    mrt.set_cfg_dict(named(configuration, model))
    mrt.set_data([DATA[:2], DATA[2:]])
    mrt.calibrate()
    with only_declared_operators():
        return mrt, mrt.quantize()


def followed(name: str, folder: Path) -> Followed:
    """That model, deployed."""
    mrt, result = quantized(name)
    integers = load_real_data(DATA, "data", mrt.get_inputs_ext())
    deployed = result.to_cvm("model", folder, input_shape=tuple(DATA.shape))
    return Followed(mrt.model, mrt, result, DATA, integers, deployed)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_deployed_integers_are_those_of_the_graph(name, tmp_path):
    result = followed(name, tmp_path)
    with torch.no_grad():
        check_values(result, [Net().eval()(DATA).numpy()], quantized=WITHIN)
    check_deployed(result)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_mxnet_computes_the_same_integers(name, tmp_path, mxnet):
    check_mxnet(followed(name, tmp_path), tmp_path)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_runtime_computes_the_same_integers(name, tmp_path):
    check_runtime(followed(name, tmp_path))


def test_configurations_make_different_models():
    """So that the tests above follow different graphs."""
    outputs = [quantized(name)[1](DATA) for name in CONFIGURATIONS]
    for position, output in enumerate(outputs):
        assert not any(torch.equal(output, other) for other in outputs[:position])


def test_affine_weights_and_activations_are_in_the_graph():
    """Weights of 8 bits beside a kernel of ones for each group, whose sums are multiplied by the zero points."""
    _, result = quantized("affine")
    module = result.module
    kernels = [node.args[1] for node in module.graph.nodes
               if node.op == "call_function" and node.target._opname in ("conv2d", "dense")]
    tensors = [module.get_buffer(node.target) for node in kernels]
    assert [len(tensor) for tensor in tensors] == [8, 1, 8, 8, 12, 4, 6, 1]
    assert all(bool((tensor == 1).all()) for tensor in tensors[1::2])
    assert all(int(tensor.abs().max()) == 127 for tensor in tensors[::2])
