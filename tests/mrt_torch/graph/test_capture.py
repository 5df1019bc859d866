"""Capturing modules. Oracle: the module itself at batches 1, 2 and 5, unless a test says otherwise."""

from __future__ import annotations

import importlib.util
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.capture import capture
from mrt_torch.graph.facts import describe, facts_of
from mrt_torch.graph.free_axis import is_batch_free
from mrt_torch.graph.runner import copy_graph_module
from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import (
    Function,
    assert_equal,
    check,
    inputs,
    operators,
    randomise,
)

SHARED = {"resnet20_cifar10": 32, "resnet56_cifar10": 32, "cifarnet_nxp": 32, "mobilenet_v1_025_imagenet": 64}


class PadShortcut(nn.Module):
    """The parameter-free shortcut of the CIFAR ResNets: every other pixel, and channels of zeros."""

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))


class Block(nn.Module):
    def __init__(self, shortcut: nn.Module, inner: int, outer: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer)
        self.conv2, self.bn2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer)
        self.shortcut, self.relu = shortcut, nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu(y)


class ResNet(nn.Module):
    """Two blocks, as small as they come."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(inplace=True))
        self.blocks = nn.ModuleList([Block(nn.Identity(), 4, 4, 1), Block(PadShortcut(), 4, 8, 2)])
        self.dropout, self.fc = nn.Dropout(0.5, inplace=True), nn.Linear(8, 3)

    def forward(self, image):
        x = self.stem(image)
        for block in self.blocks:
            x = block(x)
        return self.fc(self.dropout(F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1)))


@pytest.fixture
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return randomise(ResNet())


def test_resnet(resnet):
    """In-place layers, a strided slice and padded channels; prepared, it differs by float32 rounding only."""
    graph = check(resnet, (3, 8, 8))
    assert is_batch_free(graph)
    prepared = prepare(graph)
    for batch in (1, 2, 5):
        assert_equal(prepared, resnet, inputs([(3, 8, 8)], batch), relative=1e-4)


def test_names(resnet):
    """Inputs, buffers and layers carry the user's names; the counters of batches are gone."""
    graph = check(resnet, (3, 8, 8))
    names = [node.name for node in graph.graph.nodes]
    assert next(node for node in graph.graph.nodes if node.op == "placeholder").name == "image"
    assert {"stem_0", "stem_1", "stem_2", "blocks_0_conv1", "blocks_1_shortcut_pad", "fc"} <= set(names)
    buffers = {node.target: facts_of(node).source_name for node in graph.graph.nodes if node.op == "get_attr"}
    assert buffers["blocks_1_bn2_running_var"] == "blocks.1.bn2.running_var"
    assert set(buffers.values()) == {name for name in resnet.state_dict() if "num_batches" not in name}
    layer = next(node for node in graph.graph.nodes if node.name == "blocks_0_bn1")
    assert facts_of(layer).source_name == "blocks.0.bn1"


def test_metadata(resnet):
    """A node can quote the user's own line, not torch's, and knows its module."""
    graph = check(resnet, (3, 8, 8))
    nodes = {node.name: node for node in graph.graph.nodes}
    assert "y = self.relu(self.bn1(self.conv1(x)))" in describe(nodes["blocks_0_conv1"])
    assert "test_capture.py" in describe(nodes["blocks_0_conv1"])
    assert [path for path, _ in nodes["blocks_0_conv1"].meta["nn_module_stack"].values()][-1] == "blocks.0.conv1"
    assert facts_of(nodes["stem_2"]).source_operator == "aten.hardtanh_.default"


def test_module_is_left_alone(resnet):
    """Bytes, training flags of every part, gradients and identity of the tensors; the graph shares the memory."""
    resnet.train()
    resnet.blocks[0].bn1.eval()
    flags = [part.training for part in resnet.modules()]
    before = {name: tensor.clone() for name, tensor in resnet.state_dict().items()}
    graph = capture(resnet, torch.randn(1, 3, 8, 8))
    assert [part.training for part in resnet.modules()] == flags
    for name, tensor in resnet.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.requires_grad for parameter in resnet.parameters())
    assert graph.fc_weight.data_ptr() == resnet.fc.weight.data_ptr()
    assert not graph.fc_weight.requires_grad


def test_training_flags_after_a_failure():
    module = Function(lambda m, x: x if x.sum() > 0 else -x).train()
    with pytest.raises(UnsupportedOperatorError):
        capture(module, torch.randn(2, 3))
    assert module.training


def test_deterministic(resnet):
    """Two captures give the same code and names."""
    first, second = (capture(resnet, torch.randn(2, 3, 8, 8)) for _ in range(2))
    assert first.code == second.code


def test_tied_weights():
    """One parameter used by two layers stays one buffer."""
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    graph = check(nn.Sequential(first, second), (4,))
    assert sorted(name for name, _ in graph.named_buffers()) == ["n_0_bias", "n_0_weight", "n_1_bias"]


def test_layer_used_twice():
    layer = nn.Linear(4, 4)
    graph = check(Function(lambda m, x: m.layer(m.layer(x).relu()), layer=layer), (4,))
    assert [node.name for node in graph.graph.nodes if "linear" in str(node.target)] == ["layer", "layer_1"]


