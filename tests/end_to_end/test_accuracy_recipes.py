"""Every recipe and every means against the loss of accuracy, from float to deployed integers.

Oracles: the float model; the deployed files; MXNet in float64 on exported integers; the real runtime.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import nn

from mrt_torch import MRT, Model, load_real_data
from mrt_torch.graph.facts import facts_of
from tests.end_to_end.declared import only_declared_operators
from tests.end_to_end.following import Followed, check_deployed, check_mxnet, check_runtime, check_values


class Mobile(nn.Module):
    """Depthwise convolutions, ReLU6, a residual sum, unequal channels: half of them a hundred times as large."""

    row = (3, 12, 10)

    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.grouped = nn.Conv2d(8, 12, 3, groups=2)
        self.head = nn.Linear(12, 5)
        with torch.no_grad():
            unequal = torch.tensor([1.0, 100.0] * 4)
            self.depthwise.weight *= unequal.reshape(-1, 1, 1, 1)
            self.depthwise.bias *= unequal
            self.pointwise.weight /= unequal.reshape(1, -1, 1, 1)
            self.stem_norm.running_mean += torch.rand(8) - 0.5
            self.stem_norm.running_var += torch.rand(8)

    def forward(self, x):
        x = nn.functional.relu6(self.stem_norm(self.stem(x)))
        x = x + self.pointwise(torch.relu(self.depthwise(x)))
        return self.head(torch.relu(self.grouped(x)).mean((2, 3)))


class Sequence(nn.Module):
    """1-D convolutions, dilated and strided, LeakyReLU and sigmoid, a long dense layer and two outputs."""

    row = (4, 30)

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(4, 6, 5, padding=4, dilation=2), nn.Conv1d(6, 8, 3, stride=2)
        self.wide, self.last = nn.Linear(8 * 14, 700), nn.Linear(700, 3)

    def forward(self, x):
        x = nn.functional.leaky_relu(self.first(x), 0.1)
        x = torch.sigmoid(self.second(x))
        hidden = torch.tanh(self.wide(x.flatten(1)))
        return self.last(hidden), x


NETWORKS = {"mobile": Mobile, "sequence": Sequence}
# name: recipe, budget, bits of weights, of the input, of operands by operator; relative error that is left
CHOICES = {
    "original": ("original", None, 8, 8, {}, 0.1),
    "default": ("default", None, 8, 8, {}, 0.02),
    "best": ("best", None, 8, 8, {}, 0.02),
    "best, all operands wide": ("best", 2.0, 8, 8, {}, 0.016),
    "12-bit operands": ("default", None, 8, 12, {"Convolution": 12, "FullyConnected": 12}, 0.012),
    "15-bit operands": ("original", None, 8, 16, {"Convolution": 15, "FullyConnected": 15}, 0.05),
    "6-bit weights": ("default", None, 6, 8, {}, 0.05),
    "4-bit weights, best": ("best", 1.0, 4, 8, {}, 0.15),
}


@lru_cache
def network(name: str) -> tuple[Model, torch.Tensor, list]:
    """The network prepared, its data, and its outputs in float."""
    torch.manual_seed(0)
    module = NETWORKS[name]().eval()
    data = torch.randn(16, *module.row)
    with torch.no_grad():
        outputs = module(data[:4])
    model = Model.from_torch(module, data[:2])
    model.prepare((1, *module.row))
    return model, data, [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


@lru_cache
def quantized(name: str, choice: str) -> MRT:
    recipe, budget, weights, inputs, operators, _ = CHOICES[choice]
    model, data, _ = network(name)
    mrt = MRT(model, input_prec=inputs)
    mrt.set_accuracy(recipe, budget)
    mrt.set_weight_precision(weights)
    for operator, bits in operators.items():
        mrt.set_op_input_prec(operator, bits)
    mrt.set_data(data)
    mrt.calibrate()
    with only_declared_operators():
        mrt.quantize()
    return mrt


def followed(name: str, choice: str, folder: Path) -> Followed:
    mrt, data = quantized(name, choice), network(name)[1][:4]
    result = mrt.current_model
    deployed = result.to_cvm("model", folder, input_shape=tuple(data.shape))
    return Followed(mrt.model, mrt, result, data, load_real_data(data, "data", mrt.get_inputs_ext()), deployed)


both = pytest.mark.parametrize("name", NETWORKS)


@both
@pytest.mark.parametrize("choice", CHOICES)
def test_the_deployed_integers_are_those_of_the_graph(name, choice, tmp_path):
    result = followed(name, choice, tmp_path)
    check_values(result, network(name)[2], quantized=CHOICES[choice][-1])
    check_deployed(result)


@both
@pytest.mark.parametrize("choice", CHOICES)
def test_mxnet_computes_the_same_integers(name, choice, tmp_path, mxnet):
    check_mxnet(followed(name, choice, tmp_path), tmp_path)


@pytest.mark.cvm_runtime
@both
@pytest.mark.parametrize("choice", CHOICES)
def test_the_runtime_computes_the_same_integers(name, choice, tmp_path):
    check_runtime(followed(name, choice, tmp_path))


def products(name: str, choice: str) -> list:
    """The convolutions and dense layers of an integer graph."""
    return [node for node in quantized(name, choice).current_model.module.graph.nodes
            if node.op == "call_function" and node.target._opname in ("conv2d", "dense")]


@both
@pytest.mark.parametrize("choice", CHOICES)
def test_all_products_are_of_8_bits(name, choice):
    """Whatever the recipe: operands as the runtime takes them, and weights of the bits that were asked for."""
    weights = CHOICES[choice][2]
    for node in products(name, choice):
        assert facts_of(node.args[0]).precision <= 8 and facts_of(node.args[1]).precision <= weights


@both
def test_the_cost_is_what_the_recipe_allows(name):
    """Multiply-accumulates: none more by default, a quarter for best, all of them where the budget says so."""
    def cost(choice):
        return sum(node.meta["val"][0].numel() * node.args[1].meta["val"][0].numel() for node in products(name, choice))
    plain = cost("original")
    assert cost("default") == cost("6-bit weights") == plain
    assert plain <= cost("best") <= 1.25 * plain
    assert 1.25 * plain < cost("best, all operands wide") <= 2 * plain
    assert cost("15-bit operands") == cost("12-bit operands") == 2 * plain


@both
def test_each_recipe_gains(name):
    """Relative errors of the first output, in the order of the means that are used."""
    data, exact = network(name)[1][:4], torch.from_numpy(network(name)[2][0])
    errors = []
    for choice in ("original", "default", "best, all operands wide"):
        outputs = quantized(name, choice).current_model(data)
        seen = outputs[0] if isinstance(outputs, tuple) else outputs
        errors.append(float((seen - exact).norm() / exact.norm()))
    assert errors[0] > errors[1] > 1.2 * errors[2]