def test_several_inputs_and_nested_outputs():
    """Inputs by their names; outputs flattened in order, what is no tensor dropped."""
    class Pair(nn.Module):
        def forward(self, left, right, scale=2.0):
            return {"sum": left + right, "rest": [left * scale, None, (right.flatten(1), 3)]}

    graph = check(Pair(), (4, 5), (4, 5))
    assert [node.name for node in graph.graph.nodes if node.op == "placeholder"] == ["left", "right"]
    assert len(graph(*inputs([(4, 5), (4, 5)], 3))) == 3


def test_variable_number_of_inputs():
    class Sum(nn.Module):
        def forward(self, *parts):
            return torch.cat(parts, 1)

    check(Sum(), (4,), (3,), (2,))


def test_unused_and_returned_inputs():
    class Partly(nn.Module):
        def forward(self, x, unused):
            return x, x + 1, x

    graph = check(Partly(), (4,), (3,))
    assert [node.name for node in graph.graph.nodes if node.op == "placeholder"] == ["x", "unused"]


def test_input_named_like_a_builtin():
    class Module(nn.Module):
        def forward(self, input):
            return input + 1

    graph = capture(Module(), torch.zeros(1, 2))
    node = next(iter(graph.graph.nodes))
    assert (node.target, facts_of(node).source_name) == ("input", "input")


def test_wrapped_module():
    """DataParallel adds no prefix to the names."""
    graph = capture(nn.DataParallel(nn.Sequential(nn.Linear(4, 4))), torch.zeros(1, 4))
    assert sorted(name for name, _ in graph.named_buffers()) == ["n_0_bias", "n_0_weight"]


def test_double_precision():
    """A float64 module gives a float64 graph."""
    graph = check(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)), (3, 6, 6),
                  dtype=torch.float64)
    assert {tensor.dtype for _, tensor in graph.named_buffers()} == {torch.float64}


def test_gradient_regions():
    """torch.no_grad and torch.enable_grad leave no trace."""
    def forward(m, x):
        with torch.enable_grad():
            y = m.layer(x)
            with torch.no_grad():
                y = y.relu_()
        return y

    check(Function(forward, layer=nn.Linear(4, 4)), (4,), targets=["linear.default", "relu.default"])


def test_assertions_are_dropped():
    def forward(m, x):
        assert x.shape[1] == 4
        torch._assert(x.shape[0] > 0, "empty")
        return x + 1

    check(Function(forward), (4,), targets=["add.Scalar"])


def test_recapture(resnet):
    """A captured graph is a module like any other."""
    again = check(capture(resnet, torch.randn(1, 3, 8, 8)), (3, 8, 8))
    assert_equal(again, resnet, inputs([(3, 8, 8)], 3))


def test_copy_runs(resnet):
    """Facts and shared tensors survive the pass runner's copy."""
    graph = copy_graph_module(capture(resnet, torch.randn(1, 3, 8, 8)))
    assert_equal(graph, resnet, inputs([(3, 8, 8)], 2))


class Fixed(nn.Module):
    """Its code names the batch."""

    def __init__(self, batch: int):
        super().__init__()
        self.batch, self.fc = batch, nn.Linear(12, 3)

    def forward(self, x):
        return self.fc(F.relu(x).view(self.batch, -1)).softmax(1)


@pytest.mark.parametrize("batch", [1, 4])
def test_fixed_batch_made_free(batch, caplog):
    """A view to the batch by number: the graph is free, and gives every part what the module gives it."""
    module = Fixed(batch).eval()
    with caplog.at_level(logging.WARNING):
        graph = capture(module, torch.randn(batch, 3, 4))
    assert f"batch {batch} only" in caplog.text and "any batch" in caplog.text
    assert is_batch_free(graph)
    parts = [torch.randn(batch, 3, 4) for _ in range(3)]
    with torch.no_grad():
        assert torch.allclose(graph(torch.cat(parts))[0], torch.cat([module(part) for part in parts]), atol=1e-6)


FIXED = {
    "axes swapped": (lambda m, x: x.transpose(0, 1).reshape(-1, 3), 3),
    "batch cut": (lambda m, x: x[1:], 3),
    "samples mixed": (lambda m, x: x + x.view(3, 4).flip(0) if x.shape[0] == 3 else x, 3),
    "batch decides": (lambda m, x: x * 2 if x.shape[0] == 3 else x, 3),
}


@pytest.mark.parametrize("name", FIXED)
def test_fixed_batch_stays_fixed(name, caplog):
    """What is not the same for parts of a batch is captured for the example's batch, with a warning.

    The last case is free: per three samples the doubling is what the module does.
    """
    function, batch = FIXED[name]
    with caplog.at_level(logging.WARNING):
        graph = capture(Function(function), torch.randn(batch, 4))
    assert_equal(graph, Function(function), inputs([(4,)], batch))
    assert ("any batch" in caplog.text) == (name == "batch decides")


def test_transformer_layer():
    """Attention has no integer form yet, but is captured faithfully."""
    torch.manual_seed(0)
    check(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8))


@pytest.mark.parametrize("name", SHARED)
def test_shared_model(name, shared_models):
    """Trained networks: captured exactly, prepared within float32 rounding of folded batch norms."""
    specification = importlib.util.spec_from_file_location("architectures", shared_models / "architectures.py")
    architectures = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(architectures)
    module, size = architectures.load(name, str(shared_models)), SHARED[name]
    graph = check(module, (3, size, size))
    assert is_batch_free(graph)
    prepared = prepare(graph)
    for batch in (1, 2, 5):
        assert_equal(prepared, module, inputs([(3, size, size)], batch), relative=1e-4)
    assert "batch_norm.default" not in operators(prepared)
